"""The `Source` protocol (bytes readable at any offset), for bytes in memory and for a caller's file object."""

from __future__ import annotations

import inspect
import io
import os
import threading
import zlib
from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Protocol

from attrs import define, field, frozen

from asyncsdk.errors import SourceChangedError, SourceError, UploadError
from asyncsdk.given import (
    CLOSED,
    TEXT_IN_TUPLE,
    Seekable,
    is_closed,
    is_pillow_image,
    is_text_with_name,
    response_body,
)
from asyncsdk.uploads.chunking import MIB, checked_size

UNNAMED = "upload"
MOST_INFLATED = 32 * MIB
_INFLATING = frozenset({"gzip", "bz2", "lzma", "zipfile"})
_COMPRESSED = frozenset({".gz", ".bz2", ".xz", ".lzma"})
TAKEN = (
    "a path, bytes, a seekable binary file, or a stream: an async iterator of bytes, a StreamReader, a pipe that is "
    "open in binary mode, or a function that returns one of these"
)
_WANTED = f"Give {TAKEN}. Nothing was sent."


@frozen
class Identity:
    """Tells a file from another without reading it: times of change and the inode, where they exist.

    `etag` is the strong one of an object in a store.
    """

    size: int
    mtime_ns: int | None = None
    inode: int | None = None
    ctime_ns: int | None = None
    etag: str | None = None


class Source(Protocol):
    """Bytes that can be read at any offset, from several threads, until it is closed."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def place(self) -> str | None:
        """Where it can be found again, or None: such a source can't be resumed without a `key`."""

    @property
    def identity(self) -> Identity:
        """As it was when it was opened."""

    @property
    def tells_changes(self) -> bool:
        """Whether a change after it was opened shows when one looks again, unless it is made through a mapping."""

    def read(self, offset: int, view: memoryview) -> None:
        """Fill `view`; may block.

        Raises SourceChangedError when the source ends before that, UploadError when it can't be read.
        """

    def read_now(self, offset: int, view: memoryview) -> bool:
        """Fill `view` if that takes no waiting; False if it would."""

    def at_hand(self, offset: int, length: int) -> memoryview | None:
        """The bytes, where they are in memory and never change: they need no copy."""

    def look_again(self) -> Identity | None:
        """As it is now; None where it can't be found any more. May block."""

    def close(self) -> None:
        """Let go of it; a read under way in a thread is not disturbed, a later one is refused."""


@define(eq=False)
class BytesSource:
    """Bytes in memory."""

    _content: memoryview
    identity: Identity
    tells_changes: bool = False
    name: str = UNNAMED
    place: str | None = None

    @classmethod
    def over(cls, content: bytes | bytearray | memoryview, name: str | None = None) -> BytesSource:
        """Measure `content`. Raises SourceError where it is empty, too large, or not contiguous bytes."""
        try:
            view = memoryview(content).cast("B")
        except (TypeError, ValueError) as error:
            raise SourceError(f"the given memoryview is not contiguous bytes ({error}). {_WANTED}") from error
        identity = Identity(checked_size(len(view), "the given content"))
        return cls(view, identity, isinstance(content, bytes), name or UNNAMED)

    def read(self, offset: int, view: memoryview) -> None:
        view[:] = self._content[offset : offset + len(view)]

    def read_now(self, offset: int, view: memoryview) -> bool:
        self.read(offset, view)
        return True

    def at_hand(self, offset: int, length: int) -> memoryview | None:
        return self._content[offset : offset + length] if self.tells_changes else None

    def look_again(self) -> Identity:
        return self.identity

    def close(self) -> None:
        self._content = memoryview(b"")


@define(eq=False)
class FileSource:
    """A seekable binary file of the caller's, uploaded from its first byte to its last, and never closed."""

    _file: Seekable
    name: str
    identity: Identity
    place: str | None = None
    tells_changes: bool = field(default=False, init=False)
    _closed: bool = field(default=False, init=False)
    _turn: threading.Lock = field(factory=threading.Lock, init=False)

    @classmethod
    def over(cls, file: Seekable, name: str | None = None) -> FileSource:
        """Measure `file`. Raises SourceError where it is not a seekable binary file, or empty or too large."""
        name = name or _name_of(file)
        with _refusing(file, name):
            size = _size_of(file)
            _check_bytes(file, file.read(0))
        return cls(file, name, Identity(checked_size(size, name)))

    def read(self, offset: int, view: memoryview) -> None:
        with self._turn:
            if self._closed:  # a read that was still queued when its upload ended: the file is the caller's again
                raise SourceError(f"{self.name} is closed")
            fill_whole(self._read_at, offset, view, self.name)

    def read_now(self, offset: int, view: memoryview) -> bool:  # noqa: ARG002 - it may be a file on a slow disk
        return False

    def at_hand(self, offset: int, length: int) -> None:  # noqa: ARG002 - it is not in memory
        return None

    def look_again(self) -> Identity | None:
        try:
            with self._turn:
                return Identity(_size_of(self._file))
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """The caller's file stays open."""
        self._closed = True

    def _read_at(self, offset: int, view: memoryview) -> int:
        if is_closed(self._file):
            raise ValueError(f"it was closed ({CLOSED})")
        self._file.seek(offset)
        piece = self._file.read(len(view)) or b""
        view[: len(piece)] = piece
        return len(piece)


def source_over(file: Seekable, name: str | None = None) -> BytesSource | FileSource:
    """Measure a caller's file object. Raises SourceError where it can't be uploaded.

    One that is inflated again from its start at each step back is read once, into memory, if it is small.
    """
    instead = instead_of(file)
    if instead is not None:
        raise SourceError(f"{instead}. Nothing was sent.")
    return _inflated(file, name) if _inflates(file) else FileSource.over(file, name)


def instead_of(given: object) -> str | None:
    """What to pass in place of what is not an open file, though its caller may have one."""
    kind = type(given).__name__
    if given is None:
        return f"the source is None. Give {TAKEN}"
    if isinstance(given, list | set | frozenset):
        return f"the given {kind} is not one file. Several are uploaded by `upload_many`, each as an UploadJob"
    if isinstance(given, Iterator) and not (hasattr(given, "read") or isinstance(given, AsyncIterable)):
        return (
            f"the given {kind} is not an async iterator, and would hold up the event loop. Pass an async one, what it "
            "yields as bytes, or a file with it"
        )
    if inspect.iscoroutine(given):
        return "the given coroutine was not awaited. Await it, or pass the function itself"
    if isinstance(given, io.TextIOBase) and not (is_closed(given) or given.seekable()):
        return f"the given {kind} reads text, not bytes: pass its `buffer`, or open it with 'rb'"
    body = response_body(given)
    if body is not None:
        return f"the given {kind} has a body, but is not a stream itself. Pass {body}"
    if is_pillow_image(given):
        return (
            f"the given {kind} is a picture that is not encoded. Write it to a buffer, `picture.save(buffer, 'PNG')`, "
            "and pass ('picture.png', buffer)"
        )
    if is_text_with_name(given):
        return TEXT_IN_TUPLE
    if isinstance(given, tuple):
        return (
            f"the given tuple has {len(given)} items that are not a name, its content and perhaps a MIME type. Pass "
            "('train.jsonl', content) or ('train.jsonl', content, 'application/jsonl')"
        )
    return None


def _inflated(file: Seekable, name: str | None) -> BytesSource:
    name = name or _name_of(file)
    with _refusing(file, name):
        file.seek(0)
        content = file.read(MOST_INFLATED + 1)
    _check_bytes(file, content)
    if len(content) > MOST_INFLATED:
        raise SourceError(
            f"{name} is compressed and has more than {MOST_INFLATED // MIB} MiB: it would be inflated again for each "
            "part. Write its content to a file and pass that path, or the compressed file's own path. Nothing was sent."
        )
    return BytesSource.over(content, name)


def _inflates(file: object) -> bool:
    """Whether `file` is, or reads from, a stream that is inflated as it is read."""
    below = (getattr(file, name, None) for name in ("raw", "fileobj"))
    module = type(file).__module__
    return module in _INFLATING or any(_inflates(each) for each in below if each is not None and each is not file)


def _name_of(file: object) -> str:
    """The name of its content, where it gives one: a gzip file's and an archive's is that of what holds it."""
    given = getattr(file, "name", None)
    if type(file).__module__.startswith("werkzeug."):  # Flask's: its `name` is that of the form's field
        given = getattr(file, "filename", None)
    if not isinstance(given, str) or type(file).__module__ == "tarfile":
        return UNNAMED
    path = PurePath(given)
    return path.stem if _inflates(file) and path.suffix in _COMPRESSED and path.stem else path.name


def _size_of(file: Seekable) -> int:
    """Its size in bytes, by `tell`: not every `seek` returns the new position."""
    file.seek(0, os.SEEK_END)
    return file.tell()


def _check_bytes(file: object, content: object) -> None:
    if not isinstance(content, bytes):
        raise SourceError(
            f"the given {type(file).__name__} reads text, not bytes: open it with 'rb', or pass text.encode(). "
            "Nothing was sent."
        )


@contextmanager
def _refusing(file: object, name: str) -> Iterator[None]:
    try:
        yield
    except SourceError:
        raise
    except (AttributeError, TypeError, OSError, ValueError, EOFError, zlib.error) as error:
        if is_closed(file):
            shown = f"the given {type(file).__name__}" if name == UNNAMED else name
            raise SourceError(f"{shown} is closed: {CLOSED}. Nothing was sent.") from error
        what = f"can't be read at an offset ({error})" if hasattr(file, "read") else "is not a file or a stream"
        raise SourceError(f"the given {type(file).__name__} {what}. {_WANTED}") from error


def fill_whole(read_at: Callable[[int, memoryview], int], offset: int, view: memoryview, name: str) -> None:
    """Fill `view` by as many calls of `read_at(offset, view)` as it takes; each returns how much it filled.

    Raises SourceChangedError when one fills nothing, UploadError when the system refuses.
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
        f"{name} became shorter while it was being sent: nothing is at byte {end:,} any more. No file was made. "
        "The same call sends the file as it is then."
    )


def _unreadable(name: str, error: Exception) -> UploadError:
    reason = getattr(error, "strerror", None) or error
    unreadable = UploadError(
        f"{name} can't be read any more: {reason}. Nothing was completed; once it can be read again, the same call "
        "goes on with what was sent."
    )
    unreadable.resumable = True
    return unreadable
