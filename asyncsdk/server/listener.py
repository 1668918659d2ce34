"""Listens with an application: how many connections get in, for how long, and how all of them are closed at once.

aiohttp itself would answer a broken request with the very bytes that it could not read, and log them: the key too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import Callable, Collection
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from asyncsdk.server.errors import ApiError

logger = logging.getLogger(__name__)

READ_BUFFER = 256 * 1024
IDLE_SECONDS = 60.0  # without a whole request: from the first byte of a connection, and between two requests
UNREAD_SECONDS = 120.0  # an answer of which the client takes nothing more (Linux)
_BUSY = ApiError(503, "Too many connections at once; close some.", type="server_error")


class Listener(web.BaseSite):
    """Listens, and lets at most `connections` in at a time; whoever comes on top is told so and cut off."""

    def __init__(
        self, runner: web.AppRunner, host: str, port: int, *, connections: int, ssl_context: ssl.SSLContext | None
    ) -> None:
        super().__init__(runner, ssl_context=ssl_context)
        self._host, self._port, self._connections = host, port, connections

    @property
    def name(self) -> str:
        """Where it listens, for aiohttp."""
        return f"{self._host}:{self._port}"

    async def start(self) -> None:
        """Return when it listens. Raises OSError where it can't."""
        await super().start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _ConnectionGate(self._let_in), self._host, self._port, ssl=self._ssl_context
        )

    def _let_in(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is None or len(server.connections) >= self._connections:
            return _Overloaded()
        return _Connection(
            server,
            loop=asyncio.get_running_loop(),
            access_log=cast("logging.Logger", None),
            auto_decompress=False,
            read_bufsize=READ_BUFFER,
            keepalive_timeout=IDLE_SECONDS,
        )


class _ConnectionGate(asyncio.Protocol):
    """Decides once a connection is there: of many that come at once each is counted before the next is looked at."""

    def __init__(self, let_in: Callable[[], asyncio.Protocol]) -> None:
        self._let_in = let_in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        protocol = self._let_in()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


class _Connection(web.RequestHandler):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._patience = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._expect_a_request)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # the kernel minds it, whatever is being sent by whom
            found: socket.socket = transport.get_extra_info("socket")
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_SECONDS * 1000))

    def connection_lost(self, exc: BaseException | None) -> None:
        self._patience.cancel()  # it holds on to all that belongs to the connection
        super().connection_lost(exc)

    def _expect_a_request(self) -> None:
        """The first must have come by now: older aiohttp minds only the time between two."""
        if not self._request_count:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status != 400:
            return super().handle_error(request, status, exc, message)
        logger.info("what %s sent is no HTTP: %s", request.remote, type(exc).__name__)
        if request.writer.output_size:
            raise ConnectionError("an answer has begun; another can't follow")
        refusal = _unreadable(exc)
        response = web.json_response(refusal.to_json(), status=refusal.status)
        response.force_close()
        return response


def _unreadable(error: BaseException | None) -> ApiError:
    if isinstance(error, LineTooLong):
        return ApiError(431, "The address or a header is longer than 8190 bytes.")
    return ApiError(400, "This is no HTTP request that can be read.")


class _Overloaded(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        body = json.dumps(_BUSY.to_json()).encode()
        head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        out = cast("asyncio.Transport", transport)
        out.write(f"{head}Connection: close\r\nRetry-After: 1\r\n\r\n".encode() + body)
        out.close()


_POLITE_SECONDS = 0.05


async def start(
    app: web.Application, host: str, port: int, *, ssl_context: ssl.SSLContext | None, connections: int
) -> web.AppRunner:
    """Return when it listens, for so many connections at a time. Raises OSError where it can't."""
    runner = web.AppRunner(app, shutdown_timeout=_POLITE_SECONDS)
    try:
        await runner.setup()
        await Listener(runner, host, port, connections=connections, ssl_context=ssl_context).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


async def stop(runner: web.AppRunner, under_way: Callable[[], Collection[asyncio.Task[Any]]]) -> None:
    """Take no more, cancel the calls under way, close every connection; all is gone when this returns."""
    for site in runner.sites:
        await site.stop()
    connections = [] if runner.server is None else runner.server.connections
    transports = [connection.transport for connection in connections]
    for connection in connections:
        connection.close()  # to further requests; what is under way goes on
    if calls := under_way():
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
    await runner.cleanup()
    for transport in transports:
        if transport is not None:
            transport.abort()  # cleanup closes politely: a client that reads nothing would keep it open
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # TLS takes a second turn of the loop to close its socket
