"""Makes a planned fault happen to a call, on its very connection."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from attrs import define
from multidict import CIMultiDict

from asyncsdk.server.errors import ApiError
from asyncsdk.server.faults import MOMENTS, Fault, Faults, Moment
from asyncsdk.server.log import EXCHANGE
from asyncsdk.server.state import State
from asyncsdk.server.wire import ConnectionGone, stream

_LOOK_SECONDS = 0.02
_SLOW_RECEIVE_BUFFER = 32 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@define(eq=False)
class FaultAnswer(Exception):  # noqa: N818 - a way out, nobody's error
    """A fault gives the answer; whatever the handler was doing ends here."""

    response: web.Response


@define(eq=False)
class Injector:
    """The middleware between the wire and the rules."""

    faults: Faults
    state: State

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        exchange = request[EXCHANGE]
        fault = exchange.fault = self.faults.meet(exchange.route)
        if fault is None:
            return await handler(request)
        exchange.reach = _Waiting(fault, request, self.state).reach
        try:
            return await _pass_through(request, handler)
        except FaultAnswer as answer:
            return answer.response


async def _pass_through(request: web.Request, handler: Handler) -> web.StreamResponse:
    exchange = request[EXCHANGE]
    if exchange.rate is not None:
        _socket_of(request).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_RECEIVE_BUFFER)
    await exchange.reach("before")
    if not request.body_exists:
        await exchange.reach("after")
    response = await handler(request)
    await exchange.reach("done")
    if isinstance(response, web.Response) and isinstance(response.body, bytes):
        chunks = _only(response.body)
        return await stream(request, chunks, len(response.body), response.headers, response.status)
    return response


async def _only(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


@define(eq=False)
class _Waiting:
    """A fault that waits for its moment in one call, and happens there once."""

    fault: Fault
    request: web.Request
    state: State
    _happened: bool = False

    async def reach(self, moment: Moment) -> None:
        if not self._happened and MOMENTS.index(moment) >= MOMENTS.index(self.fault.at):
            self._happened = True
            await self._happen()

    async def _happen(self) -> None:
        match self.fault.kind:
            case "answer":
                raise FaultAnswer(answer_of(self.fault))
            case "reset":
                _reset(self.request)
            case "close":
                _close(self.request)
            case "stall":
                await _stall(self.request, self.fault.seconds)
            case "expire":
                await self.state.expire(self.request[EXCHANGE].upload_id)


def answer_of(fault: Fault) -> web.Response:
    headers = CIMultiDict(fault.headers)
    is_html = isinstance(fault.body, str)
    headers.setdefault("Content-Type", "text/html; charset=utf-8" if is_html else "application/json")
    text = fault.body if is_html else json.dumps(_error_of(fault) if fault.body is None else fault.body)
    return web.Response(status=fault.status, headers=headers, body=text.encode())


def _error_of(fault: Fault) -> dict[str, Any]:
    kind = "server_error" if fault.status >= 500 else "invalid_request_error"
    return ApiError(fault.status, f"A fault on request: {fault.status}.", type=kind).to_json()


def _reset(request: web.Request) -> None:
    """Cut the connection with a RST: the peer loses what it has not read yet."""
    _socket_of(request).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    _transport_of(request).abort()
    raise ConnectionGone


def _close(request: web.Request) -> None:
    """End the connection with a FIN, after what was written."""
    _transport_of(request).close()
    raise ConnectionGone


async def _stall(request: web.Request, seconds: float | None) -> None:
    """Do nothing for so long (None: for ever). Raises ConnectionGone when the client is seen to hang up meanwhile.

    It is not always seen: behind a body that nobody reads the client's FIN does not arrive.
    """
    loop = asyncio.get_running_loop()
    request[EXCHANGE].stalled = seconds is None
    end = None if seconds is None else loop.time() + seconds
    while end is None or loop.time() < end:
        if request.transport is None:
            raise ConnectionGone
        await asyncio.sleep(_LOOK_SECONDS)


def _transport_of(request: web.Request) -> asyncio.Transport:
    """Return the connection of a request. Raises ConnectionGone where there is none any more."""
    if request.transport is None:
        raise ConnectionGone
    return request.transport


def _socket_of(request: web.Request) -> socket.socket:
    found: socket.socket = _transport_of(request).get_extra_info("socket")
    return found
