"""Middleware that carries out planned faults: error responses, delays, broken connections."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from attrs import define, field
from multidict import CIMultiDict

from asyncsdk.server.bodies import ConnectionGone, stream
from asyncsdk.server.errors import ApiError
from asyncsdk.server.fault_plan import FaultPlan, PlannedFault
from asyncsdk.server.faults import MOMENTS, Fault, Moment
from asyncsdk.server.hooks import CallHooks
from asyncsdk.server.log import ACTIVE_REQUEST
from asyncsdk.server.repository import Repository

_POLL_SECONDS = 0.02
_SLOW_RECEIVE_BUFFER = 64 * 1024  # with half of it, eight parts at once took ten times as long as at their rate
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@define(eq=False)
class FaultResponse(Exception):  # noqa: N818 - it is planned, not an error
    """A fault sends this response; the handler ends here."""

    response: web.Response


@define(eq=False)
class Injector:
    """Gives a call that meets faults its hooks."""

    faults: FaultPlan
    repository: Repository

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        faults = self.faults.meet(request[ACTIVE_REQUEST].route)
        if not faults:
            return await handler(request)
        hooks = _FaultHooks(waiting=[_PendingFault(planned, request, self.repository) for planned in faults])
        request[ACTIVE_REQUEST].hooks = hooks
        try:
            return await _pass_through(request, handler)
        except FaultResponse as fault:
            return fault.response
        finally:
            for pending in hooks.waiting:
                pending.release()


async def _pass_through(request: web.Request, handler: Handler) -> web.StreamResponse:
    hooks = request[ACTIVE_REQUEST].hooks
    await hooks.reach("before")
    if not request.body_exists:
        await hooks.reach("after")
    response = await handler(request)
    await hooks.reach("done")
    if isinstance(response, web.Response) and isinstance(response.body, bytes):
        chunks = _only(response.body)
        return await stream(request, chunks, len(response.body), response.headers, response.status)
    return response


async def _only(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


@define(eq=False)
class _PendingFault:
    """A fault that waits for its moment in one call, and happens there once."""

    planned: PlannedFault
    request: web.Request
    repository: Repository
    _reached: bool = False
    _released: bool = False

    @property
    def fault(self) -> Fault:
        return self.planned.fault

    async def reach(self, moment: Moment) -> None:
        call = self.request[ACTIVE_REQUEST]
        has_nothing = self.fault.kind == "expire" and call.upload_id is None and call.batch_id is None
        if self._reached or MOMENTS.index(moment) < MOMENTS.index(self._moment()) or has_nothing:
            return
        self._reached = True
        if self.fault.kind == "limit":
            self.count("requests", 1, self.request[ACTIVE_REQUEST].path)
        elif self.fault.kind != "md5":
            self.happen()
            await self._act()

    def count(self, unit: str, amount: int, model: str) -> None:
        """Count `amount` against a limit in that unit. Raises FaultResponse above it."""
        if self.fault.kind != "limit" or self.fault.unit != unit:
            return
        try:
            self.planned.rate.take(amount, model, time.monotonic())
        except ApiError as error:
            self.happen()
            raise FaultResponse(web.json_response(error.to_json(), status=error.status)) from error

    def happen(self) -> None:
        """Count it now, not at the end of the call: the client's next call may come before that."""
        self.request[ACTIVE_REQUEST].fault = self.fault
        self.planned.happened()
        self.release()

    def release(self) -> None:
        """The fault is over for this call."""
        if not self._released:
            self._released = True
            self.planned.release()

    def _moment(self) -> Moment:
        """When to act: a slow body or response is slow from its beginning."""
        if self.fault.kind != "slow":
            return self.fault.at
        return "done" if self.fault.at == "answering" else "before"

    async def _act(self) -> None:
        match self.fault.kind:
            case "answer":
                raise FaultResponse(response_of(self.fault, self.repository.clock()))
            case "reset":
                _reset(self.request)
            case "close":
                _close(self.request)
            case "stall":
                await _stall(self.request, self.fault.seconds)
            case "slow":
                _slow_down(self.request, self.fault)
            case "expire":
                await self.repository.expire(self.request[ACTIVE_REQUEST].upload_id)
                await self.repository.expire_batch(self.request[ACTIVE_REQUEST].batch_id)


@define(eq=False)
class _FaultHooks(CallHooks):
    """The hooks of a call that meets faults."""

    waiting: Sequence[_PendingFault] = field(kw_only=True)

    async def reach(self, moment: Moment) -> None:
        for each in self.waiting:
            await each.reach(moment)

    def count_images(self, images: int, model: str) -> None:
        for each in self.waiting:
            each.count("input-images", images, model)

    def sees_wrong_md5(self) -> bool:
        wrong = [each for each in self.waiting if each.fault.kind == "md5"]
        for each in wrong:
            each.happen()
        return bool(wrong)


def response_of(fault: Fault, now: float) -> web.Response:
    """Return the response that a fault sends at `now`, in unix seconds."""
    assert fault.status is not None  # noqa: S101 - for the type checker: an answer has one
    headers = CIMultiDict(fault.headers)
    if fault.retry_after is not None:
        headers.update(_retry_after(fault.retry_after, fault.retry_as, now))
    is_html = isinstance(fault.body, str)
    headers.setdefault("Content-Type", "text/html; charset=utf-8" if is_html else "application/json")
    text = fault.body if is_html else json.dumps(error_of(fault.status) if fault.body is None else fault.body)
    return web.Response(status=fault.status, headers=headers, body=text.encode())


def _retry_after(seconds: float, form: str, now: float) -> dict[str, str]:
    match form:
        case "milliseconds":
            return {"retry-after-ms": f"{seconds * 1000:g}"}
        case "date":
            return {"Retry-After": formatdate(now + seconds, usegmt=True)}
        case _:
            return {"Retry-After": f"{seconds:g}"}


def error_of(status: int) -> dict[str, Any]:
    """The body of an "answer" that has none of its own."""
    message = f"A fault on request: {status}."
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return ApiError(status, message, code="rate_limit_exceeded", type="requests").to_json()
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return ApiError(status, message, type=kind).to_json()


def _reset(request: web.Request) -> None:
    """Reset the connection (RST): the client loses what it has not read yet."""
    request[ACTIVE_REQUEST].end()
    _socket_of(request).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    _transport_of(request).abort()
    raise ConnectionGone


def _close(request: web.Request) -> None:
    """Close the connection (FIN), after what was written."""
    request[ACTIVE_REQUEST].end()
    _transport_of(request).close()
    raise ConnectionGone


async def _stall(request: web.Request, seconds: float | None) -> None:
    """Wait for `seconds` (None: for ever). Raises ConnectionGone when the client is seen to hang up.

    That is not always seen: after a body that is not read, the client's FIN does not arrive.
    """
    loop = asyncio.get_running_loop()
    request[ACTIVE_REQUEST].stalled = seconds is None
    end = None if seconds is None else loop.time() + seconds
    while end is None or loop.time() < end:
        if request.transport is None:
            raise ConnectionGone
        await asyncio.sleep(_POLL_SECONDS)


def _slow_down(request: web.Request, fault: Fault) -> None:
    if fault.at == "answering":
        request[ACTIVE_REQUEST].hooks.write_rate = fault.rate
    else:
        request[ACTIVE_REQUEST].hooks.read_rate = fault.rate
        _socket_of(request).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_RECEIVE_BUFFER)


def _transport_of(request: web.Request) -> asyncio.Transport:
    """Return the connection of a request. Raises ConnectionGone once it is gone."""
    if request.transport is None:
        raise ConnectionGone
    return request.transport


def _socket_of(request: web.Request) -> socket.socket:
    own: socket.socket = _transport_of(request).get_extra_info("socket")
    return own
