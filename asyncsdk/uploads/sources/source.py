"""Opens what a caller uploads, and reads paths at an offset without stalling the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from attrs import define, field

from asyncsdk.errors import SourceError
from asyncsdk.given import NamedContent, SourceGiven, is_stream, opens_stream, shown_as_url, unpacked
from asyncsdk.remote.address import hint_of_url, local_path
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.chunking import checked_size
from asyncsdk.uploads.sources.readers import BytesSource, Identity, Source, fill_whole, instead_of, source_over

__all__ = ["Given", "Identity", "PathSource", "Source", "fill", "is_still_at", "open_source"]

Given = SourceGiven

log = logging.getLogger(__name__)

COARSEST_CLOCK_NS = 2_000_000_000  # FAT's; a file changed twice within a tick of the clock has one mtime


async def open_source(given: Given, threads: DaemonThreadPool) -> Source:
    """Open what the caller gave. Raises SourceError where it can't be uploaded; nothing stays open then."""
    named = unpacked(given)
    if isinstance(named.content, bytes | bytearray | memoryview):
        return BytesSource.over(named.content, named.name)
    opening = threads.start(partial(_open, named))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unwanted)
        raise


def is_for_streaming(given: Given) -> bool:
    """Whether it is a stream, or opens one: all else is opened by `open_source`."""
    content = unpacked(given).content
    if isinstance(content, str | os.PathLike | bytes | bytearray | memoryview):
        return False
    return (is_stream(content) or opens_stream(content)) and instead_of(content) is None


def is_read_once(given: Given) -> bool:
    """Whether it is a stream that a second call can't read: no function opens it again."""
    return is_for_streaming(given) and not opens_stream(unpacked(given).content)


async def fill(source: Source, threads: DaemonThreadPool, offset: int, view: memoryview) -> None:
    """Fill `view` from `source`. When cancelled a thread may still be writing into it: drop its buffer."""
    if not source.read_now(offset, view):
        await threads.run(partial(source.read, offset, view))


def is_still_at(place: str, inode: int | None) -> bool:
    """Whether the file is (also) at this path: it was not moved from there. May block."""
    try:
        return Path(place).stat().st_ino == inode
    except (OSError, ValueError):
        return False


def _open(named: NamedContent) -> Source:
    if isinstance(named.content, str):
        path = local_path(named.content)
        if (url := shown_as_url(path)) is not None:
            raise SourceError(
                f"{url} is a URL of a kind that is not read: pass the bytes themselves. Nothing was sent."
            )
        return PathSource.open(Path(path))
    if isinstance(named.content, os.PathLike):
        return PathSource.open(Path(os.fsdecode(named.content)))
    return source_over(named.content, named.name)


def _close_unwanted(opening: asyncio.Future[Source]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


@define(eq=False)
class PathSource:
    """A regular file, by its descriptor, which its last reader closes."""

    _descriptor: int
    _path: Path
    place: str | None
    identity: Identity
    tells_changes: bool
    name: str = field(init=False)
    _readers: int = field(default=1, init=False)
    _closed: bool = field(default=False, init=False)
    _nowait: bool = field(default=hasattr(os, "RWF_NOWAIT"), init=False)
    _counting: threading.Lock = field(factory=threading.Lock, init=False)
    _seeking: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self.name = self._path.name

    @classmethod
    def open(cls, path: Path) -> PathSource:
        """Open and look. Raises SourceError for anything but a readable regular file of 1 byte to 8 GiB."""
        try:
            # without O_NONBLOCK, opening a pipe would wait for its writer
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            descriptor = os.open(path, flags)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SourceError(f"can't read {path}: {reason}.{hint_of_url(path)} Nothing was sent.") from error
        try:
            seen = os.fstat(descriptor)
            settled = time.time_ns() - seen.st_mtime_ns > COARSEST_CLOCK_NS
            return cls(descriptor, path, _real_path(seen, descriptor, path), _checked_identity(seen, path), settled)
        except BaseException:
            os.close(descriptor)
            raise

    def read(self, offset: int, view: memoryview) -> None:
        self._enter()
        try:
            fill_whole(self._read_at, offset, view, self.name)
        finally:
            self._leave()

    def read_now(self, offset: int, view: memoryview) -> bool:
        """Only what the page cache holds (preadv2, RWF_NOWAIT), which some file systems and kernels refuse."""
        if not self._nowait:
            return False
        self._enter()
        try:
            return os.preadv(self._descriptor, [view], offset, os.RWF_NOWAIT) == len(view)
        except BlockingIOError:
            return False
        except OSError:
            self._nowait = False
            return False
        finally:
            self._leave()

    def at_hand(self, offset: int, length: int) -> None:  # noqa: ARG002 - it is not in memory
        return None

    def look_again(self) -> Identity | None:
        try:
            seen = self._path.stat()
        except OSError:
            return None
        return _identity(seen)

    def close(self) -> None:
        with self._counting:
            if self._closed:
                return
            self._closed, under_way = True, self._readers - 1
        if under_way:
            log.info("%s: a read of it has not come back yet; it is left to its thread", self.name)
        self._leave()

    def _read_at(self, offset: int, view: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, [view], offset)
        with self._seeking:  # no reading at an offset there: one at a time
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            piece = os.read(self._descriptor, len(view))
        view[: len(piece)] = piece
        return len(piece)

    def _enter(self) -> None:
        with self._counting:
            if self._closed:
                raise SourceError(f"{self.name} is closed")
            self._readers += 1

    def _leave(self) -> None:
        with self._counting:
            self._readers -= 1
            if not self._readers:
                os.close(self._descriptor)


def _real_path(seen: os.stat_result, descriptor: int, path: Path) -> str:
    """The file's path without links: the kernel knows it, where `realpath` looks at each directory."""
    with suppress(OSError):  # other systems have no such list
        found = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - a Path would cost as much again
        if os.path.samestat(seen, os.lstat(found)):
            return found
    return os.path.realpath(path)


def _checked_identity(seen: os.stat_result, path: Path) -> Identity:
    if not stat.S_ISREG(seen.st_mode):
        instead = " To send the files in it, give each to upload_many." if stat.S_ISDIR(seen.st_mode) else ""
        raise SourceError(f"{path} is {_kind(seen.st_mode)}, not a regular file.{instead} Nothing was sent.")
    checked_size(seen.st_size, str(path))
    return _identity(seen)


def _identity(seen: os.stat_result) -> Identity:
    return Identity(seen.st_size, seen.st_mtime_ns, seen.st_ino, seen.st_ctime_ns)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "a device")
