"""The spool: a stream whose size is not known is written to a file without a name, and uploaded from there."""

from __future__ import annotations

import asyncio
import errno
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attrs import define, field

from asyncsdk.errors import SourceChangedError, SourceError
from asyncsdk.remote.address import local_directory
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.chunking import LARGEST_FILE, MIB, checked_size
from asyncsdk.uploads.sources.readers import Identity
from asyncsdk.uploads.sources.source import PathSource
from asyncsdk.uploads.sources.stream import ByteStream
from asyncsdk.wal import disk

SPOOL = "ASYNCSDK_SPOOL"
LOOK_EVERY = 64 * MIB  # how much is written before the free space is looked at again
LEFT_ALONE = 1024 * MIB  # of the free space, for the others on that disk
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def spool_directory(journal: object) -> Path | None:
    """Where to spool: in `ASYNCSDK_SPOOL`, else in the directory of a journal that has one.

    Raises ConfigurationError where `ASYNCSDK_SPOOL` is a URL.
    """
    if place := os.environ.get(SPOOL):
        return local_directory(place, f"what {SPOOL} is for")
    path = getattr(journal, "path", None)
    return Path(path) if isinstance(path, str | os.PathLike) else None


async def spooled(
    stream: ByteStream,
    directory: Path | None,
    threads: DaemonThreadPool,
    advanced: Callable[[int], object],
    *,
    announced: int | None,
) -> SpooledSource:
    """Read `stream` to its end, into a file without a name. Cancelled, nothing is left of it.

    `advanced` is called with the bytes written so far; `announced` is how many there are to be, where that is known.

    Raises SourceError where it is empty or too large, or there is no room; SourceChangedError where it has another size
    than `announced`; UploadError where it can't be read.
    """
    if directory is None:
        raise SourceError(
            f"{stream.name} is a stream whose size is not known, and the journal has no directory to keep it in "
            f"meanwhile. Pass size= if you know it, or set {SPOOL} to a directory. Nothing was sent."
        )
    making = threads.start(partial(SpoolWriter.make, directory, stream.name))
    try:
        spool = await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(_close_unwanted)
        raise
    try:
        await _write_all(stream, spool, threads, advanced, math.inf if announced is None else announced)
        return spool.as_source()
    except BaseException:
        spool.close()
        raise


async def _write_all(
    stream: ByteStream, spool: SpoolWriter, threads: DaemonThreadPool, advanced: Callable[[int], object], most: float
) -> None:
    buffer = memoryview(bytearray(MIB))
    count = len(buffer)
    while count == len(buffer):
        count = await stream.fill(buffer)
        if count:
            await threads.run(partial(spool.write, buffer[:count]))
            advanced(spool.size)
        if spool.size > most:
            raise _other_size(stream.name, f"more than the {most:,} bytes")
    if math.isfinite(most) and spool.size < most:
        raise _other_size(stream.name, f"{spool.size:,} bytes, not the {most:,}")


def _close_unwanted(making: asyncio.Future[SpoolWriter]) -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().close()


@define(eq=False)
class SpoolWriter:
    """A file without a name that grows: it is gone with its last descriptor, after kill -9 too."""

    name: str
    _directory: Path
    _descriptor: int | None
    size: int = field(default=0, init=False)
    _is_closing: bool = field(default=False, init=False)
    _turn: threading.Lock = field(factory=threading.Lock, init=False)

    @classmethod
    def make(cls, directory: Path, name: str) -> SpoolWriter:
        """Make one in `directory`. Raises SourceError where that can't be; may block."""
        try:
            if not directory.exists():
                disk.make_root(directory)
            with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
                return cls(name, directory, os.dup(file.fileno()))
        except OSError as error:
            raise _no_spool(name, directory, error) from error

    def write(self, block: memoryview) -> None:
        """Append `block`. Raises SourceError where there is no room for it; may block."""
        try:
            with self._turn:
                if self._descriptor is not None and not self._is_closing:
                    self._append(block, self._descriptor)
        finally:
            if self._is_closing:
                self.close()

    def as_source(self) -> SpooledSource:
        """What was written, to be uploaded; the source closes it."""
        if not self.size:
            raise SourceError(
                f"{self.name} is empty, or was read before; an upload needs at least one byte. Nothing was sent."
            )
        identity = Identity(checked_size(self.size, self.name))
        descriptor, self._descriptor = self._descriptor, None
        assert descriptor is not None, "it is not closed before its end"  # noqa: S101
        return SpooledSource(descriptor, Path(self.name), None, identity, tells_changes=True)

    def close(self) -> None:
        """Let go of it. A write that is under way in a thread closes it when it has ended."""
        self._is_closing = True
        if self._turn.acquire(blocking=False):
            try:
                if self._descriptor is not None:
                    os.close(self._descriptor)
                    self._descriptor = None
            finally:
                self._turn.release()

    def _append(self, block: memoryview, descriptor: int) -> None:
        before, self.size = self.size, self.size + len(block)
        if self.size > LARGEST_FILE:
            raise SourceError(
                f"{self.name} has more than 8 GiB ({LARGEST_FILE:,} bytes), the most that an upload takes. "
                "Nothing was sent."
            )
        try:
            if before // LOOK_EVERY != self.size // LOOK_EVERY:
                free = shutil.disk_usage(self._directory).free
                if free < LEFT_ALONE + LOOK_EVERY:
                    raise _no_room(self.name, self._directory, before)
            disk.write_all(descriptor, block)
        except OSError as error:
            if error.errno in _FULL:
                raise _no_room(self.name, self._directory, before) from error
            raise _no_spool(self.name, self._directory, error) from error


class SpooledSource(PathSource):
    """A stream in a file without a name, which nobody else can open."""

    def look_again(self) -> Identity:
        return self.identity


def _other_size(name: str, has: str) -> SourceChangedError:
    return SourceChangedError(f"{name} gave {has} of size=. Nothing was sent. Pass the size of what it gives, or none.")


def _no_room(name: str, directory: Path, size: int) -> SourceError:
    return SourceError(
        f"there is no room left in {directory} for {name}, a stream whose size is not known, after {size:,} bytes; "
        f"1 GiB of a disk is left free. Pass size= if you know it: then nothing is written. Or set {SPOOL} to a "
        "directory with more room. Nothing was sent."
    )


def _no_spool(name: str, directory: Path, error: OSError) -> SourceError:
    return SourceError(
        f"{name}, a stream whose size is not known, can't be kept in {directory} meanwhile: "
        f"{error.strerror or error}. Pass size= if you know it, or set {SPOOL} to another directory. Nothing was sent."
    )
