"""Where the bytes come from: a path, bytes, or a seekable file; read at an offset, without stalling the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from attrs import define, field, frozen

from asyncsdk.errors import SourceChangedError, SourceError
from asyncsdk.threads import Threads
from asyncsdk.uploads.plan import checked_size

Given = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


@frozen
class Identity:
    """What tells a file from another without reading it: `mtime_ns` and `inode` where there are such."""

    size: int
    mtime_ns: int | None = None
    inode: int | None = None


class Source(Protocol):
    """Bytes that can be read at any offset, from several threads, until it is closed."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def place(self) -> str | None:
        """Where it will be found again, or None: such a source can't be resumed without a `key`."""
        ...

    @property
    def identity(self) -> Identity:
        """As it was when it was opened."""
        ...

    def read(self, offset: int, view: memoryview) -> None:
        """Fill `view`; may block. Raises SourceChangedError when the source ends before that."""
        ...

    def read_now(self, offset: int, view: memoryview) -> bool:
        """Fill `view` if that takes no waiting; False if it would."""
        ...

    def look_again(self) -> Identity | None:
        """As it is now; None where it can't be found any more. May block."""
        ...

    def close(self) -> None:
        """Let go of it; a read under way in a thread is not disturbed."""
        ...


async def open_source(given: Given, threads: Threads) -> Source:
    """Open what the caller gave. Raises SourceError where it can't be uploaded; nothing stays open then."""
    if isinstance(given, bytes | bytearray | memoryview):
        return BytesSource(memoryview(given).cast("B"))
    opening = threads.submit(partial(_open, given))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unwanted)
        raise


async def fill(source: Source, threads: Threads, offset: int, view: memoryview) -> None:
    """Fill `view` from `source`. When cancelled a thread may still be writing into it: drop its buffer."""
    if not source.read_now(offset, view):
        await threads.run(partial(source.read, offset, view))


def _open(given: str | os.PathLike[str] | BinaryIO) -> Source:
    if isinstance(given, str | os.PathLike):
        return PathSource.open(Path(given))
    if not given.seekable():
        raise SourceError(
            "the file object can't seek; give a path, bytes, or a seekable binary file. Nothing was sent."
        )
    return FileSource.over(given)


def _close_unwanted(opening: asyncio.Future[Source]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


@define(eq=False)
class BytesSource:
    """Bytes in memory."""

    _content: memoryview
    name: str = "upload"
    place: str | None = None

    @property
    def identity(self) -> Identity:
        return Identity(checked_size(len(self._content), "the given content"))

    def read(self, offset: int, view: memoryview) -> None:
        view[:] = self._content[offset : offset + len(view)]

    def read_now(self, offset: int, view: memoryview) -> bool:
        self.read(offset, view)
        return True

    def look_again(self) -> Identity:
        return self.identity

    def close(self) -> None:
        self._content = memoryview(b"")


@define(eq=False)
class FileSource:
    """A seekable binary file of the caller's, uploaded from its first byte to its last, and never closed."""

    _file: BinaryIO
    name: str
    identity: Identity
    place: str | None = None
    _turn: threading.Lock = field(factory=threading.Lock, init=False)

    @classmethod
    def over(cls, file: BinaryIO) -> FileSource:
        """Measure `file`."""
        name = getattr(file, "name", None)
        shown = Path(name).name if isinstance(name, str) else "upload"
        size = file.seek(0, os.SEEK_END)
        return cls(file, shown, Identity(checked_size(size, shown)))

    def read(self, offset: int, view: memoryview) -> None:
        filled = 0
        with self._turn:
            self._file.seek(offset)
            while filled < len(view):
                piece = self._file.read(len(view) - filled)
                if not piece:
                    raise _shorter(self.name, offset + filled)
                view[filled : filled + len(piece)] = piece
                filled += len(piece)

    def read_now(self, offset: int, view: memoryview) -> bool:  # noqa: ARG002 - it may be a file on a slow disk
        return False

    def look_again(self) -> Identity:
        with self._turn:
            return Identity(self._file.seek(0, os.SEEK_END))

    def close(self) -> None:
        """The caller's file stays open."""


@define(eq=False)
class PathSource:
    """A regular file, by its descriptor, which its last reader closes."""

    _descriptor: int
    _path: Path
    place: str
    identity: Identity
    _readers: int = field(default=1, init=False)
    _closed: bool = field(default=False, init=False)
    _nowait: bool = field(default=hasattr(os, "RWF_NOWAIT"), init=False)
    _turn: threading.Lock = field(factory=threading.Lock, init=False)

    @classmethod
    def open(cls, path: Path) -> PathSource:
        """Open and look. Raises SourceError for anything but a readable regular file of 1 byte to 8 GiB."""
        try:
            # without O_NONBLOCK, opening a pipe would wait for its writer
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            descriptor = os.open(path, flags)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SourceError(f"can't read {path}: {reason}. Nothing was sent.") from error
        try:
            seen = os.fstat(descriptor)
            identity = _checked_identity(seen, path)
            return cls(descriptor, path, os.path.realpath(path), identity)
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def name(self) -> str:
        return self._path.name

    def read(self, offset: int, view: memoryview) -> None:
        with self._reading():
            filled = 0
            while filled < len(view):
                count = self._pread(offset + filled, view[filled:])
                if not count:
                    raise _shorter(self.name, offset + filled)
                filled += count

    def read_now(self, offset: int, view: memoryview) -> bool:
        """Only what the page cache holds (preadv2, RWF_NOWAIT), which some file systems and kernels refuse."""
        if not self._nowait:
            return False
        try:
            with self._reading():
                return os.preadv(self._descriptor, [view], offset, os.RWF_NOWAIT) == len(view)
        except BlockingIOError:
            return False
        except OSError:
            self._nowait = False
            return False

    def look_again(self) -> Identity | None:
        try:
            seen = self._path.stat()
        except OSError:
            return None
        return Identity(seen.st_size, seen.st_mtime_ns, seen.st_ino)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._leave()

    def _pread(self, offset: int, view: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, [view], offset)
        with self._turn:  # no reading at an offset there: one at a time
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            piece = os.read(self._descriptor, len(view))
        view[: len(piece)] = piece
        return len(piece)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with self._turn:
            if not self._readers:
                raise SourceError(f"{self.name} is closed")
            self._readers += 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._turn:
            self._readers -= 1
            if not self._readers:
                os.close(self._descriptor)


def _checked_identity(seen: os.stat_result, path: Path) -> Identity:
    if not stat.S_ISREG(seen.st_mode):
        raise SourceError(f"{path} is {_kind(seen.st_mode)}, not a regular file. Nothing was sent.")
    return Identity(checked_size(seen.st_size, str(path)), seen.st_mtime_ns, seen.st_ino)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _shorter(name: str, end: int) -> SourceChangedError:
    return SourceChangedError(
        f"{name} became shorter while it was being sent: it ends at byte {end:,}. Nothing was completed."
    )
