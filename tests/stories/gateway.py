"""A server whose responses to edits are as a test wants them, with pictures, pages and gaps behind their URLs."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from attrs import define, field

from tests.raw_server import RawServer, Talk, reply, serving
from tests.stories.edits import BUSY, PICTURE, TOKENS

PAGE = b"<!doctype html><title>Sign in</title>"
SIGNED = "?sig=a%2Fb&se=2030"  # as the addresses of stored pictures are
# fmt: off
BEHIND = {
    "picture": reply(200, PICTURE), "gone": reply(404, "no such blob"), "page": reply(200, PAGE), "empty": reply(200),
    "cut": reply(200, PICTURE[: len(PICTURE) // 2]),
}
# fmt: on


@define(eq=False)
class Gateway:
    """`items` makes the items of the next response out of the number of the edit, from 1."""

    server: RawServer
    items: Callable[[int, Gateway], list[dict[str, Any]]] = lambda _number, _gateway: []
    edits: int = 0
    fetched: Counter[str] = field(factory=Counter)
    turned_away: set[str] = field(factory=set)
    reached: anyio.Event = field(factory=anyio.Event)

    def url(self, name: str) -> dict[str, Any]:
        """An item that is a URL: of what `BEHIND` has, `slow` for no response, `shut` where nobody listens."""
        origin = "http://127.0.0.1:9" if name == "shut" else self.server.url.removesuffix("/v1")
        return {"url": f"{origin}/{name}{SIGNED}"}

    async def talk(self, talk: Talk) -> None:
        while True:
            request = await talk.hear()
            if request.method == "POST":
                self.edits += 1
                body = {"created": 1, "data": self.items(self.edits, self), "usage": {"total_tokens": TOKENS}}
                await talk.say(reply(200, body))
            else:
                await self._give(talk, request.target.removesuffix(SIGNED).removeprefix("/"))

    async def _give(self, talk: Talk, name: str) -> None:
        self.fetched[name] += 1
        if name == "slow":
            self.reached.set()
            await talk.gone()
        elif name in self.turned_away:
            self.turned_away.discard(name)
            await talk.say(BUSY)
        else:
            await talk.say(BEHIND[name])


def whole() -> dict[str, Any]:
    """An item that is a picture."""
    return {"b64_json": base64.b64encode(PICTURE).decode()}


@asynccontextmanager
async def gateway(*names: str) -> AsyncIterator[Gateway]:
    """Serve responses of these items: `whole`, or what is behind a URL."""

    async def handle(talk: Talk) -> None:
        await running.talk(talk)

    async with serving(handle) as server:
        running = Gateway(server, lambda _, gateway: [items_of(gateway, name) for name in names])
        yield running


def items_of(gateway: Gateway, name: str) -> dict[str, Any]:
    return whole() if name == "whole" else gateway.url(name)
