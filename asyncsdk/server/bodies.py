"""Request and response bodies on the wire: reads JSON and forms, streams responses, notices a client that hangs up."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import web
from attrs import define, field

from asyncsdk.server.errors import ApiError, bad_request, duplicate, too_large
from asyncsdk.server.fields import Fields
from asyncsdk.server.listener import ServerTiming
from asyncsdk.server.log import ACTIVE_REQUEST
from asyncsdk.server.multipart import Field, FormParser, MultipartError, boundary_of
from asyncsdk.server.rate import TokenBucket

JSON_LIMIT = 8 * 2**20
TEXT_LIMIT = 2**20
FIELDS_LIMIT = 100
BODY_LIMIT = 900 * 2**20  # above every endpoint's own limit; a body without a length could be endless
_SLOW_STEP_SECONDS = 0.05


TIMING = web.AppKey("timing", ServerTiming)


class ConnectionGone(Exception):  # noqa: N818 - it is normal, not an error
    """The client hung up, or a fault cut the connection: no response can be sent."""


class Sink(Protocol):
    """Receives the bytes of a file as they arrive."""

    async def write(self, data: bytes, /) -> None:
        """Take the next bytes."""


@define
class ReceivedForm:
    """A form: its text fields, and the headers of the files whose bytes went to their sinks."""

    fields: dict[str, str] = field(factory=dict)
    files: list[Field] = field(factory=list)


def port_of(request: web.Request) -> int | None:
    """Return the local port that received the request; None once its connection is gone."""
    address = None if request.transport is None else request.transport.get_extra_info("sockname")
    return address[1] if isinstance(address, tuple) else None


async def next_chunk(request: web.Request) -> bytes:
    """Return what arrived of the body since the last call, b"" at its end. Raises ConnectionGone."""
    call = request[ACTIVE_REQUEST]
    try:
        chunk = await _read(request, call.hooks.read_rate)
    except Exception as error:  # aiohttp raises whatever the transport or the parser raised
        raise ConnectionGone from error
    call.received += len(chunk)
    if call.received > BODY_LIMIT:
        raise too_large("The body", BODY_LIMIT)
    call.count_bytes(len(chunk))
    if call.received >= (request.content_length or 0) // 2:
        await call.hooks.reach("in")
    return chunk


async def _read(request: web.Request, rate: int | None) -> bytes:
    if rate is None:
        async with asyncio.timeout(request.config_dict[TIMING].silence):
            if request.content_length is None:  # chunked, and its chunks may be tiny
                return await request.content.readany()
            (
                chunk,
                _,
            ) = await request.content.readchunk()  # readany joins, and so copies, all buffered chunks
            return chunk
    await asyncio.sleep(_SLOW_STEP_SECONDS)
    return await request.content.read(max(1, int(rate * _SLOW_STEP_SECONDS)))


async def drain(request: web.Request) -> None:
    """Read and drop the body, so that the connection can be used again."""
    while await next_chunk(request):
        pass
    await request[ACTIVE_REQUEST].hooks.reach("after")


async def count_call(request: web.Request, rate: TokenBucket) -> None:
    """Count a call as it arrives. Above the limit of `rate`, drop its body and raise ApiError."""
    try:
        rate.take(1, request.path, time.monotonic())
    except ApiError:
        await drain(request)
        raise


async def read_json(request: web.Request, limit: int | None = None) -> Fields:
    """Read a JSON object of at most `limit` bytes (default 8 MiB). Raises ApiError, ConnectionGone."""
    value = await read_json_value(request, limit)
    if not isinstance(value, dict):
        raise bad_request("The body must be a JSON object.")
    return value


async def read_json_value(request: web.Request, limit: int | None = None) -> Any:
    """Read JSON of at most `limit` bytes (default 8 MiB). Raises ApiError, ConnectionGone."""
    limit = JSON_LIMIT if limit is None else limit
    if request.content_type != "application/json":
        raise bad_request(f"The body must be application/json, not {request.content_type}.")
    if (request.content_length or 0) > limit:
        raise too_large("The body", limit)
    body = bytearray()
    while chunk := await next_chunk(request):
        body += chunk
        if len(body) > limit:
            raise too_large("The body", limit)
    await request[ACTIVE_REQUEST].hooks.reach("after")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request("The body is not valid JSON.") from error


async def read_form(request: web.Request, open_file: Callable[[Field], Sink | None]) -> ReceivedForm:
    """Read a multipart form; `open_file` returns the sink of a file field, None for a text field.

    Raises ApiError, ConnectionGone, and whatever `open_file` and the sinks raise.
    """
    try:
        reader = _FormReader(open_file)
        parser = FormParser(boundary_of(request.headers.get("Content-Type", "")))
        while chunk := await next_chunk(request):
            for event in parser.feed(chunk):
                await reader.take(event)
    except MultipartError as error:
        raise bad_request(f"The form can't be read: {error}.") from error
    if not parser.complete:
        raise bad_request("The form can't be read: it ends before its closing boundary.")
    await request[ACTIVE_REQUEST].hooks.reach("after")
    return reader.finish()


@define
class _FormReader:
    open_file: Callable[[Field], Sink | None]
    form: ReceivedForm = field(factory=ReceivedForm)
    _texts: dict[str, bytearray] = field(factory=dict)
    _sink: Sink | None = None
    _text: bytearray = field(factory=bytearray)

    async def take(self, event: Field | bytes) -> None:
        if isinstance(event, Field):
            self._begin(event)
        elif self._sink is not None:
            await self._sink.write(event)
        else:
            self._text += event
            if sum(map(len, self._texts.values())) > TEXT_LIMIT:
                raise too_large("The form's text", TEXT_LIMIT)

    def _begin(self, header: Field) -> None:
        several = header.name.endswith("[]")
        if header.name in self._texts or (not several and any(file.name == header.name for file in self.form.files)):
            raise duplicate(header.name)
        if len(self._texts) + len(self.form.files) >= FIELDS_LIMIT:
            raise bad_request(f"The form has more than {FIELDS_LIMIT} fields.")
        self._sink = self.open_file(header)
        if self._sink is None:
            self._text = self._texts[header.name] = bytearray()
        else:
            self.form.files.append(header)

    def finish(self) -> ReceivedForm:
        for name, text in self._texts.items():
            try:
                self.form.fields[name] = text.decode()
            except UnicodeDecodeError as error:
                raise bad_request(f"The form can't be read: field '{name}' is not UTF-8.", name) from error
        return self.form


async def stream(
    request: web.Request, chunks: AsyncIterable[bytes], total: int, headers: Mapping[str, str], status: int = 200
) -> web.StreamResponse:
    """Send a response of `total` bytes chunk by chunk; reaches the moment "answering" half-way."""
    call = request[ACTIVE_REQUEST]
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = total
    await call.hooks.reach("done")
    await response.prepare(request)
    first_half, left = total // 2, total
    async for chunk in chunks:
        left -= len(chunk)
        if 0 <= first_half < len(chunk):
            await send(request, response, chunk[:first_half])
            await call.hooks.reach("answering")
            await send(request, response, chunk[first_half:], is_last=left == 0)
        else:
            await send(request, response, chunk, is_last=left == 0)
        first_half -= len(chunk)
    await response.write_eof()
    return response


async def send(request: web.Request, response: web.StreamResponse, data: bytes, *, is_last: bool = False) -> None:
    """Write a piece of a response, at the rate that a fault sets; the call ends before its last bytes go out."""
    call = request[ACTIVE_REQUEST]
    rate = call.hooks.write_rate
    step = len(data) if rate is None else max(1, int(rate * _SLOW_STEP_SECONDS))
    for start in range(0, len(data), step or 1):
        if rate is not None:
            await asyncio.sleep(_SLOW_STEP_SECONDS)
        piece = data[start : start + step]
        call.sent += len(piece)
        if is_last and start + step >= len(data):
            call.end()
        await response.write(piece)
