"""`server.requests` has a call as soon as its client has the answer or the error, with the address it asked for."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from asyncsdk.server import Fault, LocalServer, ServerProcess
from asyncsdk.server.workers import Workers
from tests.server.edits import edit_form, picture
from tests.server.support import FORM_HEADERS, form_of, running

KEY = {"Authorization": "Bearer any"}
LOST = (ConnectionError, http.client.HTTPException)
FILE = b'Content-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
PURPOSE = b'Content-Disposition: form-data; name="purpose"\r\n\r\nuser_data'


def call(server: LocalServer | ServerProcess, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Make one call on its own connection; return the body of the response."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request(method, urlsplit(server.url).path + path, body or None, {**KEY, **headers})
        return connection.getresponse().read()
    finally:
        connection.close()


def post(server: LocalServer | ServerProcess, size: int = 300_000, purpose: bytes = PURPOSE) -> str:
    form = form_of(FILE + b"x" * size, purpose)
    answer: dict[str, Any] = json.loads(call(server, "POST", "/files", form, **FORM_HEADERS))
    return str(answer["id"])


@pytest.fixture
def slow_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every job of the server's threads take a while: what a call does after its answer then takes long."""
    run = Workers.run

    async def slowly(self: Workers, job: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0.05)
        return await run(self, job, *args, **kwargs)

    monkeypatch.setattr(Workers, "run", slowly)


@pytest.mark.usefixtures("slow_threads")
@pytest.mark.parametrize("size", [1, 10_000, 3_000_000])
def test_a_download_is_recorded_once_its_client_has_the_last_byte(size: int) -> None:
    with LocalServer() as server:
        file_id = post(server, size, PURPOSE.replace(b"user_data", b"batch"))
        server.clear_requests()
        assert len(call(server, "GET", f"/files/{file_id}/content")) == size
        [record] = server.requests
    assert (record.route, record.status, record.bytes_sent) == ("files.content", 200, size)


@pytest.mark.usefixtures("slow_threads")
@pytest.mark.parametrize("at", ["in", "after", "done"])
@pytest.mark.parametrize("kind", ["reset", "close"])
def test_a_broken_call_is_recorded_once_its_client_has_the_error(kind: Any, at: Any) -> None:
    with LocalServer(faults=[Fault("files.create", kind, at)]) as server:
        with pytest.raises(LOST):
            post(server)
        [record] = server.requests
        server.assert_all_met()
    assert (record.route, record.status, record.fault) == ("files.create", None, Fault("files.create", kind, at))


@pytest.mark.usefixtures("slow_threads")
def test_a_broken_call_leaves_the_next_one_its_own_fault_however_soon_it_comes() -> None:
    with LocalServer(faults=[Fault("files.create", "reset", "in", times=2)]) as server:
        for _ in range(2):
            with pytest.raises(LOST):
                post(server)
        server.assert_all_met()


def test_another_process_has_them_as_soon() -> None:
    with ServerProcess() as server:
        file_id = post(server, 1_000_000, PURPOSE.replace(b"user_data", b"batch"))
        for _ in range(20):
            server.clear_requests()
            call(server, "GET", f"/files/{file_id}/content")
            assert [record.route for record in server.requests] == ["files.content"]
            server.clear_requests()
            server.inject(Fault("files.create", "reset", "in"))
            with pytest.raises(LOST):
                post(server)
            assert [record.route for record in server.requests] == ["files.create"]


async def test_an_edit_that_streams_is_recorded_before_its_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    write_eof = web.StreamResponse.write_eof

    async def slowly(self: web.StreamResponse, data: bytes = b"") -> None:
        await asyncio.sleep(0.05)
        await write_eof(self, data)

    monkeypatch.setattr(web.StreamResponse, "write_eof", slowly)
    async with running() as (server, caller):
        form = edit_form(picture(), stream="true")
        async with caller.session.post("images/edits", data=form) as response:
            received = b""
            while b"completed" not in received or not received.endswith(b"\n\n"):
                received += await response.content.readany()
            [record] = server.requests
        assert (record.route, record.status, record.bytes_sent) == ("edit", 200, len(received))


async def test_a_call_that_was_recorded_counts_once_in_the_bytes_received() -> None:
    async with running(faults=[Fault("part", "reset", "in")]) as (server, caller):
        upload_id = await caller.created(10)
        with pytest.raises((ConnectionError, OSError)):
            await caller.add_part(upload_id, b"0123456789")
        assert server.parts_in_flight == 0
        assert server.bytes_received == sum(record.bytes for record in server.requests)


@pytest.mark.parametrize(
    ("method", "path", "kept"),
    [
        ("GET", "/nowhere?api_key=sk-secret-1", "/v1/nowhere"),
        ("PUT", "/files", "/v1/files"),
        ("GET", "/v1/files", "/v1/v1/files"),
        ("GET", "/sk-proj-secret_1/files", "/v1/sk-…/files"),
        ("GET", "/" + "a" * 500, "/v1/" + "a" * 195 + "…"),
    ],
)
def test_a_wrong_address_is_recorded_within_bounds_and_without_secrets(method: str, path: str, kept: str) -> None:
    with LocalServer() as server:
        call(server, method, path)
        [record] = server.requests
    assert (record.route, record.method, record.path, record.query) == ("unknown", method, kept, {})
    assert "secret" not in repr(record)


def test_the_query_of_a_listing_is_recorded_without_what_the_api_does_not_take() -> None:
    with ServerProcess() as server:
        call(server, "GET", "/files?limit=2&purpose=batch&order=asc&api_key=sk-secret&after=sk-secret")
        [record] = server.requests
    assert record.path == "/v1/files"
    assert record.query == {"after": "sk-…", "limit": "2", "order": "asc", "purpose": "batch"}
    assert "secret" not in repr(record)
