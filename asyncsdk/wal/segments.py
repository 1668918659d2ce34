"""Append-only files of one directory, one for each writer: read together, append, compact. Blocking, for threads."""

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
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import TypeVar

from attrs import define, field, frozen

from asyncsdk.retry import is_scarce, pause_after
from asyncsdk.wal import DisplacedError, NotDurableError, Owner, disk
from asyncsdk.wal.line import MILLISECOND, VERSION, Home, encode_head
from asyncsdk.wal.lock import this_host

SEGMENT = ".jsonl"
TEMPORARY = ".tmp"  # after the name of a segment that is not whole yet

_STAMP = "%Y-%m-%dT%H%M%S.%fZ"
_STAMP_LENGTH = len("2026-11-22T201500.123Z")
_WRITER = re.compile(rf".{{{_STAMP_LENGTH}}}-(.+)-(\d+)-[0-9a-f]{{8}}{re.escape(SEGMENT)}")
_DISPLACED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})

T = TypeVar("T")
logger = logging.getLogger(__name__)


def find(folder: Path) -> list[Path]:
    """Return the segments of a folder, oldest first, with those that are not whole yet. Raises OSError."""
    try:
        disk.check_directory(folder)
        return sorted(path for path in folder.iterdir() if path.suffix in {SEGMENT, TEMPORARY})
    except FileNotFoundError:
        return []


def read(folder: Path, replay: Callable[[Sequence[Path]], T]) -> T:
    """Return what `replay` makes of all segments of a folder, oldest first; none where there is no folder.

    It is called again where a segment went meanwhile: that was compacted, and what it held is in a new one. Those that
    are not whole yet, with TEMPORARY after their name, are passed too.

    The order is that of the segments' names, each of which comes after all that were there before it, and of the lines
    in them: the time in a fact is that of a wall clock, which steps. Raises OSError.
    """
    for _ in range(5):
        with suppress(FileNotFoundError):
            return replay(find(folder))
    return replay(find(folder))


def written_at(paths: Iterable[Path]) -> float | None:
    """Return the unix time at which one of `paths` was written last; None where there are none. Raises OSError."""
    return max((path.lstat().st_mtime for path in paths), default=None)


def is_copy(path: Path, home: Home | None) -> bool:
    """Return whether the segment at `path` is a copy of one that was written at `home`. Raises OSError."""
    return home is not None and home.is_left(_home_at(path, path.lstat().st_ino))


def stamp_after(names: Iterable[str], *, now: float) -> str:
    """The UTC time that a new segment's name begins with: `now`, or just after the newest of `names` if that is later.

    Segments are read in the order of their names, and a clock may be set back between two of them.
    """
    moments = [datetime.fromtimestamp(now, UTC)]
    for name in names:
        with suppress(ValueError, OverflowError):  # a name that is not ours
            moments.append(datetime.strptime(name[:_STAMP_LENGTH], _STAMP).replace(tzinfo=UTC) + MILLISECOND)
    latest = max(moments)
    return f"{latest:%Y-%m-%dT%H%M%S}.{latest.microsecond // 1000:03}Z"


def writer_of(name: str) -> Owner | None:
    """Return the process that made the segment of this name; None where that is not one of ours."""
    match = _WRITER.fullmatch(name)
    return Owner(int(match[2]), match[1]) if match else None


def host_in_names() -> str:
    """The name of this machine as it is in the names of segments."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", this_host())[:64]


def _name(known: Iterable[Path]) -> str:
    """Name a segment: by the time, but after all that are `known`, even if the clock was set back."""
    stamp = stamp_after([path.name for path in known], now=time.time())
    return f"{stamp}-{host_in_names()}-{os.getpid()}-{random.getrandbits(32):08x}{SEGMENT}"


@contextmanager
def _displacing(path: Path, how: str) -> Iterator[None]:
    """What the block needs is at `path`, or it was removed, renamed or replaced."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISPLACED:
            raise
        raise DisplacedError(error.errno, f"it was {how}", str(path)) from error


def _home_at(path: Path, inode: int) -> Home:
    """Where the segment `path` is now."""
    return Home(this_host(), str(path.parent).encode(errors="replace").decode(), inode)


def _head(path: Path, fd: int, due: float | None = None, version: int = VERSION) -> bytes:
    home = _home_at(path, os.fstat(fd).st_ino)
    return encode_head(at=time.time(), host=home.host, pid=os.getpid(), home=home, due=due, version=version)


@frozen
class Anchor:
    """Which directory is at a path, itself or by a link, so that it is noticed once another one is, or none."""

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
    fd: int
    version: int = VERSION
    size: int = field(default=0, init=False)
    _begun: bool = field(default=False, init=False)

    @classmethod
    def create(cls, folder: Path, known: Collection[Path], version: int = VERSION) -> Segment:
        path = folder / _name(known)
        with _displacing(folder, "removed or renamed"):
            if known:  # what they hold would be missing in a folder made again
                disk.check_directory(folder)
            else:
                disk.make_directory(folder)
            return cls(path, disk.create(path), version)

    def append(self, lines: bytes, sync_way: Callable[[], None]) -> None:
        """Return once `lines` would survive a power cut: at first with the names that lead to them.

        Raises OSError where another segment may do better; NotDurableError where the way to it could not be synced,
        which might not be reported again; DisplacedError, and nothing is written, where the file is not at its path.
        """
        self.look()
        data = lines if self._begun else _head(self.path, self.fd, version=self.version) + lines
        disk.write(self.fd, data)
        self.size += len(data)
        if not self._begun:
            disk.sync_directory(self.path.parent)
            try:
                sync_way()
            except OSError as error:
                if is_scarce(error):  # no directory was opened, none was synced
                    raise
                raise NotDurableError(error.errno, error.strerror) from error
            self._begun = True

    def look(self) -> None:
        """Raise DisplacedError unless it is at its path: a reader finds what is there, and nothing else."""
        written = os.fstat(self.fd)
        with _displacing(self.path, "renamed" if written.st_nlink else "removed"):
            there = os.lstat(self.path)
        if not os.path.samestat(written, there):
            raise DisplacedError(errno.ESTALE, "another file was put in its place", str(self.path))

    def close(self) -> None:
        with suppress(OSError):  # what counts was synced
            os.close(self.fd)

    def reopen(self) -> bool:
        """Open it again once it is closed, to go on at its end; return whether it is as it was left."""
        with suppress(OSError):
            fd = disk.open_again(self.path)
            if self._begun and os.lseek(fd, 0, os.SEEK_END) == self.size:
                self.fd = fd
                return True
            os.close(fd)
        return False

    def drop(self, *, keep: bool) -> None:
        """Close it after a failure; gone if nothing in it was acknowledged, so that a full disk gathers no litter."""
        self.close()
        if not self._begun and not keep:
            with suppress(OSError):
                self.path.unlink()


@define(eq=False)
class Segments:
    """One owner's view of a folder of segments. Its methods may be called from any thread; they wait for each other.

    `sync_way` makes the name of the folder durable, and of what it is in. A `patient` one waits for what passes, such
    as a lack of descriptors. New ones are of the `version` that it has then. Once what is written was removed, renamed
    or replaced, nothing is written any more: a new file would be believed without all that is in the old one.
    """

    folder: Path
    sync_way: Callable[[], None]
    patient: bool = False
    version: int = VERSION
    _paths: list[Path] = field(factory=list, init=False)
    _current: Segment | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _displaced: DisplacedError | None = field(default=None, init=False)
    _waited: float = field(default=0.0, init=False)
    _mutex: threading.Lock = field(factory=threading.Lock, init=False)

    @property
    def single(self) -> bool:
        """Whether all that is known here is in one segment."""
        return len(self._paths) == 1

    def read(self, replay: Callable[[Sequence[Path]], T]) -> T:
        """Read what is there, as `read` does; a compaction will replace that. Raises OSError."""

        def remember(paths: Sequence[Path]) -> T:
            self._paths = list(paths)
            return replay(paths)

        with self._mutex:
            return read(self.folder, remember)

    def append(self, lines: bytes) -> None:
        """Write `lines` durably; where that fails, once more in a new segment. Raises OSError."""
        with self._mutex:
            try:
                self._append_at_last(lines)
            finally:
                if self._closed:  # the last user of the descriptor closes it
                    self._close()

    def compact(self, lines: Iterable[bytes]) -> None:
        """Replace all segments that are known here by one of `lines`. Raises OSError."""
        with self._mutex:
            self._close()
            self._paths = [rewrite(self.folder, self._paths, lines, version=self.version)]

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
            except (DisplacedError, NotDurableError):
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
            self._current = Segment.create(self.folder, self._paths, self.version)
            self._paths.append(self._current.path)
        try:
            self._current.append(lines, self.sync_way)
        except BaseException as error:
            self._displaced = error if isinstance(error, DisplacedError) else None
            self._current.drop(keep=self._displaced is not None)  # what is there is not ours
            self._current = None
            raise

    def _close(self) -> None:
        if self._current is not None:
            self._current.close()
            self._current = None


def rewrite(
    folder: Path,
    old: Collection[Path],
    lines: Iterable[bytes],
    *,
    due: float | None = None,
    version: int = VERSION,
) -> Path:
    """Replace the segments `old` of `folder` by one of `lines`, which is read after them; return it. Raises OSError.

    A crash leaves the old ones, or both.
    """
    path = folder / _name(old)
    _write_whole(path, lines, due, version)
    remove(old)
    return path


def remove(segments: Iterable[Path]) -> None:
    """Remove segments; one that is gone is well. Raises OSError."""
    for path in segments:
        path.unlink(missing_ok=True)


def _write_whole(path: Path, lines: Iterable[bytes], due: float | None, version: int) -> None:
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        fd = disk.create(temporary)
        try:
            disk.write_lines(fd, chain([_head(path, fd, due, version)], lines))
        finally:
            os.close(fd)
        disk.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
