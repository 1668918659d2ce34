"""Reads a stream once and in order, of whatever kind: bytes that a caller hands in and that can't be read again."""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
import os
import selectors
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial
from typing import Any

import anyio
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.errors import RemoteError, SourceChangedError, SourceError, UploadError
from asyncsdk.given import CLOSED, is_closed, is_stream, opens_stream
from asyncsdk.remote.failures import remote_error
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.chunking import BLOCK
from asyncsdk.uploads.sources.readers import instead_of

_END = object()
_NOTHING = memoryview(b"")
PATIENCE = 10  # times the limit for a stalled connection: what makes a stream may have to compute it first
CLOSING_SECONDS = 0.5

log = logging.getLogger(__name__)


@define(eq=False, kw_only=True)
class Producer:
    """What a caller handed in for a stream: the stream, or the function that opens one.

    `name` is for messages. Files are read in `threads`. A read may take `patience` seconds. What it opens itself, and
    a generator, which nobody else can go on with, is closed at the end. `on_silence` is called with a text when it has
    given nothing for a while, and with an empty one when it goes on.
    """

    given: Any
    name: str
    threads: DaemonThreadPool
    patience: float
    on_silence: Callable[[str], object] = lambda _: None

    @property
    def opens_again(self) -> bool:
        """Whether it can be read again from its start."""
        return opens_stream(self.given)

    async def open(self) -> ByteStream:
        """Open the stream. Raises SourceError where it is not one, UploadError where that fails or takes too long."""
        stream = self.given
        if opens_stream(stream):
            stream = await self._called(stream)
            check_stream(stream, self.name)
        is_ours = stream is not self.given
        read: Callable[[], Awaitable[object]]
        if inspect.iscoroutinefunction(getattr(stream, "read", None)):
            await measured(stream)  # which leaves a file at its start
            # of a part of a form in an aiohttp server, `read` is all of it
            read = partial(_read_with_await, getattr(stream, "read_chunk", stream.read))
        elif isinstance(stream, AsyncIterable):
            iterator = aiter(stream)
            read = partial(_next_of, iterator)
            stream = iterator if inspect.isasyncgen(iterator) else stream
        else:
            read = partial(self.threads.run, partial(_read_in_thread, stream))
        return ByteStream(self.name, read, _release_of(stream, is_ours=is_ours), self.patience, self._report_silence)

    async def _called(self, opens: Callable[[], Any]) -> Any:
        try:
            with anyio.move_on_after(self.patience):
                stream = opens()
                return await tasks.await_foreign(stream) if inspect.isawaitable(stream) else stream
        except Exception as error:
            raise _failed(self.name, 0, error) from error
        raise _resumable(
            f"{self.name} was not opened within {self.patience:g} s: its source has stalled, not the connection to the "
            "server. Nothing was completed."
        )

    def _report_silence(self, note: str) -> None:
        self.on_silence(note)


@define(eq=False)
class ByteStream:
    """An open stream, read into the memory of others; `position` is how many bytes of it were taken."""

    name: str
    _read: Callable[[], Awaitable[object]]
    _release: Callable[[], Awaitable[object]] | None
    _patience: float
    _on_silence: Callable[[str], object]
    position: int = field(default=0, init=False)
    _rest: memoryview = field(default=_NOTHING, init=False)
    _has_ended: bool = field(default=False, init=False)
    _is_silent: bool = field(default=False, init=False)

    async def fill(self, view: memoryview) -> int:
        """Fill `view` and return its length, or less where the stream ends before.

        Raises UploadError where it can't be read, or gives nothing for too long.
        """
        filled = 0
        while filled < len(view) and await self.has_more():
            count = min(len(self._rest), len(view) - filled)
            view[filled : filled + count] = self._rest[:count]
            self._rest = self._rest[count:]
            filled += count
            self.position += count
        return filled

    async def has_more(self) -> bool:
        """Whether there is a byte more: waits for it, or for the end."""
        while not (self._rest or self._has_ended):
            self._rest = _NOTHING  # its maker may use the memory of the last piece again, or resize it
            piece = await self._next()
            self._has_ended = piece is _END
            if not self._has_ended:
                self._rest = self._as_bytes(piece)
            del piece
        return bool(self._rest)

    async def aclose(self) -> None:
        """Close what nobody else does. Of an error of it only the log knows."""
        self._rest = _NOTHING
        if self._release is None:
            return
        with anyio.move_on_after(CLOSING_SECONDS, shield=True):
            try:
                await tasks.await_foreign(self._release())
            except Exception as error:  # noqa: BLE001 - what was read of it is complete, or its failure is raised
                log.warning("%s could not be closed: %s", self.name, type(error).__name__)

    async def _next(self) -> object:
        silence = self._patience / PATIENCE
        timer = asyncio.get_running_loop().call_later(silence, self._report_silence, silence)
        try:
            with anyio.move_on_after(self._patience) as waiting:
                return await tasks.await_foreign(self._read())
        except RemoteError as error:
            raise _of_store(error, self.name, self.position) from error
        except Exception as error:
            raise _failed(self.name, self.position, error) from error
        finally:
            timer.cancel()
            if self._is_silent:
                self._is_silent = False
                self._on_silence("")
        assert waiting.cancelled_caught, "else it has returned"  # noqa: S101
        raise _resumable(
            f"{self.name} gave nothing for {self._patience:g} s, after {self.position:,} bytes: its source has "
            "stalled, not the connection to the server. Nothing was completed."
        )

    def _report_silence(self, seconds: float) -> None:
        self._is_silent = True
        log.warning("%s: its source has given nothing for %g s; waiting for it", self.name, seconds)
        self._on_silence(f"its source has given nothing for {seconds:g} s")

    def _as_bytes(self, piece: object) -> memoryview:
        try:
            return memoryview(piece).cast("B")  # type: ignore[arg-type]  # of another type it raises
        except (TypeError, ValueError) as error:  # or a view with gaps
            instead = "encode it" if isinstance(piece, str) else "let it give contiguous bytes"
            message = f"{self.name} gives {type(piece).__name__}, not bytes: {instead}."
            if self.position:
                raise UploadError(f"{message} Nothing was completed.") from error
            raise SourceError(f"{message} Nothing was sent.") from error


def check_stream(stream: object, name: str) -> None:
    """Raise SourceError for what a function returned and is not a stream, and for one that can't be read."""
    instead = instead_of(stream)
    if instead is not None:
        raise SourceError(f"{name}: {instead}. Nothing was sent.")
    if is_closed(stream):
        raise SourceError(f"{name} is closed: {CLOSED}. Nothing was sent.")
    if isinstance(stream, io.IOBase) and not stream.readable():
        raise SourceError(f"{name} is not open to be read: open it with 'rb'. Nothing was sent.")
    if not (is_stream(stream) or hasattr(stream, "read")):
        raise SourceError(
            f"{name}: the given function returned {type(stream).__name__}, which is not a stream. Let it return an "
            "async iterator of bytes, a StreamReader or an open binary file. Nothing was sent."
        )


async def measured(file: Any) -> int | None:
    """The size of a file that is read with await, if it can seek: it is at its start then."""
    if not all(inspect.iscoroutinefunction(getattr(file, name, None)) for name in ("seek", "tell")):
        return None
    try:
        await file.seek(0, os.SEEK_END)
        size = await file.tell()
        await file.seek(0)
    except (OSError, ValueError, TypeError):
        return None
    return size if isinstance(size, int) else None


async def _next_of(iterator: Any) -> object:
    return await anext(iterator, _END)


async def _read_with_await(read: Callable[[int], Awaitable[object]]) -> object:
    return await read(BLOCK) or _END


def _read_in_thread(file: Any) -> object:
    """What a pipe has now, rather than wait until a block is full."""
    read = file.read1 if isinstance(file, io.BufferedIOBase) else file.read
    has_waited = False
    while not (piece := read(BLOCK)):
        # open without blocking, nothing is not the end: a buffered reader has b"" for both
        if piece is not None and (has_waited or not _is_nonblocking(file)):
            return _END
        _wait_until_readable(file)
        has_waited = True
    return piece


def _is_nonblocking(file: Any) -> bool:
    try:
        return not os.get_blocking(file.fileno())
    except (AttributeError, OSError, ValueError):  # it is not one of the system's
        return False


def _wait_until_readable(file: Any) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(file, selectors.EVENT_READ)
        selector.select()


def _release_of(stream: Any, *, is_ours: bool) -> Callable[[], Awaitable[object]] | None:
    """What closes `stream`, if anything here has to."""
    if inspect.isasyncgen(stream) or (is_ours and inspect.iscoroutinefunction(getattr(stream, "aclose", None))):
        release: Callable[[], Awaitable[object]] = stream.aclose
        return release
    close = getattr(stream, "close", None)
    if not is_ours or close is None:
        return None

    async def closed() -> None:
        if inspect.isawaitable(closing := close()):
            await closing

    return closed


def _of_store(error: RemoteError, name: str, position: int) -> SourceChangedError | RemoteError:
    """The error of an object that can't be read any more."""
    if error.reason == "changed":
        return SourceChangedError(
            f"{name} was replaced in its store while it was being sent ({error.url}). No file was made. The same call "
            "sends it as it is now."
        )
    message = f"{error} That was after {position:,} bytes. Nothing was completed."
    return remote_error(message, error.url, error.reason, again=error.resumable)


def _failed(name: str, position: int, error: Exception) -> UploadError:
    """The error of a stream that raised: without its text, which may contain a URL or a key."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    return _resumable(f"{name} can't be read any more, after {position:,} bytes: {reason}. Nothing was completed.")


def _resumable(message: str) -> UploadError:
    failure = UploadError(message)
    failure.resumable = True
    return failure
