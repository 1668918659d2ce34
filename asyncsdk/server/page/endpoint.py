"""The routes of the page: its HTML, CSS and JavaScript, the edits' thumbnails, and changes as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pkgutil import get_data
from typing import Any

from aiohttp import web
from attrs import define, field

from asyncsdk.server.bodies import port_of
from asyncsdk.server.browsers import require_looker
from asyncsdk.server.edits.endpoint import Edits
from asyncsdk.server.errors import ApiError, not_found
from asyncsdk.server.fault_plan import FaultPlan
from asyncsdk.server.log import RequestLog
from asyncsdk.server.page import view
from asyncsdk.server.repository import Repository

LISTENERS = 8
STEP_SECONDS = 0.2
KINDS = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@define(eq=False)
class PageEndpoint:
    """A read-only page. From another machine it needs the server's key."""

    repository: Repository
    log: RequestLog
    faults: FaultPlan
    edits: Edits
    key: str | None = field(repr=False)
    host: str
    _listeners: int = field(default=0, init=False)
    _closing: asyncio.Event = field(factory=asyncio.Event, init=False)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.page, name="page"),
            web.get("/_page/events", self.events, allow_head=False),
            web.get("/_page/edits/{name}/{side}", self.picture, allow_head=False),
            web.get("/_page/{name}", self.asset, allow_head=False),
        ]

    async def close(self, _: web.Application) -> None:
        """End the event streams."""
        self._closing.set()

    async def page(self, request: web.Request) -> web.Response:
        self._require_looker(request)
        return _own("page.html")

    async def asset(self, request: web.Request) -> web.Response:
        self._require_looker(request)
        return _own(request.match_info["name"])

    async def picture(self, request: web.Request) -> web.Response:
        self._require_looker(request)
        name = request.match_info["name"]
        content = self.edits.recent.picture(name, request.match_info["side"])
        if content is None:
            raise not_found("Picture", name)
        return web.Response(body=content, content_type="image/jpeg", headers=HEADERS)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Send all sections, then those that change, several times a second, until one side closes."""
        self._require_looker(request)
        with self._listening():
            response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
            await response.prepare(request)
            sent: dict[str, str] = {}
            while request.transport is not None and not self._closing.is_set():
                news = {name: data for name, data in self._sections() if sent.get(name) != data}
                sent |= news
                await response.write(
                    "".join(f"event: {name}\ndata: {data}\n\n" for name, data in news.items()).encode()
                )
                await self._step()
            return response

    def _sections(self) -> Iterator[tuple[str, str]]:
        now, log = self.repository.clock(), self.log
        sections: dict[str, Callable[[], Any]] = {
            "summary": lambda: view.summary(log, now),
            "uploads": lambda: view.uploads(self.repository.uploads.values(), log.active, now),
            "files": lambda: view.files(self.repository.files()),
            "batches": lambda: view.batches(self.repository.batches.values()),
            "edits": lambda: view.edits(self.edits.recent.edits, self.edits.log.edits),
            "faults": lambda: view.faults(self.faults.planned),
            "requests": lambda: view.requests(log.records),
        }
        for name, section in sections.items():
            yield name, json.dumps(section())

    async def _step(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(STEP_SECONDS):
                await self._closing.wait()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        if self._listeners >= LISTENERS:
            raise ApiError(503, f"{LISTENERS} pages are open already; close one.", type="server_error")
        self._listeners += 1
        try:
            yield
        finally:
            self._listeners -= 1

    def _require_looker(self, request: web.Request) -> None:
        require_looker(request.remote, request.headers, self.key, name=self.host, port=port_of(request))


def _own(name: str) -> web.Response:
    """Return one of the page's own files."""
    if name not in KINDS:
        raise not_found("Page", name)
    return web.Response(body=_content(name), content_type=KINDS[name], charset="utf-8", headers=HEADERS)


@cache
def _content(name: str) -> bytes:
    return get_data(__package__, name) or b""
