"""A web server with objects that can be asked for in parts, and with the faults of real ones."""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from attrs import define, field

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@define
class WebStore:
    """Objects by path, with what was asked and sent. What is set here changes how it answers from then on."""

    objects: dict[str, bytes] = field(factory=dict)
    tag: str = '"{}"'
    obeys_if_match: bool = True
    has_ranges: bool = True
    status: int | None = None
    cut: int = 0  # how many answers from now on end half-way
    stalls: bool = False
    delay: float = 0.0  # seconds before an answer begins
    on_answer: Callable[[], object] = lambda: None
    asked: list[tuple[str, str, str | None]] = field(factory=list, init=False)  # method, path, If-Match
    queries: list[str] = field(factory=list, init=False)
    logins: list[str | None] = field(factory=list, init=False)
    sent: list[tuple[int, int]] = field(factory=list, init=False)  # the ranges that were sent whole
    url: str = field(default="", init=False)
    _end: asyncio.Event = field(factory=asyncio.Event, init=False)

    @property
    def bytes_sent(self) -> int:
        return sum(end - start for start, end in self.sent)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.raw_path.partition("?")[0], request.headers.get("If-Match")))
        self.queries.append(request.query_string)
        self.logins.append(request.headers.get("Authorization"))
        self.on_answer()
        await asyncio.sleep(self.delay)
        if self.status is not None:
            return web.Response(status=self.status, text="<Error>no</Error>")
        if request.method != "GET":
            return web.Response(status=405)
        content = self.objects.get(request.path)
        if content is None:
            return web.Response(status=404)
        headers = {"ETag": self.tag.format(hashlib.md5(content).hexdigest())} if self.tag else {}
        wanted = request.headers.get("If-Match")
        if wanted is not None and self.obeys_if_match and wanted != headers.get("ETag"):
            return web.Response(status=412)
        return await self._send(request, content, headers)

    async def _send(self, request: web.Request, content: bytes, headers: dict[str, str]) -> web.StreamResponse:
        try:
            return await self._send_all(request, content, headers)
        except ConnectionError:  # nobody wants it any more
            return web.Response()

    async def _send_all(self, request: web.Request, content: bytes, headers: dict[str, str]) -> web.StreamResponse:
        match = _RANGE.fullmatch(request.headers.get("Range", ""))
        start, end, status = 0, len(content), 200
        if match and self.has_ranges:
            start, end, status = int(match[1]), min(int(match[2]) + 1, len(content)), 206
            if start >= len(content):
                return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
            headers = headers | {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"}
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = end - start
        await response.prepare(request)
        half = start + (end - start) // 2
        await response.write(content[start:half])
        if self.stalls:
            await self._end.wait()
        if self.cut:
            self.cut -= 1
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write(content[half:end])
        self.sent.append((start, end))
        return response

    def let_go(self) -> None:
        self._end.set()


@asynccontextmanager
async def web_store(tls: ssl.SSLContext | None = None) -> AsyncIterator[WebStore]:
    store, app = WebStore(), web.Application()
    app.router.add_route("*", "/{path:.*}", store.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    store.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield store
    finally:
        store.let_go()
        for connection in runner.server.connections if runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()
        await asyncio.sleep(0.01)  # the loop closes what is closing
