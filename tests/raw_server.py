"""A server that says exactly what a test wants, byte for byte, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl as tls
import struct
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from attrs import define, field, frozen

from asyncsdk import Client
from asyncsdk.server.listener import close_server
from asyncsdk.timing import Timing

KEY = "sk-a-secret-0123456789"
QUICK = Timing(first_delay=0.001)
UPLOAD = {"id": "upload_1", "object": "upload", "status": "pending"}
PART = {"id": "part_1", "object": "upload.part", "created_at": 1, "upload_id": "upload_1"}


@frozen
class Received:
    """A request as it came; the names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    head: bytes
    body: bytes = b""


@define(eq=False)
class Talk:
    """One connection, seen from the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: RawServer

    async def hear_head(self) -> Received:
        """The next request, but for those of a model: as a server that does not know the call, it has none."""
        received = await self._next_head()
        while received.method == "GET" and "/models/" in received.target:
            await self.say(b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            received = await self._next_head()
        return received

    async def _next_head(self) -> Received:
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        pairs = (line.split(": ", 1) if ": " in line else (line.rstrip(":"), "") for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        method, target, _ = first.split(" ")
        return Received(method, target, headers, head)

    async def hear(self) -> Received:
        head = await self.hear_head()
        body = await self.reader.readexactly(int(head.headers.get("content-length", 0)))
        received = Received(head.method, head.target, head.headers, head.head, body)
        self.server.requests.append(received)
        return received

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Cut the connection off as a crash does, with RST."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Return once the other side has closed."""
        with suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass


Handler = Callable[[Talk], Awaitable[None]]


@define(eq=False)
class RawServer:
    """Listening on 127.0.0.1. `requests` are those heard whole, over all connections."""

    handle: Handler
    scheme: str = "http"
    port: int = 0
    requests: list[Received] = field(factory=list)
    connections: int = 0
    _tasks: set[asyncio.Task[None]] = field(factory=set)

    @property
    def url(self) -> str:
        host = "localhost" if self.scheme == "https" else "127.0.0.1"
        return f"{self.scheme}://{host}:{self.port}/v1"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self.handle(Talk(reader, writer, self))
        finally:
            writer.transport.abort()

    async def hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)


@asynccontextmanager
async def serving(
    handle: Handler, *, ssl: tls.SSLContext | None = None, buffer: int | None = None, limit: int = 1 << 16
) -> AsyncIterator[RawServer]:
    """Serve every connection with `handle`; `buffer` is how many bytes the kernel may take in unread."""
    listener = socket.create_server(("127.0.0.1", 0))
    if buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    server = RawServer(handle, "http" if ssl is None else "https", listener.getsockname()[1])
    listening = await asyncio.start_server(server.talk, sock=listener, ssl=ssl, limit=buffer or limit)
    try:
        yield server
    finally:
        await close_server(listening)
        await server.hang_up()


def answering(*replies: bytes, ssl: tls.SSLContext | None = None) -> AbstractAsyncContextManager[RawServer]:
    """Answer each request with the next reply; the last one stays."""
    left = list(replies)

    async def handle(talk: Talk) -> None:
        while True:
            await talk.hear()
            await talk.say(left.pop(0) if len(left) > 1 else left[0])

    return serving(handle, ssl=ssl)


def reply(status: int = 200, body: object = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """An answer as it goes over the wire; what is neither bytes nor text goes as JSON."""
    content = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def client_of(server: RawServer, **options: object) -> Client:
    """A client of `server` with a key that must not be seen anywhere; it hardly waits before a retry."""
    return Client(KEY, base_url=server.url, **{"timing": QUICK} | options)  # type: ignore[arg-type]  # passed through


def assert_keeps_the_key(error: BaseException) -> None:
    """Neither the error nor what led to it shows the key, in any way an error tracker would look."""
    chain: list[BaseException | None] = [error]
    while (last := chain[-1]) is not None:
        assert KEY not in f"{last} {last!r} {last.args!r} {vars(last)!r}"
        chain.append(last.__cause__)
    assert KEY not in "".join(traceback.format_exception(error))
    assert all(KEY not in repr(item) for item in chain)
