"""Reads a response within its limits, in chunks or as a model, and closes its connection."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, suppress
from typing import Any, TypeVar, cast

import aiohttp
from attrs import define, field
from multidict import CIMultiDict

from asyncsdk.errors import APIError, APIResponseValidationError, APIStatusError
from asyncsdk.http.decode import OBJECTS, read_response, status_error
from asyncsdk.http.edit_response import LARGEST_RESPONSE, Message, Messages
from asyncsdk.http.errors import translating_errors
from asyncsdk.http.inflate import InflateError, Inflater, inflater_for
from asyncsdk.http.request import PreparedRequest
from asyncsdk.models import ImagesResponse
from asyncsdk.redaction import SMALL, Redactor, text_of

T = TypeVar("T")

_LARGEST_BODY = 8 << 20  # a page of 10,000 files is a third of it; read, JSON may take twenty times its size
_LARGEST_RATIO = 8  # the compression of a body that is larger than _LARGEST_BODY
_ERROR_BODY_SECONDS = 10.0
_LONGEST_TURN = 0.005  # seconds of reading before other tasks run


@define(eq=False)
class _Waits:
    """The waits for more of a response, none of them longer than `limit` seconds, by one timer for all.

    A timer for each chunk costs as much as everything else that is done with a chunk.
    """

    limit: float
    _content: aiohttp.StreamReader
    _since: float | None = field(default=None, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    async def more(self) -> bytes:
        """The next chunk, empty at the end. Raises TimeoutError."""
        loop = asyncio.get_running_loop()
        self._since = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self.limit, self._look, loop)
        try:
            return await self._content.readany()
        finally:
            self._since = None

    def end(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._since is None:  # the next wait starts its own timer
            return
        left = self._since + self.limit - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._look, loop)
        else:
            self._content.set_exception(TimeoutError())


@define(eq=False)
class Response:
    """The response to `call`. A secret that the server echoes is redacted, except in the bytes of files and images."""

    call: PreparedRequest
    _response: aiohttp.ClientResponse = field(repr=False)
    redactor: Redactor
    headers: Mapping[str, str] = field(init=False, repr=False)
    _inflater: Inflater | None = field(init=False, repr=False)
    _waits: _Waits = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        headers = self._response.headers
        text = "\n".join(headers.values())  # nearly always without any: one look is enough
        shown = headers.items() if self.shown(text) == text else [(name, self.shown(v)) for name, v in headers.items()]
        self.headers = CIMultiDict(shown)
        self._inflater = inflater_for(self.headers.get("Content-Encoding"))
        self._waits = _Waits(self.call.response_timeout, self._response.content)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    @property
    def location(self) -> str | None:
        """The target of a redirect, as the server sent it: not to be shown."""
        return self._response.headers.get("Location")

    def shown(self, text: str) -> str:
        """`text` of the response without secrets."""
        return self.redactor.clean(text)

    @property
    def _is_there(self) -> bool:
        """Whether all of it has come, as small bodies do with their headers."""
        return self._response.content.is_eof()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes as they come, inflated; each wait for more is bounded by the call's limit."""
        inflated = 0
        while True:
            chunk, lost = await self._next_chunk()
            if self._inflater is None:
                if chunk:
                    yield chunk
            elif chunk or lost is None:
                for piece in self._inflated(self._inflater, chunk):
                    inflated += len(piece)
                    if self.call.request.response_model is not bytes:
                        self._check(inflated, LARGEST_RESPONSE)
                    yield piece
                    await asyncio.sleep(0)  # one chunk may contain thousands: other tasks run between
            if lost is not None:
                raise lost
            if not chunk:
                return

    async def _next_chunk(self) -> tuple[bytes, APIError | None]:
        """The next chunk, empty at the end; where the response breaks off, what came before that, and the error."""
        content = self._response.content
        try:
            with translating_errors(self.call):
                chunk = content.read_nowait() or await self._waits.more()
        except APIError as error:
            return content._read_nowait(-1), error  # noqa: SLF001 - no public way to it
        return chunk, None

    async def read(self, model: type[T], *, limit: int | None = None) -> T:
        """The whole of it as `model`, of at most `limit` bytes."""
        if model is ImagesResponse:
            return cast("T", await self._images())
        most = limit or _largest(model)
        # a file may take long as long as bytes move; an object may not
        seconds = None if model is bytes else self.call.response_timeout
        with translating_errors(self.call):
            if self._is_there:
                body = await self._whole(most=most)
            else:
                async with asyncio.timeout(seconds):
                    body = await self._whole(most=most)
        return read_response(model, self.status, self.headers, body, request=self.call.name, redactor=self.redactor)

    def messages(self, wanted: int = 0) -> Messages:
        """Its messages as the response to an edit for `wanted` images."""
        return Messages(
            request=self.call.name,
            status=self.status,
            headers=self.headers,
            redactor=self.redactor,
            wanted=wanted,
        )

    async def error(self) -> APIStatusError:
        """The error that the server reports."""
        body = bytearray()
        with suppress(APIError, OSError):  # the status is enough
            async with asyncio.timeout(_ERROR_BODY_SECONDS), aclosing(self.chunks()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) >= SMALL:
                        break
        text = text_of(bytes(body[:SMALL]))
        shown = self.redactor.clean_end(self.shown(text)).encode("utf-8", "replace")
        return status_error(self.status, self.headers, shown, request=self.call.name)

    async def leave(self) -> None:
        """Release the connection. One on which something is still on its way is aborted, not drained.

        A closing transport would keep its socket until the peer has received what is left, perhaps forever.
        """
        self._waits.end()
        connection = self._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        self._response.close()
        await self._response.wait_for_close()

    async def _images(self) -> ImagesResponse:
        messages = self.messages()
        async with aclosing(received(messages, self.chunks())) as images:
            async for _ in images:
                pass
        try:
            if messages.failure is not None and not messages.response.data:
                raise messages.failure
            return messages.response
        finally:
            del messages  # the error's traceback would lead to it, and it to the error: both would stay for long

    async def _whole(self, *, most: int) -> bytes:
        if self._is_there and self._inflater is None:
            body = self._response.content.read_nowait()
            self._check(len(body), most)
            return body
        return b"".join([chunk async for chunk in self._at_most(most)])

    async def _at_most(self, limit: int) -> AsyncGenerator[bytes, None]:
        seen = 0
        async for chunk in self.chunks():
            seen += len(chunk)
            self._check(seen, limit)
            yield chunk

    def _check(self, size: int, limit: int) -> None:
        if size > limit:
            raise self._unreadable(f"is larger than {limit} bytes")
        packed = sys.maxsize if self._inflater is None else self._inflater.taken
        if limit < sys.maxsize and size > max(_LARGEST_BODY, _LARGEST_RATIO * packed):
            raise self._unreadable(f"is {size} bytes or more, inflated from {packed}")

    def _inflated(self, inflater: Inflater, chunk: bytes) -> Iterator[bytes]:
        """The bytes that `chunk` contains; an empty one ends the response."""
        if not inflater.is_known and self.call.request.response_model is bytes:  # it would pass for the content
            raise self._unreadable(f"is compressed in a way that was not requested ({inflater.coding})")
        try:
            if chunk:
                yield from inflater.pieces(chunk)
            else:
                inflater.end()
        except InflateError as error:
            raise self._unreadable(f"could not be read: {error}") from error

    def _unreadable(self, what: str) -> APIResponseValidationError:
        return APIResponseValidationError(
            f"{self.call.name}: the response {what}.",
            request=self.call.name,
            status_code=self.status,
            request_id=self.headers.get("x-request-id"),
        )


def _largest(model: type[Any]) -> int:
    if model is bytes:
        return sys.maxsize  # a file's content, as large as it is
    return SMALL if model in OBJECTS else _LARGEST_BODY


@define(eq=False)
class Stream(AsyncIterator[bytes]):
    """A response's bytes as they come. `request_id` is the server's name for the request."""

    _response: Response
    _chunks: AsyncGenerator[bytes, None]

    @property
    def request_id(self) -> str | None:
        return self._response.headers.get("x-request-id")

    @property
    def redactor(self) -> Redactor:
        """Removes the secrets of the request from what the server may have echoed."""
        return self._response.redactor

    def messages(self, wanted: int) -> Messages:
        """Its messages as the response to an edit for `wanted` images."""
        return self._response.messages(wanted)

    def __aiter__(self) -> AsyncIterator[bytes]:  # noqa: PYI034 - one coroutine fewer for each chunk
        return self._chunks

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)


async def received(messages: Messages, chunks: AsyncGenerator[bytes, None] | Stream) -> AsyncGenerator[Message, None]:
    """The messages of a response as they come, until all are there, without waiting for the server to hang up.

    `messages.failure` is the error, if any, at the end.
    """
    lost: APIError | None = None
    clock = asyncio.get_running_loop().time
    try:
        async for chunk in chunks:
            began = clock()
            for piece in messages.pieces(chunk):
                if clock() - began > _LONGEST_TURN:
                    await asyncio.sleep(0)
                    began = clock()
                for message in messages.feed(piece):
                    yield message
            if messages.is_over:
                break
    except APIError as error:
        lost = error.with_traceback(None)  # which would lead to this frame, and this to the error
    for message in messages.close(lost):
        yield message
