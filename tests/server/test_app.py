"""What all calls share: keys, headers, errors in one shape, records."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from asyncsdk.server import Fault, LocalServer
from tests.server.support import (
    NOW,
    Answer,
    Clock,
    calling,
    connected,
    data_field,
    form_of,
    part_request,
    running,
)
from tests.waiting import until

SERVED = "asyncsdk serves uploads, files, images/edits, batches, models/MODEL"


async def test_answers_carry_the_headers_of_the_real_server() -> None:
    async with running(clock=Clock()) as (_, call):
        for answer in (await call.create(), await call("GET", "files/none"), await call("GET", "nowhere")):
            assert answer.headers["X-Request-ID"].startswith("req_")
            assert int(answer.headers["openai-processing-ms"]) >= 0
            assert answer.headers["openai-version"] == "2020-10-01"
            assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == NOW
            assert not [name for name in answer.headers if name.lower().startswith("x-ratelimit")]


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": ""}, {"Authorization": "Bearer "}, {"Authorization": "Basic a2V5"}, {"api-key": ""}],
)
async def test_without_a_key_nothing_is_answered(headers: dict[str, str]) -> None:
    async with LocalServer() as server, calling(server, headers=headers) as call:
        for path in ("files", "nowhere"):
            answer = await call("GET", path)
            assert answer.status == 401
            assert answer.error["type"] == "invalid_request_error"
            assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer right"}, 200),
        ({"Authorization": "bearer right"}, 200),
        ({"api-key": "right"}, 200),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"api-key": "wrong"}, 401),
        ({"api-key": "né"}, 401),
    ],
)
async def test_with_a_key_set_only_that_one_is_taken(headers: dict[str, str], status: int) -> None:
    async with LocalServer(api_key="right") as server, calling(server, headers=headers) as call:
        answer = await call("GET", "files")
        assert answer.status == status
        assert "right" not in repr(server)


@pytest.mark.parametrize(
    ("method", "path", "why"),
    [
        ("POST", "/v1/chat/completions", f"{SERVED}; not /v1/chat/completions."),
        ("GET", "/v1/models", f"{SERVED}; not /v1/models."),
        ("GET", "/v1/uploads/upload_1", f"{SERVED}; not /v1/uploads/upload_1."),
        ("POST", "/v1/uploads/", "Leave out the slash at its end."),
        ("POST", "/uploads", "The API is below /v1, and this would be /v1/uploads: let the base URL end with /v1."),
        ("GET", "/models/gpt-image-2", "this would be /v1/models/gpt-image-2: let the base URL end with /v1."),
        ("GET", "/files/file-1/content", "this would be /v1/files/file-1/content: let the base URL end with /v1."),
        ("POST", "/v1/v1/images/edits", "It has /v1 twice"),
        ("GET", "/v1/files/files", "The base URL has /files at its end: let it end with /v1."),
        ("POST", "/v1/uploads/uploads", "The base URL has /uploads at its end: let it end with /v1."),
        ("POST", "/v1/images/edits/images/edits", "The base URL has /images/edits at its end"),
        ("GET", "/openai/files", "Azure's paths are not served"),
        ("GET", "/elsewhere", "asyncsdk serves the API below /v1, its own page at /, and /health."),
    ],
)
async def test_an_unknown_address_is_not_found_in_openais_shape_and_says_why(method: str, path: str, why: str) -> None:
    async with running() as (_, call):
        answer = await call(method, path)
        assert answer.status == 404
        assert answer.error["message"].startswith(f"Invalid URL ({method} {path}). ")
        assert why in answer.error["message"]
        assert answer.error["type"] == "invalid_request_error"


async def test_a_wrong_method_that_comes_of_a_wrong_base_url_says_so() -> None:
    async with running() as (_, call):
        answer = await call("POST", "/v1/files/uploads")
        assert answer.status == 405
        assert answer.error["message"].endswith("The base URL has /files at its end: let it end with /v1.")


async def test_another_method_is_not_allowed_and_told_which_are() -> None:
    async with running() as (_, call):
        answer = await call("PUT", "files/file-1")
        assert answer.status == 405
        assert "PUT" in answer.error["message"]
        assert answer.headers["Allow"] == "DELETE,GET"


async def test_an_empty_list_has_empty_ids() -> None:
    async with running() as (_, call):
        answer = await call("GET", "files")
        assert answer.json == {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}


async def test_a_wrong_list_is_refused_by_its_field() -> None:
    async with running() as (_, call):
        assert (await call("GET", "files", params={"limit": "0"})).error["param"] == "limit"
        assert (await call("GET", "files", params={"after": "file-1"})).error["param"] == "after"


async def test_any_filename_comes_back_with_the_content() -> None:
    name = 'a"b\r\nX-Injected: 1\ud800 é.jsonl'
    async with running() as (server, call):
        done: Answer = await call.uploaded(b"x", filename=name)
        assert done.json["filename"] == name
        path = f"files/{done.json['file']['id']}/content"
        async with call.session.get(path) as response:
            assert await response.read() == b"x"
            assert "X-Injected" not in response.headers
            assert response.content_disposition is not None
        assert server.files[0].filename == name


async def test_a_name_of_any_length_fits_into_the_header_of_its_download() -> None:
    async with running() as (_, call):
        done = await call.uploaded(b"x", filename="\u20ac" * 100_000)
        async with call.session.get(f"files/{done.json['file']['id']}/content") as response:
            assert await response.read() == b"x"


async def test_a_client_that_hangs_up_leaves_nothing_behind_and_no_word_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with running() as (server, call):
        upload_id = await call.created(3 * 2**20)
        async with connected(server) as (_, writer):
            writer.write(part_request(upload_id, form_of(data_field(bytes(3 * 2**20))))[: 2 * 2**20])
            await until(lambda: list(server.directory_in_use.glob("incoming/*")))
            assert server.parts_in_flight == 1
            writer.transport.abort()
        await until(lambda: server.calls.get("part") and not server.parts_in_flight)
        assert server.requests[-1].status is None
        assert not list(server.directory_in_use.glob("incoming/*"))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_body_that_breaks_the_rules_of_http_leaves_nothing_behind() -> None:
    async with running() as (server, call):
        upload_id = await call.created(10)
        async with connected(server) as (_, writer):
            head = part_request(upload_id, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
            writer.write(head + b"5\r\n--a-b\r\n")
            await until(lambda: server.parts_in_flight)
            writer.write(b"no length at all\r\n")
        await until(lambda: not server.parts_in_flight)
        assert server.requests[-1].part_id is None
        assert not list(server.directory_in_use.glob("incoming/*"))


async def test_parts_in_flight_are_counted() -> None:
    async with running() as (server, call), AsyncExitStack() as stack:
        upload_id = await call.created(10)
        form = form_of(data_field(b"x"))
        writers = [(await stack.enter_async_context(connected(server)))[1] for _ in range(3)]
        for writer in writers:
            writer.write(part_request(upload_id, form)[:-1])
        await until(lambda: server.parts_in_flight == 3)
        for writer in writers:
            writer.write(form[-1:])
        await until(lambda: not server.parts_in_flight)
        assert server.max_parts_in_flight == 3
        assert server.calls["part"] == 3


async def test_a_failure_of_the_server_is_told_in_openais_shape_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as (_, call):
        monkeypatch.setattr("asyncsdk.server.uploads.new_upload_id", lambda: 1 / 0)
        answer = await call.create()
        assert (answer.status, answer.error["type"]) == (500, "server_error")
        assert "ZeroDivisionError" in caplog.text


async def test_a_failure_half_way_through_a_content_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any) -> AsyncIterator[bytes]:
        yield b"x"
        raise OSError("bad block")

    async with running() as (_, call):
        done = await call.uploaded(b"0123456789")
        monkeypatch.setattr("asyncsdk.server.repository.Repository.read_file", broken)
        async with call.session.get(f"files/{done.json['file']['id']}/content") as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        assert "bad block" in caplog.text


async def test_a_complete_that_is_asked_twice_at_once_is_done_once() -> None:
    async with running() as (server, call):
        upload_id = await call.created(10)
        part_id = (await call.add_part(upload_id, b"0123456789")).json["id"]
        answers = await asyncio.gather(*[call.complete(upload_id, part_id) for _ in range(3)])
        assert [answer.status for answer in answers] == [200] * 3
        assert all(answer.json == answers[0].json for answer in answers)
        assert len(server.files) == 1


async def test_an_expectation_that_nobody_knows_is_refused() -> None:
    async with running() as (_, call):
        answer = await call("GET", "files", headers={"Expect": "the unexpected"})
        assert answer.status == 417
        assert "X-Request-ID" in answer.headers


async def test_each_call_is_recorded_without_its_key() -> None:
    async with running() as (server, call):
        upload_id = await call.created(10)
        part = await call.add_part(upload_id, b"0123456789")
        await call("GET", "nowhere")
        create, added, lost = server.requests
        assert (create.route, create.method, create.path) == ("create", "POST", "/v1/uploads")
        assert (create.status, create.upload_id, create.part_id, create.fault) == (200, upload_id, None, None)
        assert (added.route, added.path) == ("part", "/v1/uploads/{upload_id}/parts")
        assert (added.upload_id, added.part_id) == (upload_id, part.json["id"])
        assert added.bytes == int(added.headers["content-length"])
        assert added.bytes_sent == int(part.headers["Content-Length"])
        assert added.request_id == part.headers["X-Request-ID"]
        assert [create.number, added.number, lost.number] == [1, 2, 3]
        assert added.seconds > 0
        assert (lost.route, lost.path, lost.status) == ("unknown", "/v1/nowhere", 404)
        assert server.bytes_received == create.bytes + added.bytes
        assert "a key" not in repr(server.requests)


async def test_only_the_last_calls_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.server.log.RECORDS_LIMIT", 2)
    async with running() as (server, call):
        for path in ("files", "files/a", "files/b"):
            await call("GET", path)
        assert [record.route for record in server.requests] == ["files.get", "files.get"]
        assert server.calls == {"files.list": 1, "files.get": 2}


async def test_whoever_waits_for_it_needs_no_key_and_meets_no_fault() -> None:
    async with (
        LocalServer(api_key="k", faults=[Fault("*", "reset", every=1)]) as server,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{server.port}/health") as answer,
    ):
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})
        assert server.requests == []


async def test_a_file_that_is_not_there_is_told_twice_as_the_real_server_does() -> None:
    async with running() as (_, call):
        answer = await call("GET", "files/fake_id")
        assert answer.status == 404
        assert answer.error["message"] == "No such File object: fake_id"
        assert answer.json["detail"] == {"message": "No such File object: fake_id", "code": None}
        assert answer.headers["openai-organization"] == "org-local"


async def test_a_download_whose_file_is_deleted_is_cut_off_and_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as (server, call):
        file_id = (await call.uploaded(bytes(32 << 20))).json["file"]["id"]
        async with call.session.get(f"files/{file_id}/content") as response:
            assert (await call("DELETE", f"files/{file_id}")).status == 200
            with pytest.raises(aiohttp.ClientError):
                await response.read()
        await until(lambda: len(server.requests) == 5)
        assert {record.route: record.status for record in server.requests}["files.content"] == 200
    assert caplog.records == []
