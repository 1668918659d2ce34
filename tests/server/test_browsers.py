"""A web page may not use the server of the user who opened it, under any name."""

from __future__ import annotations

import pytest

from asyncsdk.server import LocalServer
from tests.server.support import calling, running

KEY = {"Authorization": "Bearer k"}


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:{port}", "app.localhost", "127.0.0.1:{port}", "[::1]:{port}", "10.1.2.3", "box.test"],
)
async def test_it_is_known_as_localhost_by_address_and_by_names_that_were_allowed(host: str) -> None:
    async with LocalServer(hosts=["Box.test"]) as server, calling(server) as call:
        assert (await call("GET", "files", headers={"Host": host.format(port=server.port)})).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:{port}", "[", "", "a b"]
)
async def test_a_name_that_it_does_not_know_is_refused_everywhere(host: str) -> None:
    async with running() as (server, call):
        for path in ("files", "/_control/stats", "/_pictures/img-x.png", "/"):
            answer = await call("GET", path, headers={"Host": host.format(port=server.port)})
            assert answer.status == 403
            assert "--allow-host" in answer.error["message"]


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1:1", "null", "http://[", "file://"])
async def test_pages_of_other_origins_are_refused_whatever_they_ask(origin: str) -> None:
    async with running() as (server, call):
        for method, path in (("POST", "uploads"), ("DELETE", "/_control/faults"), ("GET", "/_control/requests")):
            answer = await call(method, path, headers={"Origin": origin})
            assert answer.status == 403
        assert server.uploads == []


async def test_no_preflight_is_answered_and_no_origin_allowed() -> None:
    async with running() as (server, call):
        preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        own = f"http://127.0.0.1:{server.port}"
        for origin in ("http://evil.example", own):
            for path in ("files", "/_control/faults"):
                answer = await call("OPTIONS", path, headers={"Origin": origin, **preflight})
                assert answer.status in {403, 405}
                assert not [name for name in answer.headers if name.lower().startswith("access-control")]


async def test_a_page_of_its_own_may_ask() -> None:
    async with running() as (server, call):
        own = {"Origin": f"http://127.0.0.1:{server.port}"}
        assert (await call("GET", "files", headers=own)).status == 200


async def test_nothing_is_listed_and_nothing_guessed_to_be_something_else() -> None:
    async with running() as (_, call):
        for path in ("/_pictures/", "/_pictures", "/_control/", "/_control", "/uploads", "/files/"):
            answer = await call("GET", path)
            assert answer.status == 404
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
