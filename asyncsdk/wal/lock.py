"""A lock that dies with its process, and beside it a file that names the process. Blocking, for threads."""

from __future__ import annotations

import asyncio
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
from weakref import WeakValueDictionary

from attrs import define, field

from asyncsdk.wal import Owner, disk

if TYPE_CHECKING:
    from filelock import BaseFileLock

SHORTEST_PAUSE = 0.05
LONGEST_PAUSE = 1.0

logger = logging.getLogger(__name__)


@cache
def this_host() -> str:
    """The name of this machine: in the names of segments, and reported to a caller that waits for a key."""
    return socket.gethostname()


def pauses() -> Iterator[float]:
    """Seconds between attempts: ever longer, with jitter, so that processes that wait do not try in step."""
    longest = SHORTEST_PAUSE
    while True:
        yield random.uniform(SHORTEST_PAUSE, longest)
        longest = min(2 * longest, LONGEST_PAUSE)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs here; None in a thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


@define(eq=False)
class KeyLock:
    """The lock of one key, for one claim of it. Its methods may be called from any thread; they wait for each other.

    The lock file is never deleted: a process that waits on a deleted one would own nothing. A claim whose event loop
    was closed under it can't give its lock up: the next one in this process does.
    """

    path: Path
    _loop: asyncio.AbstractEventLoop | None = field(factory=running_loop, init=False)
    _lock: BaseFileLock | None = field(default=None, init=False)
    _released: bool = field(default=False, init=False)
    _mutex: threading.Lock = field(factory=threading.Lock, init=False)

    def try_acquire(self) -> bool:
        """Try once, unless it is ours; return whether it is now. After `release` it is not tried. Raises OSError."""
        with self._mutex:
            if self._lock is None and not self._released:
                holder = _holders.get(self.path)
                if holder is not None and holder.is_abandoned:
                    holder.release()
                self._lock = _try(self.path)
                if self._lock is not None:
                    _holders[self.path] = self
                    _announce(self.path)
            return self._lock is not None

    @property
    def is_held(self) -> bool:
        """Whether it is ours."""
        return self._lock is not None

    @property
    def is_abandoned(self) -> bool:
        """Whether the loop of its claim is closed: nothing there gives it up any more."""
        return self._loop is not None and self._loop.is_closed()

    def run_if_held(self, job: Callable[[], None]) -> None:
        """Run `job` if the lock is ours, and keep it until that is done."""
        with self._mutex:
            if self._lock is not None:
                job()

    def release(self) -> None:
        """Give the lock up, after an attempt or job that runs; there will not be another."""
        with self._mutex:
            self._released = True
            if self._lock is not None:
                with suppress(OSError):
                    _owner_path(self.path).unlink()
                _release(self._lock)
                self._lock = None


_holders: WeakValueDictionary[Path, KeyLock] = WeakValueDictionary()  # in this process


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold the lock for the length of the block if it is free; yields whether it is. Raises OSError."""
    lock = _try(path)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            _release(lock)


def owner(path: Path) -> Owner | None:
    """Return the owner that is named beside the lock; None where no file, or none that can be read, names one."""
    try:
        fields = json.loads(disk.read(_owner_path(path)))
        return Owner(int(fields["pid"]), str(fields["host"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def current_owner(path: Path) -> Owner | None:
    """Return the process that has the lock now. The file of a process that died does not count. Raises OSError."""
    named = owner(path)
    if named is None or not path.exists():
        return None
    with try_lock(path) as free:
        return None if free else named


def _try(path: Path) -> BaseFileLock | None:
    from filelock import FileLock, Timeout  # costs more than the rest of this package; a memory journal needs none

    lock = FileLock(
        path, mode=disk.FILE_MODE, thread_local=False, fallback_to_soft=False, preserve_lock_file=True
    )  # a soft lock would outlive its owner
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def _release(lock: BaseFileLock) -> None:
    try:
        lock.release()
    except OSError as error:
        logger.warning("%s: not unlocked before this process ends: %s", lock.lock_file, error)


def _announce(path: Path) -> None:
    fields = {"pid": os.getpid(), "host": this_host()}
    try:
        disk.write_small(_owner_path(path), json.dumps(fields).encode())
    except OSError as error:
        logger.warning("%s: its owner can't be named to processes that wait for it: %s", path, error)


def _owner_path(path: Path) -> Path:
    return path.with_suffix(".owner")
