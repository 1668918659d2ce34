"""Who owns a key: a lock that dies with its process, and beside it who that is. Blocking, for threads."""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field

from asyncsdk.uploads.journal import Owner
from asyncsdk.uploads.journal.messages import NO_LOCKS, journal_error, not_locked, not_made
from asyncsdk.wal import disk

if TYPE_CHECKING:
    from filelock import BaseFileLock

SHORTEST_PAUSE = 0.05
LONGEST_PAUSE = 1.0

logger = logging.getLogger(__name__)


@cache
def this_host() -> str:
    """What this machine calls itself: in the names of segments, and told to who waits for a key."""
    return socket.gethostname()


def pauses() -> Iterator[float]:
    """Seconds between attempts: ever longer, and by chance, so that those who wait do not march in step."""
    longest = SHORTEST_PAUSE
    while True:
        yield random.uniform(SHORTEST_PAUSE, longest)
        longest = min(2 * longest, LONGEST_PAUSE)


@define(eq=False)
class KeyLock:
    """The lock of one key, for one claim of it. Its methods may be called from any thread; they wait for each other.

    The lock file is never deleted: whoever waits on a deleted one would own nothing.
    """

    path: Path
    _lock: BaseFileLock | None = field(default=None, init=False)
    _left: bool = field(default=False, init=False)
    _mutex: threading.Lock = field(factory=threading.Lock, init=False)

    def take(self) -> bool:
        """Try once and tell whether it is ours now. After `leave` it is not tried. Raises JournalError."""
        with self._mutex:
            if not self._left:
                self._lock = _try(self.path)
            if self._lock is not None:
                _announce(self.path)
            return self._lock is not None

    def while_held(self, job: Callable[[], None]) -> None:
        """Do `job` if the lock is ours, and keep it until that is done."""
        with self._mutex:
            if self._lock is not None:
                job()

    def leave(self) -> None:
        """Give the lock up, after an attempt or job that runs; there will be no further one."""
        with self._mutex:
            self._left = True
            if self._lock is not None:
                with suppress(OSError):
                    _owner_path(self.path).unlink()
                _release(self._lock)
                self._lock = None


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold the lock for a moment if it is free, and tell whether it is. Raises JournalError."""
    lock = _try(path)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            _release(lock)


def owner(path: Path) -> Owner | None:
    """Return who says to own the lock; None where nobody does, or nothing that can be read."""
    try:
        said = json.loads(disk.read(_owner_path(path)))
        return Owner(int(said["pid"]), str(said["host"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def current_owner(path: Path) -> Owner | None:
    """Return who owns the lock right now. What a dead owner left behind does not count. Raises JournalError."""
    said = owner(path)
    if said is None or not path.exists():
        return None
    with try_lock(path) as free:
        return None if free else said


def _try(path: Path) -> BaseFileLock | None:
    from filelock import FileLock, Timeout  # costs more than the rest of this package; a memory journal needs none

    lock = FileLock(
        path, mode=disk.FILE_MODE, thread_local=False, fallback_to_soft=False, preserve_lock_file=True
    )  # a soft lock would outlive its owner
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    except OSError as error:
        raise journal_error(not_locked if error.errno in NO_LOCKS else not_made, path.parent, error) from error
    return lock


def _release(lock: BaseFileLock) -> None:
    try:
        lock.release()
    except OSError as error:
        logger.warning("%s: not unlocked before this process ends: %s", lock.lock_file, error)


def _announce(path: Path) -> None:
    said = {"pid": os.getpid(), "host": this_host()}
    try:
        disk.write_small(_owner_path(path), json.dumps(said).encode())
    except OSError as error:
        logger.warning("%s: who waits for it can't be told who owns it: %s", path, error)


def _owner_path(path: Path) -> Path:
    return path.with_suffix(".owner")
