"""No connection can be made, or only to a stranger: at the start it is said at once, later it is waited out."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from attrs import define, field

from asyncsdk import APIConnectionError, AsyncSDKError, CertificateError, RequestEvent
from asyncsdk.clock import boot_time
from asyncsdk.server import LocalServer
from tests.faults.line import line_to
from tests.faults.network import ROUTES, TIMES, TROUBLES, Route, Times, Trouble, expected
from tests.faults.scene import BRIEF_SEARCH, Scene, Waits

SPEED = 100.0  # an hour is waited out in 36 seconds of waiting, which themselves take no time
NAME = "uploads.test"
UNREACHABLE = [trouble for trouble in TROUBLES if trouble.where not in {"server", "line"}]
BEFORE = {"create": None, "part": ("/uploads", 1), "complete": ("/uploads/{upload_id}/parts", 3), "cancel": None}


@define(eq=False)
class Way:
    """The way to the server, which is there or not."""

    scene: Scene
    trouble: Trouble
    stranger: int
    unknown: bool = field(default=False, init=False)

    def lose(self) -> None:
        """From now on nobody, or nobody known, is at the other end."""
        if self.trouble.where == "nobody listens":
            self.scene.line.close()
        elif self.trouble.where == "no such name":
            self.unknown = True
        else:
            self.scene.line.port = self.stranger
        self.scene.line.cut()
        if self.scene.client is None:
            return
        opened = self.scene.client._transport._sessions._opened  # noqa: SLF001 - nobody else empties its cache
        session = opened.get().session
        if session is not None:
            session.connector.clear_dns_cache()  # type: ignore[union-attr]  # a TCPConnector

    async def find(self) -> None:
        """All is well again."""
        self.unknown, self.scene.line.port = False, self.scene.server.port
        if self.trouble.where == "nobody listens":
            await self.scene.line.open()

    def lose_after(self, route: str, count: int) -> Callable[[RequestEvent], None]:
        """Lose it once `route` was answered so often."""

        def look(event: RequestEvent) -> None:
            self.scene.events.append(event)
            answered = [each.route for each in self.scene.events if each.error is None]
            if event.error is None and event.route == route and answered.count(route) == count:
                self.scene.client_options.pop("on_event", None)
                self.lose()

        return look


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def identity(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(NAME).configure_cert(context)
    return context


@pytest.fixture
async def way(
    tmp_path: Path, authority: trustme.CA, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Way]:
    ask = socket.getaddrinfo
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with (
        LocalServer(tmp_path / "server", ssl_context=identity(authority), hosts=[NAME]) as server,
        LocalServer(tmp_path / "stranger", ssl_context=identity(trustme.CA())) as stranger,
        line_to(server.port) as line,
    ):
        scene = Scene(server, line, tmp_path, timing=BRIEF_SEARCH)
        scene.client_options |= {"base_url": f"https://{NAME}:{line.entry}/v1", "ssl": trust}
        way = Way(scene, trouble, stranger.port)

        def resolve(host: Any, port: Any, *args: Any) -> Any:
            if host != NAME:
                return ask(host, port, *args)
            if way.unknown:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return ask("127.0.0.1", port, *args)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        yield way


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("trouble", UNREACHABLE, ids=lambda trouble: trouble.name)
async def test_the_table(way: Way, waits: Waits, trouble: Trouble, route: Route, times: Times) -> None:
    scene = way.scene
    upload_id = await scene.begin() if route == "cancel" else ""
    waits.all.clear()
    speed = SPEED if times == "for good" else 1.0
    scene.elapsed = lambda: boot_time() + speed * sum(waits.all)
    begun = route in {"part", "complete"}
    if times == "once":
        waits.after[10 if begun else 1] = way.find
    if (after := BEFORE[route]) is not None:
        scene.client_options["on_event"] = way.lose_after(*after)
    else:
        way.lose()
    error = None
    try:
        await (scene.cancel(upload_id) if route == "cancel" else scene.upload())
    except AsyncSDKError as raised:
        error = raised
    assert type(error) in (expected(trouble, route, times) or (type(None),)), repr(error)
    if isinstance(error, APIConnectionError):
        assert not error.sent
        assert error.resumable != isinstance(error, CertificateError)
    if error is not None:
        await way.find()
    assert_waited(waits, trouble, begun=begun, times=times)
    scene.elapsed = boot_time
    if route == "cancel":
        if error is not None:
            await scene.cancel(upload_id)
        assert [upload.status for upload in scene.uploads] == ["cancelled"]
    else:
        scene.assert_arrived(await scene.upload())
        assert len(scene.uploads) == 1


def assert_waited(waits: Waits, trouble: Trouble, *, begun: bool, times: Times) -> None:
    """Once the server has answered an outage is waited out, until the upload's hour is over; else two tries more."""
    if not trouble.passes:
        assert waits.all == []
    elif times == "once":
        assert len(waits.all) >= (10 if begun else 1)
    elif begun:
        assert sum(waits.all) * SPEED > 3600 - 8 * SPEED
    else:
        assert len(waits.all) == 2
