"""The page over HTTP: its files, the callers that may see it, its events, and when they end."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from asyncsdk.server import Fault, LocalServer
from asyncsdk.server.browsers import password_of
from asyncsdk.server.edits.history import KEPT, SIDE, RecentEdits, Thumbnails
from asyncsdk.server.page.endpoint import LISTENERS
from tests.server.batches import body, ended, line, vision_file
from tests.server.edits import picture
from tests.server.support import Caller, running
from tests.waiting import until

OWN = ("/", "/_page/page.css", "/_page/page.js")
ROUTES = (*OWN, "/_page/events", "/_page/edits/a/after")


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{password}".encode()).decode()}


@asynccontextmanager
async def events(call: Caller) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """What the page hears: the name of a section, and what is in it."""
    async with call.session.get("/_page/events") as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        yield heard(answer.content)


async def heard(stream: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for text in stream:
        kind, _, value = text.decode().rstrip("\n").partition(": ")
        if kind == "event":
            name = value
        elif kind == "data":
            yield name, json.loads(value)


async def edited(call: Caller, prompt: str, side: int = 600) -> None:
    form = aiohttp.FormData({"prompt": prompt, "model": "gpt-image-2"})
    form.add_field("image", io.BytesIO(picture((side, side // 2))), filename="a.png", content_type="image/png")
    assert (await call("POST", "images/edits", data=form)).status == 200


async def test_it_is_small_comes_from_the_package_and_loads_nothing_foreign() -> None:
    async with running() as (_, call):
        total = 0
        for path in OWN:
            async with call.session.get(path) as answer:
                body = await answer.read()
                assert answer.status == 200
                assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                total += len(body)
                assert b"//" not in body.replace(b"// ", b"") or path == "/_page/page.js"
        assert total < 24_000
        for path in ("/_page/endpoint.py", "/_page/..%2Fapp.py", "/_page/", "/_page"):
            assert (await call("GET", path)).status == 404


async def test_it_is_not_recorded_and_meets_no_fault() -> None:
    async with running(faults=[Fault("*", "reset", every=1)]) as (server, call):
        for path in OWN:
            assert (await call("GET", path)).status == 200
        assert server.requests == []


async def test_all_is_told_first_and_then_what_changes() -> None:
    async with running(faults=[Fault("cancel", "reset")]) as (_, call), events(call) as told:
        first = dict([await anext(told) for _ in range(7)])
        assert set(first) == {"summary", "uploads", "files", "batches", "edits", "faults", "requests"}
        assert first["uploads"] == first["files"] == {"total": 0, "items": []}
        assert (first["faults"]["items"][0]["route"], first["faults"]["items"][0]["is_met"]) == ("cancel", False)
        await call.uploaded(b"0123456789", filename="</script>")
        news: dict[str, Any] = {}
        async for name, section in told:
            news[name] = section
            if news.get("files", {}).get("total") and news.get("requests", {}).get("total") == 3:
                break
        [upload] = news["uploads"]["items"]
        assert (upload["filename"], upload["status"], upload["part_count"]) == ("</script>", "completed", 1)
        assert [request["route"] for request in news["requests"]["items"]] == ["complete", "part", "create"]
        assert "faults" not in news


async def test_parts_are_shown_while_they_arrive() -> None:
    async with running(faults=[Fault("part", "stall", "in", nth=2)]) as (server, call):
        upload_id = await call.created(3000)
        await call.add_part(upload_id, bytes(1000))
        stalled = asyncio.ensure_future(call.add_part(upload_id, bytes(2000)))
        await until(lambda: server.calls["part"] == 2 and not server.parts_in_flight)
        async with events(call) as told:
            sections = dict([await anext(told) for _ in range(7)])
        [upload] = sections["uploads"]["items"]
        assert upload["parts"] == [1000]
        [[received, total]] = upload["arriving"]
        assert 0 < received <= total
        assert total > 2000
        stalled.cancel()


async def test_batches_are_shown_with_how_far_they_are() -> None:
    async with running() as (_, call), events(call) as told:
        batch = await ended(call, [line("a", body(await vision_file(call))), line("b", body("file-none"))])
        async for name, section in told:
            if name == "batches" and section["total"] and section["items"][0]["status"] == "completed":
                break
        assert section["items"] == [batch]
        assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 1}


async def test_edits_are_kept_as_small_pictures() -> None:
    async with running() as (_, call), events(call) as told:
        await edited(call, "a <b>beret</b>")
        async for name, section in told:
            if name == "edits" and section["total"]:
                break
        [edit] = section["items"]
        assert (edit["prompt"], edit["images"], edit["model"]) == ("a <b>beret</b>", 1, "gpt-image-2")
        for side in ("before", "after"):
            async with call.session.get(f"/_page/edits/{edit['name']}/{side}") as answer:
                assert answer.content_type == "image/jpeg"
                with Image.open(io.BytesIO(await answer.read())) as small:
                    assert (small.format, max(small.size) <= SIDE) == ("JPEG", True)
        for missing in (f"{edit['name']}/middle", "none/after"):
            assert (await call("GET", f"/_page/edits/{missing}")).status == 404


def test_only_the_last_edits_are_kept() -> None:
    recent = RecentEdits()
    for number in range(KEPT + 3):
        recent.add(f"{number} " + "x" * 1000, 1, "m", Thumbnails(b"", b""))
    assert len(recent.edits) == KEPT
    assert recent.edits[0].prompt.startswith("3 ")
    assert len({shown.name for shown in recent.edits}) == KEPT
    assert all(len(shown.prompt) == 300 for shown in recent.edits)


async def test_so_many_may_listen_at_once_and_no_more() -> None:
    async with running() as (_, call), AsyncExitStack() as listening:
        for _ in range(LISTENERS - 1):
            await anext(await listening.enter_async_context(events(call)))
        async with events(call) as last:
            await anext(last)
            assert (await call("GET", "/_page/events")).status == 503

        async with asyncio.timeout(5):
            while await listened(call) == 503:
                await asyncio.sleep(0.05)


async def listened(call: Caller) -> int:
    async with call.session.get("/_page/events") as answer:
        return answer.status


async def test_a_server_that_stops_lets_its_listeners_go() -> None:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        async with LocalServer() as server:
            answer = await session.get(f"http://127.0.0.1:{server.port}/_page/events")
            await answer.content.readline()
            began = time.monotonic()
        assert time.monotonic() - began < 5
        await answer.read()  # to its end, in good order
        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("path", ROUTES)
async def test_from_elsewhere_it_needs_the_key_of_the_server(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web.Request, "remote", "192.0.2.1")
    async with running(api_key="sk-öwn") as (_, call):
        for headers in ({}, basic("wrong"), {"Authorization": "Basic !"}, {"Authorization": "Bearer sk"}):
            refused = await call("GET", path, headers={"Authorization": "", **headers})
            assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
            assert refused.headers["WWW-Authenticate"].startswith("Basic ")
        async with call.session.get(path, headers=basic("sk-öwn")) as answer:
            assert answer.status == (404 if "edits" in path else 200)


@pytest.mark.parametrize("path", ROUTES)
async def test_from_elsewhere_a_server_without_a_key_shows_nothing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web.Request, "remote", "192.0.2.1")
    async with running() as (_, call):
        assert (await call("GET", path, headers=basic(""))).status == 403


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "Via", "X-Real-IP", "CF-Connecting-IP"])
async def test_a_proxy_on_this_machine_is_elsewhere(header: str) -> None:
    async with running() as (_, call):
        assert (await call("GET", "/", headers={header: "x"})).status == 403


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("", b""),
        ("Bearer  k ", b"k"),
        ("basic " + base64.b64encode(b"a:k:2").decode(), b"k:2"),
        ("Basic " + base64.b64encode(b"nothing").decode(), b""),
        ("Basic \u00e9", b""),
        ("Digest eDp5", b""),
    ],
)
def test_the_key_is_found_where_a_browser_or_a_program_puts_it(header: str, key: bytes) -> None:
    assert password_of(header) == key
