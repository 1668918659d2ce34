"""Bodies from clients of all kinds: accepted where they can be read, refused with a reason otherwise."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from asyncsdk.server import LocalServer
from tests.server.support import (
    FORM_HEADERS,
    connected,
    data_field,
    form_of,
    part_request,
    running,
    upload_fields,
)

NOTE = b'Content-Disposition: form-data; name="note"\r\n\r\nhello'
JSON = {"Content-Type": "application/json"}


async def pieces(body: bytes, size: int = 7) -> AsyncIterator[bytes]:
    """A body without a length, which goes out in chunks."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


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
    monkeypatch.setattr("asyncsdk.server.bodies.JSON_LIMIT", 100)
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
        form_of(data_field(b"0123456789"), head=b"a preamble\r\n", tail=b"an epilogue"),
    ],
    ids=["httpx", "no filename", "other order", "preamble and epilogue"],
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
        (form_of(NOTE, data_field(b"0123456789")), "Unknown parameter: 'note'"),
        (form_of(data_field(b"0123456789"), NOTE), "Unknown parameter: 'note'"),
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
    monkeypatch.setattr("asyncsdk.server.bodies.TEXT_LIMIT", 100)
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
