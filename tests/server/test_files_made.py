"""POST /files: its limits on sizes and requests, and what a file that is refused leaves behind."""

from __future__ import annotations

import asyncio
import re

import pytest

from asyncsdk.server import Fault
from asyncsdk.server.errors import ApiError
from asyncsdk.server.rules import require_file_size
from tests.server.support import BOUNDARY, Answer, Caller, running

MIB = 2**20
BLOCK = 2**19


async def make(call: Caller, content: bytes = b"{}", purpose: str = "batch") -> Answer:
    lines = [
        f"--{BOUNDARY}",
        f'Content-Disposition: form-data; name="purpose"\r\n\r\n{purpose}',
        f"--{BOUNDARY}",
        'Content-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n',
    ]
    body = "\r\n".join(lines).encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return await call("POST", "files", data=body, headers=headers)


def told_seconds(answer: Answer) -> float:
    match = re.search(r"Please try again in ([\d.]+)(ms|s)\.", answer.error["message"])
    assert match is not None
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


@pytest.mark.parametrize(
    ("size", "purpose", "said"),
    [
        (200 * MIB, "batch", None),
        (200 * MIB + 1, "batch", "The batch file is larger than 209715200 bytes, the most that is taken."),
        (200 * MIB + 1, "fine-tune", None),
        (512 * MIB, "user_data", None),
        (512 * MIB + 1, "user_data", "The file is larger than 536870912 bytes, the most that is taken."),
    ],
)
def test_a_file_has_at_most_512_mib_and_a_batch_200(size: int, purpose: str, said: str | None) -> None:
    assert refusal(size, purpose) == said


def refusal(size: int, purpose: str) -> str | None:
    try:
        require_file_size(size, purpose)
    except ApiError as error:
        return error.message
    return None


async def test_a_batch_above_its_limit_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.server.rules.BATCH_FILE_LIMIT", 10)
    async with running() as (server, call):
        assert (await make(call, b"x" * 10)).status == 200
        assert (await make(call, b"x" * 11, "vision")).status == 200
        answer = await make(call, b"x" * 11)
        assert (answer.status, answer.error["code"]) == (413, "payload_too_large")
        assert [file.bytes for file in server.files] == [10, 11]


async def test_an_empty_file_is_refused_as_by_openai() -> None:
    async with running() as (server, call):
        answer = await make(call, b"")
        assert (answer.status, answer.error["message"], answer.error["param"]) == (400, "File is empty.", "file")
        assert server.files == []


async def test_above_the_limit_a_minute_no_file_is_made_and_the_time_to_wait_is_true() -> None:
    async with running(files_per_minute=30) as (server, call):
        made = (await make(call)).status
        answer = await make(call, b"x" * BLOCK)
        assert (made, answer.status, answer.error["type"]) == (200, 429, "requests")
        assert (answer.error["code"], answer.error["param"]) == ("rate_limit_exceeded", None)
        assert "on requests per min (RPM): Limit 30, Used " in answer.error["message"]
        assert not any(name.lower().startswith(("x-ratelimit", "retry-after")) for name in answer.headers)
        assert len(server.files) == 1
        assert (await call("GET", "files")).status == 200  # other routes have no part in it
        await asyncio.sleep(told_seconds(answer))
        assert (await make(call)).status == 200


async def test_a_refused_request_was_read_to_its_end_so_that_its_connection_goes_on() -> None:
    async with running(files_per_minute=1) as (server, call):
        statuses = [(await make(call, b"x" * BLOCK)).status for _ in range(3)]
        assert statuses == [200, 429, 429]
        assert all(record.bytes > BLOCK for record in server.requests)


async def test_a_planned_limit_counts_files_in_the_same_words() -> None:
    async with running(faults=[Fault("files.create", "limit", per_minute=60)]) as (server, call):
        assert (await make(call)).status == 200
        answer = await make(call)
        assert (answer.status, answer.error["type"], len(server.files)) == (429, "requests", 1)
        assert "Limit 60, Used 60, Requested 1. Please try again in " in answer.error["message"]
