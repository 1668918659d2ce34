"""A server that lies: each way in which an answer may be other than the truth, and whoever tells it."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from attrs import define, frozen

from tests.faults.books import Books, Route, Told, another, route_of
from tests.raw_server import Received, Talk

YEAR = 365 * 86400


@frozen
class Lie:
    """What is told in the place of the truth. `harmless`: the call does what was asked all the same.

    `instead`: nothing was done, as by a proxy that answers itself. `of_bytes`: it can be noticed in a file's content.
    """

    name: str
    tell: Callable[[Told], bytes]
    harmless: bool = False
    instead: bool = False
    of_bytes: bool = False

    def __str__(self) -> str:
        return self.name


def _each(change: Callable[[str, Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {name: change(name, item) for name, item in value.items()}


def _member(name: str, other: object) -> Callable[[Any], Any]:
    return lambda value: {**value, name: other} if name in value else value


def _packed(told: Told) -> bytes:
    return gzip.compress(told.body(told.content))


def _date(ahead: float) -> str:
    return formatdate(time.time() + ahead, usegmt=True)


def _redirect(told: Told, location: str) -> bytes:
    return told.wire(b"", status=307, Location=location)


def _bomb(told: Told, status: int) -> bytes:
    return told.wire(_BOMB, status=status, Content_Encoding="gzip")


def _packed_lists() -> bytes:
    packed = zlib.compressobj(1, wbits=31)
    block = b"[]," * (1 << 18)
    return (
        packed.compress(b'{"id": "x", "data": [') + b"".join(packed.compress(block) for _ in range(64)) + packed.flush()
    )


_BOMB = _packed_lists()
_ELSEWHERE = "http://127.0.0.1:9/"
_HTML = b"<html><h1>It works, but not for you</h1></html>"
_ERROR = {"error": {"message": "no such model", "type": "invalid_request_error", "code": "model_not_found"}}
_ENDLESS = b'{"error": {"message": "' + b"Limit: 1 " * 100_000 + b'"}}'
_EARLY = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"
_TWICE = "a\r\nX-Request-ID: b\r\nContent-Type: text/plain"
_HOLLOW = {"id", "object", "type", "b64_json", "data"}

LIES: tuple[Lie, ...] = (
    # another call's answer
    Lie("an answer to another call", lambda told: told.wire(told.body(told.other))),
    Lie("another id", lambda told: told.changed(_member("id", "other_1"))),
    Lie("another size", lambda told: told.changed(_member("bytes", 1))),
    Lie("another name", lambda told: told.changed(_member("filename", "other.bin"))),
    Lie("another status", lambda told: told.changed(_member("status", "cancelled"))),
    # what is not the API's object
    Lie("an error in a 200", lambda told: told.wire(told.body(_ERROR)), instead=True),
    Lie("a web page", lambda told: told.wire(_HTML, Content_Type="text/html"), instead=True),
    Lie("an empty body", lambda told: told.wire(b"")),
    Lie("an empty object", lambda told: told.wire(told.body({}))),
    Lie("an empty list", lambda told: told.wire(told.body([]))),
    Lie("null", lambda told: told.wire(told.body(None))),
    Lie("204", lambda told: told.wire(b"", status=204)),
    Lie("nulls", lambda told: told.changed(_each(lambda _, __: None))),
    Lie("nulls but for ids", lambda told: told.changed(_each(lambda name, item: item if name in _HOLLOW else None))),
    Lie("numbers for texts", lambda told: told.changed(_each(lambda _, item: 7 if isinstance(item, str) else item))),
    Lie("lists for all", lambda told: told.changed(_each(lambda _, item: [item]))),
    Lie("texts for numbers", lambda told: told.changed(_each(lambda _, item: "x" if isinstance(item, int) else item))),
    Lie("NaN", lambda told: told.changed(_each(lambda _, item: float("nan") if isinstance(item, int) else item))),
    Lie("Infinity beside it", lambda told: told.changed(lambda value: {**value, "score": float("inf")})),
    Lie("huge numbers", lambda told: told.changed(_each(lambda _, item: 10**30 if type(item) is int else item))),
    # what can't be read
    Lie("invalid UTF-8", lambda told: told.wire(told.body(told.content).replace(b'"', b'"\xff\xfe', 2))),
    Lie("UTF-16", lambda told: told.wire(told.body(told.content).decode("latin-1").encode("utf-16"))),
    Lie("deep nesting", lambda told: told.wire(b"[" * 100_000)),
    Lie("a huge text", lambda told: told.changed(lambda value: {**value, "note": "x" * (9 << 20)})),
    Lie("bytes after the end", lambda told: told.wire(told.body(told.content) + b"}{")),
    Lie("half of it", lambda told: told.wire()[: -len(told.body(told.content)) // 2], of_bytes=True),
    # compression that was not asked for
    Lie("gzip", lambda told: told.wire(_packed(told), Content_Encoding="gzip"), harmless=True, of_bytes=True),
    Lie("gzip, damaged", lambda told: told.wire(_packed(told)[:-9] + bytes(9), Content_Encoding="gzip"), of_bytes=True),
    Lie("gzip, a bomb", lambda told: _bomb(told, 200), of_bytes=True),
    Lie("a coding of its own", lambda told: told.wire(b"\x0b\x02\x80{}\x03", Content_Encoding="br"), of_bytes=True),
    # the head
    Lie(
        "redirected to itself",
        lambda told: _redirect(told, "?again=1"),
        instead=True,
        of_bytes=True,
    ),
    Lie(
        "redirected elsewhere",
        lambda told: _redirect(told, _ELSEWHERE),
        instead=True,
        of_bytes=True,
    ),
    Lie("redirected nowhere", lambda told: told.wire(b"", status=307), instead=True, of_bytes=True),
    Lie("a wrong content type", lambda told: told.wire(Content_Type="text/html"), harmless=True, of_bytes=True),
    Lie("a date of last year", lambda told: told.wire(Date=_date(-YEAR)), harmless=True, of_bytes=True),
    Lie("a date of next year", lambda told: told.wire(Date=_date(YEAR)), harmless=True, of_bytes=True),
    Lie("headers twice", lambda told: told.wire(X_Request_ID=_TWICE), harmless=True, of_bytes=True),
    Lie("100 and 103 before it", lambda told: _EARLY + told.wire(), harmless=True, of_bytes=True),
    Lie("a refusal without end", lambda told: told.wire(_ENDLESS, status=429), instead=True, of_bytes=True),
    Lie(
        "a refusal that is a bomb",
        lambda told: _bomb(told, 400),
        instead=True,
        of_bytes=True,
    ),
)


@define(eq=False)
class Liar:
    """Answers each request truly, but for those of `route` while `lies` of them are left."""

    books: Books
    lie: Lie | None = None
    route: Route | None = None
    lies: float = 0

    async def handle(self, talk: Talk) -> None:
        """Serve a connection."""
        while True:
            request = await talk.hear()
            route = route_of(request)
            lie = self.lie if route == self.route and self.lies > 0 else None
            self.lies -= lie is not None
            answer = await self._answer(route, request, lie)
            await talk.say(answer)
            if lie is not None and lie.name == "half of it":
                return

    async def _answer(self, route: Route, request: Received, lie: Lie | None) -> bytes:
        if lie is not None and lie.instead:
            return lie.tell(Told(route, {}, {}))
        status, content = self.books.act(route, request)
        told = Told(route, content, another(route, content), status)
        return told.wire() if lie is None or status != 200 else lie.tell(told)
