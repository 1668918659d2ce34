"""Writing one key's segments: append-only files, one a writer. Blocking, for threads."""

from __future__ import annotations

import errno
import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path

from attrs import define, field, frozen

from asyncsdk.retry import is_scarce, pause_after
from asyncsdk.uploads.journal import Record
from asyncsdk.uploads.journal.codec import encode_head
from asyncsdk.uploads.journal.messages import DisplacedError, journal_error, not_made, not_written, worded
from asyncsdk.wal import disk
from asyncsdk.wal.layout import SEGMENT, TEMPORARY, stamp_after
from asyncsdk.wal.lock import this_host
from asyncsdk.wal.reading import home_at, load

_DISPLACED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})

logger = logging.getLogger(__name__)


def _name(known: Iterable[Path]) -> str:
    """Name a segment: by the time, but behind all that are `known`, even if the clock was set back."""
    stamp = stamp_after([path.name for path in known], now=time.time())
    host = re.sub(r"[^A-Za-z0-9.-]", "_", this_host())[:64]
    return f"{stamp}-{host}-{os.getpid()}-{random.getrandbits(32):08x}{SEGMENT}"


@contextmanager
def _displacing(path: Path, how: str) -> Iterator[None]:
    """What the block needs is at `path`, or it was removed, renamed or replaced."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISPLACED:
            raise
        raise DisplacedError(error.errno, f"it was {how}", str(path)) from error


def _head(path: Path, fd: int) -> bytes:
    home = home_at(path, os.fstat(fd).st_ino)
    return encode_head(at=time.time(), host=home.host, pid=os.getpid(), home=home)


@frozen
class Anchor:
    """Which directory lies at a path, itself or by a link, so that it is noticed once another one does, or none."""

    path: Path
    _status: os.stat_result

    @classmethod
    def at(cls, path: Path) -> Anchor:
        return cls(path, path.stat())

    def check(self) -> None:
        """Raise DisplacedError unless it is the same directory."""
        with _displacing(self.path, "removed or renamed"):
            there = self.path.stat()
        if not os.path.samestat(self._status, there):
            raise DisplacedError(errno.ESTALE, "another directory was put in its place", str(self.path))


@define(eq=False)
class Segment:
    """A file that one writer appends to, until a write or a sync of it fails."""

    path: Path
    _fd: int
    _begun: bool = field(default=False, init=False)

    @classmethod
    def create(cls, folder: Path, known: Collection[Path]) -> Segment:
        path = folder / _name(known)
        with _displacing(folder, "removed or renamed"):
            if known:  # what they hold would be missing in a folder made again
                disk.check_folder(folder)
            else:
                disk.make_folder(folder)
            return cls(path, disk.create(path))

    def append(self, lines: bytes, sync_way: Callable[[], None]) -> None:
        """Return once `lines` would survive a power cut: at first with the names that lead to them.

        Raises OSError where another segment may do better; JournalError where the way to it failed, which would not
        be told again; DisplacedError, and nothing is written, where the file is not at its path any more.
        """
        self._look()
        disk.write(self._fd, lines if self._begun else _head(self.path, self._fd) + lines)
        if not self._begun:
            disk.sync_folder(self.path.parent)
            try:
                sync_way()
            except OSError as error:
                if is_scarce(error):  # no directory was opened, none was synced
                    raise
                raise journal_error(not_written, self.path.parent, error) from error
            self._begun = True

    def _look(self) -> None:
        """Whoever reads the journal finds what lies at its path, and nothing that is written elsewhere."""
        written = os.fstat(self._fd)
        with _displacing(self.path, "renamed" if written.st_nlink else "removed"):
            there = os.lstat(self.path)
        if not os.path.samestat(written, there):
            raise DisplacedError(errno.ESTALE, "another file was put in its place", str(self.path))

    def close(self) -> None:
        with suppress(OSError):  # what counts was synced
            os.close(self._fd)

    def drop(self, *, keep: bool) -> None:
        """Close it after a failure; gone if nothing in it was acknowledged, so that a full disk gathers no litter."""
        self.close()
        if not self._begun and not keep:
            with suppress(OSError):
                self.path.unlink()


@define(eq=False)
class Segments:
    """One owner's view of a key's folder. Its methods may be called from any thread; they wait for each other.

    `sync_way` makes the name of the folder durable, and of what it is in. A `patient` one waits for what passes, such
    as a lack of descriptors. Once what is written was removed, renamed or replaced, nothing is written any more: a new
    file would be believed without all that is in the old one.
    """

    folder: Path
    sync_way: Callable[[], None]
    patient: bool = False
    _paths: list[Path] = field(factory=list, init=False)
    _current: Segment | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _displaced: DisplacedError | None = field(default=None, init=False)
    _waited: float = field(default=0.0, init=False)
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
                self._append_at_last(lines)
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
            _write_whole(path, lines)
            for old in self._paths:
                old.unlink(missing_ok=True)
            self._paths = [path]

    def close(self) -> None:
        """Close the descriptor, after the append that runs. A later append closes after itself."""
        self._closed = True  # what waits for better times gives up
        with self._mutex:
            self._close()

    def _append_at_last(self, lines: bytes) -> None:
        """Append; after a failure once more in a new segment, and again as long as waiting may help."""
        for attempt in count():
            try:
                self._append(lines)
            except DisplacedError:
                raise
            except OSError as error:
                pause = pause_after(error, self._waited) if self.patient and not self._closed else None
                if attempt and pause is None:
                    raise
                logger.warning("%s: going on in a new segment after: %s", self.folder, error)
            else:
                self._waited = 0.0
                return
            time.sleep(pause or 0.0)
            self._waited += pause or 0.0

    def _append(self, lines: bytes) -> None:
        if self._displaced is not None:
            raise self._displaced
        if self._current is None:
            self._current = Segment.create(self.folder, self._paths)
            self._paths.append(self._current.path)
        try:
            self._current.append(lines, self.sync_way)
        except BaseException as error:
            self._displaced = error if isinstance(error, DisplacedError) else None
            self._current.drop(keep=self._displaced is not None)  # what lies there is another's
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
            disk.write_lines(fd, chain([_head(path, fd)], lines))
        finally:
            os.close(fd)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    disk.sync_folder(path.parent)
