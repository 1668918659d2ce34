"""Writing one key's segments: append-only files, one a writer. Blocking, for threads."""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

from attrs import define, field

from asyncsdk.journal import Record, disk
from asyncsdk.journal.failures import not_made, not_written, worded
from asyncsdk.journal.layout import SEGMENT, TEMPORARY, stamp_after
from asyncsdk.journal.lines import encode_head
from asyncsdk.journal.ownership import this_host
from asyncsdk.journal.reading import load

logger = logging.getLogger(__name__)


def _name(known: Iterable[Path]) -> str:
    """Name a segment: by the time, but behind all that are `known`, even if the clock was set back."""
    stamp = stamp_after([path.name for path in known], now=time.time())
    host = re.sub(r"[^A-Za-z0-9.-]", "_", this_host())[:64]
    return f"{stamp}-{host}-{os.getpid()}-{random.getrandbits(32):08x}{SEGMENT}"


def _head() -> bytes:
    return encode_head(at=time.time(), host=this_host(), pid=os.getpid())


@define(eq=False)
class Segment:
    """A file that one writer appends to, until a write or a sync of it fails."""

    path: Path
    _fd: int
    _begun: bool = field(default=False, init=False)

    @classmethod
    def create(cls, folder: Path, known: Iterable[Path]) -> Segment:
        path = folder / _name(known)
        disk.make_folder(folder)  # somebody may have removed it, or put a link in its place
        return cls(path, disk.create(path))

    def append(self, lines: bytes, sync_way: Callable[[], None]) -> None:
        """Return once `lines` would survive a power cut: at first with the names that lead to them.

        Raises OSError where another segment may do better; JournalError where the way to it failed, which would not
        be told again.
        """
        disk.write(self._fd, lines if self._begun else _head() + lines)
        if not self._begun:
            disk.sync_folder(self.path.parent)
            with worded(not_written, self.path.parent):
                sync_way()
            self._begun = True

    def close(self) -> None:
        with suppress(OSError):  # what counts was synced
            os.close(self._fd)

    def drop(self) -> None:
        """Close it after a failure; gone if nothing in it was acknowledged, so that a full disk gathers no litter."""
        self.close()
        if not self._begun:
            with suppress(OSError):
                self.path.unlink()


@define(eq=False)
class Segments:
    """One owner's view of a key's folder. Its methods may be called from any thread; they wait for each other.

    `sync_way` makes the name of the folder durable, and of what it is in.
    """

    folder: Path
    sync_way: Callable[[], None]
    _paths: list[Path] = field(factory=list, init=False)
    _current: Segment | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _mutex: threading.Lock = field(factory=threading.Lock, init=False)

    @property
    def single(self) -> bool:
        """Whether all that is known here lies in one segment."""
        return len(self._paths) == 1

    def load(self) -> tuple[Record, ...]:
        """Make the folder and read what is there."""
        with self._mutex:
            with worded(not_made, self.folder):
                if disk.make_folder(self.folder):
                    return ()
            loaded = load(self.folder)
            self._paths = list(loaded.paths)
            return loaded.records

    def append(self, lines: bytes) -> None:
        """Write `lines` durably; where that fails, once more in a new segment. Raises OSError, JournalError."""
        with self._mutex:
            try:
                self._append(lines)
            except OSError as error:
                logger.warning("%s: going on in a new segment after: %s", self.folder, error)
                self._append(lines)
            finally:
                if self._closed:  # whoever uses the descriptor last closes it
                    self._close()

    def adopt(self, paths: Sequence[Path]) -> None:
        """Know these segments, which are there already, as what a compaction takes the place of."""
        self._paths = list(paths)

    def compact(self, lines: Iterable[bytes]) -> None:
        """Put one segment of `lines` in the place of all that are known here. Raises OSError."""
        with self._mutex:
            self._close()
            path = self.folder / _name(self._paths)
            _write_whole(path, chain([_head()], lines))
            for old in self._paths:
                old.unlink(missing_ok=True)
            self._paths = [path]

    def close(self) -> None:
        """Close the descriptor, after the append that runs. A later append closes after itself."""
        with self._mutex:
            self._closed = True
            self._close()

    def _append(self, lines: bytes) -> None:
        if self._current is None:
            self._current = Segment.create(self.folder, self._paths)
            self._paths.append(self._current.path)
        try:
            self._current.append(lines, self.sync_way)
        except BaseException:
            self._current.drop()
            self._current = None
            raise

    def _close(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None


def _write_whole(path: Path, lines: Iterable[bytes]) -> None:
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        fd = disk.create(temporary)
        try:
            disk.write_lines(fd, lines)
        finally:
            os.close(fd)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    disk.sync_folder(path.parent)
