"""Responses, resets and cut connections on request, as a client meets them on the wire."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any, get_args

import pytest

from asyncsdk.server import Fault, LocalServer
from asyncsdk.server.app import make_app
from asyncsdk.server.batches.endpoint import Batches
from asyncsdk.server.edits.endpoint import Edits
from asyncsdk.server.fault_plan import FaultPlan
from asyncsdk.server.faults import LINE, Moment, Route
from asyncsdk.server.files import Files
from asyncsdk.server.log import RequestLog
from asyncsdk.server.model_list import Models
from asyncsdk.server.repository import Repository
from asyncsdk.server.store import Store
from asyncsdk.server.uploads import Uploads
from tests.server.support import (
    FORM_HEADERS,
    LOST,
    Caller,
    Clock,
    connected,
    data_field,
    form_of,
    kept_parts,
    part_request,
    running,
    upload_fields,
)
from tests.waiting import until

DATA = bytes(range(256)) * 4096
FORM = form_of(data_field(DATA))


async def talk(server: LocalServer, request: bytes) -> bytes:
    """Send a request on a bare connection; return all that comes. Raises ConnectionResetError on a RST."""
    async with connected(server) as (reader, writer):
        writer.write(request)
        answer: bytes = await reader.read()
        return answer


async def test_an_answer_is_given_with_its_status_headers_and_body() -> None:
    fault = Fault("create", "answer", status=429, headers={"Retry-After": "2"}, body={"error": {"code": "slow_down"}})
    async with running(faults=[fault]) as (server, call):
        answer = await call.create()
        assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
        assert answer.json == {"error": {"code": "slow_down"}}
        assert "X-Request-ID" in answer.headers
        assert server.uploads == []
        assert server.requests[-1].fault == fault
        assert (await call.create()).status == 200
        server.assert_all_met()


@pytest.mark.parametrize(("status", "kind"), [(503, "server_error"), (400, "invalid_request_error"), (429, "requests")])
async def test_an_answer_without_a_body_is_an_error_in_openais_shape(status: int, kind: str) -> None:
    async with running(faults=[Fault("create", "answer", status=status)]) as (_, call):
        answer = await call.create()
        assert (answer.status, answer.error["type"]) == (status, kind)


async def test_an_answer_can_be_html() -> None:
    fault = Fault("create", "answer", status=502, body="<html>Bad gateway</html>")
    async with (
        running(faults=[fault]) as (_, call),
        call.session.post("uploads", json=upload_fields()) as response,
    ):
        assert (response.status, response.content_type) == (502, "text/html")
        assert await response.text() == fault.body


async def test_an_answer_can_be_given_after_the_thing_was_done() -> None:
    async with running(faults=[Fault("part", "answer", "done", status=500)]) as (server, call):
        upload_id = await call.created(len(DATA))
        assert (await call.add_part(upload_id, DATA)).status == 500
        assert kept_parts(server) == 1


async def test_an_answer_can_be_given_before_the_body_is_read() -> None:
    async with running(faults=[Fault("part", "answer", "before", status=401)]) as (server, call):
        upload_id = await call.created(len(DATA))
        assert (await call.add_part(upload_id, DATA)).status == 401
        assert server.requests[-1].bytes == 0


async def part_met_by(fault: Fault) -> tuple[LocalServer, str]:
    """Send a part that is reset by `fault`; return the server, stopped, and what it held."""
    async with running(faults=[fault]) as (server, call):
        upload_id = await call.created(len(DATA))
        with pytest.raises(ConnectionResetError):
            await talk(server, part_request(upload_id, FORM))
        await until(lambda: not server.parts_in_flight)
        server.assert_all_met()
        assert server.requests[-1].status is None
        await until(lambda: not list(server.directory_in_use.glob("incoming/*")))
        return server, "kept" if kept_parts(server) else "gone"


@pytest.mark.parametrize(("at", "least", "most"), [("before", 0, 0), ("in", len(FORM) // 2, len(FORM) - 1)])
async def test_a_reset_comes_before_or_in_the_body(at: Moment, least: int, most: int) -> None:
    server, held = await part_met_by(Fault("part", "reset", at))
    assert least <= server.requests[-1].bytes <= most
    assert held == "gone"


@pytest.mark.parametrize(("at", "held"), [("after", "gone"), ("done", "kept")])
async def test_a_reset_after_the_body_comes_before_or_after_the_part_is_kept(at: Moment, held: str) -> None:
    server, found = await part_met_by(Fault("part", "reset", at))
    assert server.requests[-1].bytes == len(FORM)
    assert found == held


async def test_a_lost_answer_to_complete_leaves_a_file_and_the_next_one_tells_it() -> None:
    async with running(faults=[Fault("complete", "close", "done")]) as (server, call):
        upload_id = await call.created(len(DATA))
        part_id = (await call.add_part(upload_id, DATA)).json["id"]
        with pytest.raises(LOST):
            await call.complete(upload_id, part_id)
        assert [file.bytes for file in server.files] == [len(DATA)]
        assert (await call.complete(upload_id, part_id)).json["file"]["id"] == server.files[0].id


async def test_a_complete_goes_on_though_its_client_is_gone_before_its_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    go, complete = threading.Event(), Store.complete_upload
    monkeypatch.setattr(Store, "complete_upload", lambda *arguments: go.wait(5) and complete(*arguments))
    async with running(faults=[Fault("complete", "reset", "done")]) as (server, call):
        upload_id = await call.created(len(DATA))
        part_id = (await call.add_part(upload_id, DATA)).json["id"]
        completing = asyncio.ensure_future(call.complete(upload_id, part_id))
        await until(lambda: server.calls.get("complete"))
        completing.cancel()
        await call.session.close()
        asyncio.get_running_loop().call_later(0.05, go.set)
        await until(lambda: server.files)
        await until(lambda: len(server.requests) == 3)
        assert server.requests[-1].status is None


async def test_a_closed_connection_ends_in_good_order() -> None:
    async with running(faults=[Fault("part", "close")]) as (server, call):
        upload_id = await call.created(len(DATA))
        assert await talk(server, part_request(upload_id, FORM)) == b""
        assert kept_parts(server) == 0


async def test_an_answer_can_be_cut_in_the_middle() -> None:
    async with running(faults=[Fault("part", "close", "answering")]) as (server, call):
        upload_id = await call.created(len(DATA))
        head, _, body = (await talk(server, part_request(upload_id, FORM))).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        length = next(int(line.split()[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
        assert len(body) == length // 2
        assert kept_parts(server) == 1
        assert server.requests[-1].status == 200


@pytest.mark.parametrize("kind", ["reset", "close"])
async def test_a_content_can_be_cut_in_the_middle(kind: Any) -> None:
    async with running(faults=[Fault("files.content", kind, "answering")]) as (_, call):
        done = await call.uploaded(DATA)
        async with call.session.get(f"files/{done.json['file']['id']}/content") as response:
            assert response.content_length == len(DATA)
            with pytest.raises(LOST):
                await response.read()


@pytest.mark.parametrize("at", get_args(Moment))
async def test_a_call_without_a_body_meets_a_fault_of_any_moment(at: Moment) -> None:
    async with running(faults=[Fault("*", "reset", at)]) as (server, _):
        with pytest.raises(ConnectionResetError):
            await talk(server, b"GET /v1/files HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a key\r\n\r\n")
        server.assert_all_met()


async def test_a_call_that_is_refused_meets_its_fault_too() -> None:
    async with running(faults=[Fault("part", "answer", "in", status=503)]) as (server, call):
        assert (await call.add_part("upload_1", b"x")).status == 503
        server.assert_all_met()


async def test_the_wrong_calls_do_not_meet_a_fault_and_it_is_named() -> None:
    async with running() as (server, call):
        server.inject(Fault("part", "reset", nth=2))
        await call.create()
        upload_id = await call.created(1)
        assert (await call.add_part(upload_id, b"x")).status == 200
        assert server.unmet_faults() == [Fault("part", "reset", nth=2)]
        with pytest.raises(AssertionError, match=r"route='part', kind='reset'.*nth=2"):
            server.assert_all_met()


async def test_cleared_faults_do_not_happen() -> None:
    async with running(faults=[Fault("create", "reset", every=1)]) as (server, call):
        server.clear_faults()
        assert (await call.create()).status == 200
        assert server.unmet_faults() == []


async def test_every_route_of_the_api_can_have_a_fault() -> None:
    state = Repository(None, Clock())
    uploads = Uploads(state, 3600, 200)
    plan, edits = FaultPlan(), Edits(state)
    batches = Batches(repository=state, edits=edits, faults=plan)
    rooms: Any = {"uploads": uploads, "files": Files(state), "edits": edits, "batches": batches, "models": Models({})}
    app = make_app(state, plan, RequestLog(), **rooms, api_key=None)
    resources = [(route.name, route.resource) for route in app.router.routes()]
    names = {name for name, resource in resources if resource and resource.canonical.startswith("/v1")}
    assert names == {*get_args(Route)} - {"*", LINE}


async def chunked_part(call: Caller, upload_id: str) -> int:
    async def pieces() -> Any:
        for start in range(0, len(FORM), 100_000):
            yield FORM[start : start + 100_000]

    return (await call("POST", f"uploads/{upload_id}/parts", data=pieces(), headers=FORM_HEADERS)).status


async def test_a_body_without_a_length_meets_a_fault_in_it() -> None:
    async with running(faults=[Fault("part", "answer", "in", status=503)]) as (server, call):
        upload_id = await call.created(len(DATA))
        assert await chunked_part(call, upload_id) == 503
        assert 0 < server.requests[-1].bytes < len(FORM)
        assert await chunked_part(call, upload_id) == 200


async def test_faults_leave_no_socket_open() -> None:
    async with running(faults=[Fault("*", "reset", "answering", every=1)]) as (_, call):
        for _ in range(3):
            with pytest.raises(LOST):
                await call.create()
    gc.collect()
