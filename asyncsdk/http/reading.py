"""An answer as it comes in: read in chunks or as a model, and left without a socket hanging on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from typing import TypeVar

import aiohttp
from attrs import define, field
from multidict import CIMultiDict

from asyncsdk.decoding import PictureCutter, Pictures
from asyncsdk.errors import APIResponseValidationError, APIStatusError
from asyncsdk.http.answers import read_answer, status_error
from asyncsdk.http.call import Call
from asyncsdk.http.lost import as_ours
from asyncsdk.models import ImagesResponse
from asyncsdk.redaction import Redactor, text_of

T = TypeVar("T")

_LARGEST_ANSWER = 1 << 30  # ten pictures of the largest size are less than half of it
_LONGEST_ERROR_BODY, _ERROR_BODY_SECONDS = 1 << 20, 10.0


@define(eq=False)
class Response:
    """What the server says to `call`: where it echoes a secret, a mark, but in the bytes of files and pictures."""

    call: Call
    _response: aiohttp.ClientResponse = field(repr=False)
    _redactor: Redactor
    headers: Mapping[str, str] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        shown = ((name, self.shown(value)) for name, value in self._response.headers.items())
        self.headers = CIMultiDict(shown)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    @property
    def location(self) -> str | None:
        """Where a redirect leads, as the server wrote it: not to be shown."""
        return self._response.headers.get("Location")

    def shown(self, text: str) -> str:
        """`text` of the answer without secrets."""
        return self._redactor.clean(text)

    @property
    def _is_there(self) -> bool:
        """Whether all of it has come, as small ones do with their head."""
        return self._response.content.is_eof()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes as they come; each wait for more is bounded by the call's limit."""
        while True:
            with as_ours(self.call):
                async with asyncio.timeout(self.call.answer_limit):
                    chunk = await self._response.content.readany()
            if not chunk:
                return
            yield chunk

    async def read(self, model: type[T], *, limit: int | None = None) -> T:
        """The whole of it as `model`, of at most `limit` bytes (1 GiB; `bytes` as many as there are).

        Pictures are decoded while they come in.
        """
        most = limit or (sys.maxsize if model is bytes else _LARGEST_ANSWER)
        # pictures and files may take their time as long as they move; an object that does is no answer
        seconds = None if model in {ImagesResponse, bytes} else self.call.answer_limit
        with as_ours(self.call):
            async with asyncio.timeout(None if self._is_there else seconds):
                body, pictures = await self._whole(cut=model is ImagesResponse, most=most)
        if model is not bytes:
            text = text_of(body)
            shown = self.shown(text)
            body = body if shown is text else shown.encode()
        return self._as(model, body, pictures)

    async def error(self) -> APIStatusError:
        """What the server says is wrong."""
        said = bytearray()
        with suppress(aiohttp.ClientError, OSError):  # the status tells enough
            async with asyncio.timeout(_ERROR_BODY_SECONDS):
                while len(said) < _LONGEST_ERROR_BODY and (chunk := await self._response.content.readany()):
                    said += chunk
        shown = self._redactor.clean_end(self.shown(text_of(bytes(said)))).encode()
        return status_error(self.status, self.headers, shown, request=self.call.name)

    async def leave(self) -> None:
        """Be done with it. A connection on which something is still on its way is cut, not drained.

        A closing transport would keep its socket until the peer has taken what is left, perhaps for ever.
        """
        connection = self._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        self._response.close()
        await self._response.wait_for_close()

    async def _whole(self, *, cut: bool, most: int) -> tuple[bytes, Pictures]:
        if self._is_there and not cut:
            body = self._response.content.read_nowait()
            self._check(len(body), most)
            return body, {}
        if not cut:
            return b"".join([chunk async for chunk in self._at_most(most)]), {}
        cutter = PictureCutter()
        async for chunk in self._at_most(most):
            cutter.feed(chunk)
        return cutter.rest, cutter.pictures

    async def _at_most(self, limit: int) -> AsyncGenerator[bytes, None]:
        seen = 0
        async for chunk in self.chunks():
            seen += len(chunk)
            self._check(seen, limit)
            yield chunk

    def _check(self, size: int, limit: int) -> None:
        if size > limit:
            name = self.call.name
            raise APIResponseValidationError(f"{name}: the answer is larger than {limit} bytes", request=name)

    def _as(self, model: type[T], body: bytes, pictures: Pictures) -> T:
        return read_answer(model, self.status, self.headers, body, request=self.call.name, pictures=pictures)


@define(eq=False)
class Stream(AsyncIterator[bytes]):
    """An answer's bytes as they come. `request_id` is the server's name for the request."""

    _answer: Response
    _chunks: AsyncGenerator[bytes, None]

    @property
    def request_id(self) -> str | None:
        return self._answer.headers.get("x-request-id")

    def shown(self, text: str) -> str:
        """`text` of the answer without secrets."""
        return self._answer.shown(text)

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)
