"""The listening socket: how many connections it accepts, how long they may be idle, and how all are closed at once.

aiohttp itself would echo the bytes of a broken request in its response and log them, the key included.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from attrs import frozen

from asyncsdk.server.errors import ApiError

logger = logging.getLogger(__name__)

READ_BUFFER = 256 * 1024
_PARTING_SECONDS = 1.0
_BUSY = ApiError(503, "Too many connections at once; close some.", type="server_error")


@frozen(kw_only=True)
class ServerTiming:
    """How long the server waits for a client, in seconds.

    `idle`: without a whole request, from the start of a connection and between two requests. `silence`: for the next
    bytes of a body. `unread`: for a client to read more of a response (Linux).
    """

    idle: float = 60.0
    silence: float = 60.0
    unread: float = 120.0


class Listener(web.BaseSite):
    """Accepts at most `connections` at a time; further connections get a 503 and are closed."""

    def __init__(
        self,
        runner: web.AppRunner,
        host: str,
        port: int,
        *,
        connections: int,
        ssl_context: ssl.SSLContext | None,
        timing: ServerTiming,
    ) -> None:
        super().__init__(runner, ssl_context=ssl_context)
        self._host, self._port, self._connections, self._timing = host, port, connections, timing
        self._refused: set[asyncio.Transport] = set()  # and not yet closed

    @property
    def name(self) -> str:
        """The address, for aiohttp."""
        return f"{self._host}:{self._port}"

    async def start(self) -> None:
        """Start listening. Raises OSError where that is not possible."""
        await super().start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _ConnectionGate(self._protocol), self._host, self._port, ssl=self._ssl_context
        )

    async def stop(self) -> None:
        """Stop listening. What was accepted before is among the server's connections then."""
        if self._server is not None:
            await close_server(cast("asyncio.Server", self._server))
        for transport in list(self._refused):
            transport.abort()
        await super().stop()

    def _protocol(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is None or len(server.connections) >= self._connections:
            return _Overloaded(self._refused)
        return _Connection(
            server,
            self._timing,
            loop=asyncio.get_running_loop(),
            access_log=cast("logging.Logger", None),
            auto_decompress=False,
            read_bufsize=READ_BUFFER,
            keepalive_timeout=self._timing.idle,
        )


class _ConnectionGate(asyncio.Protocol):
    """Chooses a new connection's protocol: of many at once, each is counted before the next is looked at."""

    def __init__(self, choose: Callable[[], asyncio.Protocol]) -> None:
        self._choose = choose

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        protocol = self._choose()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


class _Connection(web.RequestHandler):
    def __init__(self, server: web.Server, timing: ServerTiming, **options: Any) -> None:
        super().__init__(server, **options)
        self._timing = timing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._idle_timer = asyncio.get_running_loop().call_later(self._timing.idle, self._require_a_request)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # the kernel enforces it, whichever code is sending
            own: socket.socket = transport.get_extra_info("socket")
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._timing.unread * 1000))

    def connection_lost(self, exc: BaseException | None) -> None:
        self._idle_timer.cancel()  # it references the whole connection
        super().connection_lost(exc)

    def _require_a_request(self) -> None:
        """Close a connection that sent no request yet: older aiohttp limits only the time between two requests."""
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
        logger.info("what %s sent is not valid HTTP: %s", request.remote, type(exc).__name__)
        if request.writer.output_size:
            raise ConnectionError("a response has begun; another can't follow")
        refusal = _unreadable(exc)
        response = web.json_response(refusal.to_json(), status=refusal.status)
        response.force_close()
        return response


def _unreadable(error: BaseException | None) -> ApiError:
    if isinstance(error, LineTooLong):
        return ApiError(431, "The address or a header is longer than 8190 bytes.")
    return ApiError(400, "This is not a valid HTTP request.")


class _Overloaded(asyncio.Protocol):
    """Says so, and waits a moment for the client to close: bytes left unread would reset it, and lose the answer."""

    def __init__(self, refused: set[asyncio.Transport]) -> None:
        self._refused = refused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        body = json.dumps(_BUSY.to_json()).encode()
        head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._out = cast("asyncio.Transport", transport)
        self._refused.add(self._out)
        self._end = asyncio.get_running_loop().call_later(_PARTING_SECONDS, self._out.abort)
        self._out.write(f"{head}Connection: close\r\nRetry-After: 1\r\n\r\n".encode() + body)
        if self._out.can_write_eof():
            self._out.write_eof()
        else:
            self._out.close()  # TLS says the end by itself

    def connection_lost(self, _exc: BaseException | None) -> None:
        self._end.cancel()
        self._refused.discard(self._out)


async def close_server(server: asyncio.Server) -> None:
    """Stop listening, and let what was accepted in this turn of the loop become connections first.

    asyncio accepts a socket in one turn and makes its transport in the next; it loses those whose server is closed
    between the two, and they stay open.
    """
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        with suppress(NotImplementedError):  # loops that watch no files accept otherwise
            loop.remove_reader(listening)
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the protocol hears of its transport a turn later
    server.close()


_SHUTDOWN_SECONDS = 0.05


async def start(
    app: web.Application,
    host: str,
    port: int,
    *,
    ssl_context: ssl.SSLContext | None,
    connections: int,
    timing: ServerTiming,
) -> web.AppRunner:
    """Start listening; at most `connections` at a time. Raises OSError where that is not possible."""
    runner = web.AppRunner(app, shutdown_timeout=_SHUTDOWN_SECONDS)
    try:
        await runner.setup()
        site = Listener(runner, host, port, connections=connections, ssl_context=ssl_context, timing=timing)
        await site.start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


async def stop(runner: web.AppRunner, under_way: Callable[[], Collection[asyncio.Task[Any]]]) -> None:
    """Stop listening, cancel the calls under way and close every connection, before this returns."""
    for site in runner.sites:
        await site.stop()
    connections = [] if runner.server is None else runner.server.connections
    transports = [connection.transport for connection in connections]
    for connection in connections:
        connection.close()  # to further requests; a call under way goes on
    if calls := under_way():
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
    await runner.cleanup()
    for transport in transports:
        if transport is not None:
            transport.abort()  # cleanup flushes first: a client that reads nothing would keep it open
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # TLS takes a second turn of the loop to close its socket
