"""A gateway before a server, and a proxy, that puts secrets which it was sent into all that it answers."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import web
from attrs import define, field

from asyncsdk.server import LocalServer

HOP = {"host", "content-length", "content-encoding", "transfer-encoding", "connection", "proxy-authorization"}
ECHOING = ("status_details", "revised_prompt", "quality", "size", "debug", "safety_identifier")


@define(eq=False)
class Gateway:
    """Hands requests on to `server`; `words` is what it echoes. With a `status` it answers with an error itself.

    `heard` are the headers and targets of all requests.
    """

    server: LocalServer
    words: str
    status: int | None = None
    port: int = 0
    heard: list[str] = field(factory=list)

    @property
    def url(self) -> str:
        """Its address, seen as the server."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.heard.append(f"{unquote(request.raw_path)} {request.headers}")
        body = await request.content.read()
        if self.status is not None:
            return self._error(self.status)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP}
        parts = urlsplit(request.raw_path)
        where = f"{self.server.url.removesuffix('/v1')}{parts.path}"
        asked = [(name, value) for name, value in request.query.items() if name != "code"]
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, where, params=asked, data=io.BytesIO(body), headers=headers) as answer,
        ):
            content = await answer.read()
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP}
            if answer.content_type in {"application/json", "text/event-stream"}:
                content = self._echoed(content.decode()).encode()
            return web.Response(status=answer.status, body=content, headers={**kept, "X-Echo": self.words})

    def _echoed(self, text: str) -> str:
        """Each object, at the end of its line, with the echo in fields that are known and one that is not."""
        fields = ", ".join(f'"{name}": "made with {self.words}"' for name in ECHOING)
        return "\n".join(f"{line[:-1]}, {fields}}}" if line.endswith("}") else line for line in text.split("\n"))

    def _error(self, status: int) -> web.Response:
        named = ", ".join(f'"{name}": "{self.words}"' for name in ("message", "type", "code", "param"))
        headers = {"X-Request-ID": self.words, "X-Echo": self.words, "Retry-After": "0"}
        body = f'{{"error": {{{named}, "{self.words}": ["{self.words}"]}}}}'
        return web.Response(status=status, text=body, content_type="application/json", headers=headers)


@asynccontextmanager
async def echoing(
    server: LocalServer, secrets: Sequence[str], *encodings: Callable[[str], str]
) -> AsyncIterator[Gateway]:
    """A gateway to `server` that echoes `secrets` in all `encodings`."""
    gateway = Gateway(server, " ".join(encode(secret) for encode in encodings for secret in secrets))
    runner = web.ServerRunner(web.Server(gateway.handle, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    gateway.port = int(runner.addresses[0][1])
    try:
        yield gateway
    finally:
        await runner.cleanup()
