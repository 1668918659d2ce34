"""What every call has in common: keys, headers, refusals in one shape, and bodies as clients of all kinds send them."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from asyncsdk.server import LocalServer
from tests.server.support import (
    FORM_HEADERS,
    NOW,
    Answer,
    Clock,
    calling,
    connected,
    data_field,
    form_of,
    part_request,
    running,
    until,
    upload_fields,
)

JSON = {"Content-Type": "application/json"}


async def pieces(body: bytes, size: int = 7) -> AsyncIterator[bytes]:
    """A body without a length, which goes out in chunks."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


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


@pytest.mark.parametrize(("method", "path"), [("GET", "nowhere"), ("POST", "uploads/"), ("GET", "uploads/upload_1")])
async def test_an_unknown_address_is_not_found_in_openais_shape(method: str, path: str) -> None:
    async with running() as (_, call):
        answer = await call(method, path)
        assert answer.status == 404
        assert answer.error["message"] == f"Invalid URL ({method} /v1/{path})"


async def test_an_address_outside_the_api_is_not_found_either() -> None:
    async with running() as (_, call):
        assert (await call("GET", "/elsewhere")).error["message"] == "Invalid URL (GET /elsewhere)"


async def test_another_method_is_not_allowed_and_told_which_are() -> None:
    async with running() as (_, call):
        answer = await call("PUT", "files/file-1")
        assert answer.status == 405
        assert "PUT" in answer.error["message"]
        assert answer.headers["Allow"] == "DELETE,GET"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe\xff", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b'{"bytes": 1' + b"0" * 5000 + b"}", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(body: bytes, words: str) -> None:
    async with running() as (_, call):
        answer = await call("POST", "uploads", data=body, headers=JSON)
        assert answer.status == 400
        assert words in answer.error["message"]


async def test_json_must_say_that_it_is_json() -> None:
    async with running() as (_, call):
        answer = await call("POST", "uploads", data=json.dumps(upload_fields()))
        assert answer.status == 400
        assert "application/json" in answer.error["message"]


async def test_cancel_takes_a_body_that_nobody_asked_for() -> None:
    async with running() as (server, call):
        upload_id = await call.created(10)
        assert (await call("POST", f"uploads/{upload_id}/cancel", json={})).json["status"] == "cancelled"
        assert server.requests[-1].bytes == 2


async def test_json_is_taken_in_chunks() -> None:
    async with running() as (_, call):
        body = json.dumps(upload_fields(bytes=5)).encode()
        assert (await call("POST", "uploads", data=pieces(body), headers=JSON)).json["bytes"] == 5


async def test_json_above_its_limit_is_refused_with_and_without_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.server.wire.JSON_LIMIT", 100)
    async with running() as (_, call):
        body = json.dumps(upload_fields(filename="x" * 100)).encode()
        for data in (body, pieces(body)):
            assert (await call("POST", "uploads", data=data, headers=JSON)).status == 413


@pytest.mark.parametrize(
    "form",
    [
        form_of(data_field(b"0123456789")),
        form_of(b'Content-Disposition: form-data; name="data"\r\n\r\n0123456789'),
        form_of(b"Content-Type: text/plain\r\ncontent-disposition: form-data;filename=x;name=data\r\n\r\n0123456789"),
        form_of(b'Content-Disposition: form-data; name="note"\r\n\r\nhello', data_field(b"0123456789")),
        form_of(data_field(b"0123456789"), b'Content-Disposition: form-data; name="note"\r\n\r\nhello'),
        form_of(data_field(b"0123456789"), head=b"a preamble\r\n", tail=b"an epilogue"),
    ],
    ids=["httpx", "no filename", "other order", "field before", "field after", "preamble and epilogue"],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_part_is_taken_however_its_form_is_written(form: bytes, *, chunked: bool) -> None:
    async with running() as (server, call):
        upload_id = await call.created(10)
        body = pieces(form) if chunked else form
        part = await call("POST", f"uploads/{upload_id}/parts", data=body, headers=FORM_HEADERS)
        done = await call.complete(upload_id, part.json["id"])
        assert server.stored(done.json["file"]["id"]).read_bytes() == b"0123456789"


async def test_a_client_that_waits_to_be_told_to_go_on_is_told_so() -> None:
    async with running() as (_, call):
        upload_id = await call.created(10)
        form = aiohttp.FormData()
        form.add_field("data", b"0123456789", filename="x")
        assert (await call("POST", f"uploads/{upload_id}/parts", data=form, expect100=True)).status == 200


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (b"", "ends before its closing boundary"),
        (form_of(data_field(b"0123456789"))[:-6], "ends before its closing boundary"),
        (form_of(b"\r\n0123456789"), "no Content-Disposition"),
        (form_of(), "Missing required parameter: 'data'"),
        (
            form_of(b'Content-Disposition: form-data; name="file"\r\n\r\n0123456789'),
            "Missing required parameter: 'data'",
        ),
        (form_of(data_field(b"01234"), data_field(b"56789")), "Duplicate parameter: 'data'"),
        (form_of(*[b"Content-Disposition: form-data; name=a\r\n\r\n1"] * 2), "Duplicate parameter: 'a'"),
        (
            form_of(*[b"Content-Disposition: form-data; name=a%d\r\n\r\n" % n for n in range(101)]),
            "more than 100 fields",
        ),
        (form_of(b"Content-Disposition: form-data; name=a\r\n\r\n\xff", data_field(b"1")), "'a' is not UTF-8"),
        (form_of(data_field(b"")), "'data': it is empty"),
    ],
)
async def test_a_part_that_can_not_be_read_is_refused_and_leaves_nothing(form: bytes, words: str) -> None:
    async with running() as (server, call):
        upload_id = await call.created(10)
        answer = await call("POST", f"uploads/{upload_id}/parts", data=form, headers=FORM_HEADERS)
        assert answer.status == 400
        assert words in answer.error["message"]
        assert server.requests[-1].part_id is None
        assert not list(server.directory_in_use.glob("incoming/*"))


async def test_a_part_must_be_a_form() -> None:
    async with running() as (_, call):
        upload_id = await call.created(10)
        answer = await call("POST", f"uploads/{upload_id}/parts", data=b"0123456789")
        assert answer.status == 400
        assert "multipart/form-data" in answer.error["message"]


async def test_a_text_field_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.server.wire.TEXT_LIMIT", 100)
    async with running() as (_, call):
        upload_id = await call.created(10)
        form = form_of(b"Content-Disposition: form-data; name=a\r\n\r\n" + b"x" * 101)
        assert (await call("POST", f"uploads/{upload_id}/parts", data=form, headers=FORM_HEADERS)).status == 413


async def part_without_reading_more(server: LocalServer, upload_id: str, length: int) -> bytes:
    """Announce a part of `length`, send its beginning, return the line of the answer."""
    async with connected(server) as (reader, writer):
        writer.write(part_request(upload_id, form_of(data_field(b"x")), length=length))
        line: bytes = await reader.readline()
        return line


async def test_a_part_above_64_mib_is_refused_before_it_is_sent() -> None:
    async with running() as (server, call):
        upload_id = await call.created(2**30)
        assert b" 413 " in await part_without_reading_more(server, upload_id, 66 * 2**20)
        assert server.requests[-1].bytes == 0


async def test_a_part_above_its_limit_is_refused_when_it_told_no_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.server.uploads.PART_LIMIT", 1000)
    async with running() as (server, call):
        upload_id = await call.created(2000)
        for size, status in ((1000, 200), (1001, 413)):
            body = pieces(form_of(data_field(bytes(size))), 100)
            answer = await call("POST", f"uploads/{upload_id}/parts", data=body, headers=FORM_HEADERS)
            assert answer.status == status
        assert not list(server.directory_in_use.glob("incoming/*"))


@pytest.mark.parametrize(
    ("form", "param"),
    [
        (form_of(b'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch'), "file"),
        (form_of(b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n1'), "purpose"),
        (
            form_of(
                b'Content-Disposition: form-data; name="file"\r\n\r\n1',
                b'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch',
            ),
            "file",
        ),
        (
            form_of(
                b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n',
                b'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch',
            ),
            "file",
        ),
        (
            form_of(
                b'Content-Disposition: form-data; name="colour"\r\n\r\nred',
                b'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch',
                b'Content-Disposition: form-data; name="file"; filename="a"\r\n\r\n1',
            ),
            "colour",
        ),
    ],
    ids=["no file", "no purpose", "no filename", "empty", "unknown field"],
)
async def test_a_wrong_file_is_refused_by_its_field(form: bytes, param: str) -> None:
    async with running() as (server, call):
        answer = await call("POST", "files", data=form, headers=FORM_HEADERS)
        assert (answer.status, answer.error["param"]) == (400, param)
        assert server.files == []


async def test_a_file_above_its_limit_is_refused_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.server.files.FORM_OVERHEAD", 0)
    monkeypatch.setattr("asyncsdk.server.files.FILE_LIMIT", 10)
    async with running() as (_, call):
        answer = await call("POST", "files", data=form_of(data_field(b"x")), headers=FORM_HEADERS)
        assert answer.status == 413


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
        monkeypatch.setattr("asyncsdk.server.store.Store.read", broken)
        async with call.session.get(f"files/{done.json['file']['id']}/content") as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        assert "bad block" in caplog.text


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
        assert (lost.route, lost.path, lost.status) == ("unknown", "", 404)
        assert server.bytes_received == create.bytes + added.bytes
        assert "a key" not in repr(server.requests)


async def test_only_the_last_calls_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.server.log.RECORDS_LIMIT", 2)
    async with running() as (server, call):
        for path in ("files", "files/a", "files/b"):
            await call("GET", path)
        assert [record.route for record in server.requests] == ["files.get", "files.get"]
        assert server.calls == {"files.list": 1, "files.get": 2}
