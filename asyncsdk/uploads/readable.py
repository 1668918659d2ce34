"""What can be read at any offset: the contract of a source; bytes in memory and a caller's own file as such."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import PurePath
from typing import BinaryIO, Protocol

from attrs import define, field, frozen

from asyncsdk.errors import SourceChangedError, SourceError, UploadError
from asyncsdk.uploads.plan import checked_size

_WANTED = "Give a path, bytes, or a seekable binary file. Nothing was sent."


@frozen
class Identity:
    """What tells a file from another without reading it: times of change and the inode where there are such."""

    size: int
    mtime_ns: int | None = None
    inode: int | None = None
    ctime_ns: int | None = None


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

    @property
    def tells_changes(self) -> bool:
        """Whether a change after it was opened shows when one looks again, unless it is made through a mapping."""
        ...

    def read(self, offset: int, view: memoryview) -> None:
        """Fill `view`; may block.

        Raises SourceChangedError when the source ends before that, UploadError when it can't be read.
        """
        ...

    def read_now(self, offset: int, view: memoryview) -> bool:
        """Fill `view` if that takes no waiting; False if it would."""
        ...

    def look_again(self) -> Identity | None:
        """As it is now; None where it can't be found any more. May block."""
        ...

    def close(self) -> None:
        """Let go of it; a read under way in a thread is not disturbed, a later one is refused."""
        ...


@define(eq=False)
class BytesSource:
    """Bytes in memory."""

    _content: memoryview
    identity: Identity
    tells_changes: bool = False
    name: str = "upload"
    place: str | None = None

    @classmethod
    def over(cls, content: bytes | bytearray | memoryview) -> BytesSource:
        """Measure `content`. Raises SourceError where it is empty, too large, or no plain run of bytes."""
        try:
            view = memoryview(content).cast("B")
        except (TypeError, ValueError) as error:
            raise SourceError(f"the given memoryview is no plain run of bytes ({error}). {_WANTED}") from error
        identity = Identity(checked_size(len(view), "the given content"))
        return cls(view, identity, tells_changes=isinstance(content, bytes))

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
    tells_changes: bool = field(default=False, init=False)
    _closed: bool = field(default=False, init=False)
    _turn: threading.Lock = field(factory=threading.Lock, init=False)

    @classmethod
    def over(cls, file: BinaryIO) -> FileSource:
        """Measure `file`. Raises SourceError where it is no seekable binary file, empty or too large."""
        kind, named = type(file).__name__, getattr(file, "name", None)
        name = PurePath(named).name if isinstance(named, str) else "upload"
        try:
            file.seek(0, os.SEEK_END)
            size, nothing = file.tell(), file.read(0)
        except (AttributeError, OSError, ValueError) as error:
            raise SourceError(f"the given {kind} can't be read at an offset ({error}). {_WANTED}") from error
        if not isinstance(nothing, bytes):
            raise SourceError(f"the given {kind} reads text, not bytes. {_WANTED}")
        return cls(file, name, Identity(checked_size(size, name)))

    def read(self, offset: int, view: memoryview) -> None:
        with self._turn:
            if self._closed:  # a read that was still queued when its upload ended: the file is the caller's again
                raise SourceError(f"{self.name} is closed")
            fill_whole(self._read_at, offset, view, self.name)

    def read_now(self, offset: int, view: memoryview) -> bool:  # noqa: ARG002 - it may be a file on a slow disk
        return False

    def look_again(self) -> Identity | None:
        try:
            with self._turn:
                return Identity(self._file.seek(0, os.SEEK_END))
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """The caller's file stays open."""
        self._closed = True

    def _read_at(self, offset: int, view: memoryview) -> int:
        self._file.seek(offset)
        piece = self._file.read(len(view)) or b""
        view[: len(piece)] = piece
        return len(piece)


def fill_whole(read_at: Callable[[int, memoryview], int], offset: int, view: memoryview, name: str) -> None:
    """Fill `view` by as many calls of `read_at(offset, view)` as it takes; each returns how much it filled.

    Raises SourceChangedError when one fills nothing, UploadError when the system says no.
    """
    filled = 0
    try:
        while filled < len(view):
            count = read_at(offset + filled, view[filled:])
            if not count:
                raise _shorter(name, offset + filled)
            filled += count
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from error


def _shorter(name: str, end: int) -> SourceChangedError:
    return SourceChangedError(
        f"{name} became shorter while it was being sent: nothing is at byte {end:,} any more. Nothing was completed; "
        "the same call sends the file as it is then."
    )


def _unreadable(name: str, error: Exception) -> UploadError:
    reason = getattr(error, "strerror", None) or error
    unreadable = UploadError(
        f"{name} can't be read any more: {reason}. Nothing was completed; once it can be read again, the same call "
        "goes on with what was sent."
    )
    unreadable.resumable = True
    return unreadable
