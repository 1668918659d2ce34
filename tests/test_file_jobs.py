"""Many files of the server: found by a filter, deleted once each within its limit, and waited for."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import (
    AuthenticationError,
    Client,
    ConfigurationError,
    DeletedFile,
    File,
    FileFilter,
    FileProcessingError,
    InternalServerError,
    NotFoundError,
    NotTheAPIError,
    api,
)
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing

QUICK = Timing(first_delay=0.001)
DAY = 86_400.0
NOW = 1_800_000_000.0


class Clock:
    """The server's."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


async def stored(client: Client, name: str, size: int = 10, purpose: str = "user_data") -> str:
    return (await client.send(api.create_file(file=b"x" * size, filename=name, purpose=purpose))).id


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"name": "*"}, "old.jsonl old.txt Big.jsonl seen.jsonl"),
        ({"name": "*.jsonl"}, "old.jsonl Big.jsonl seen.jsonl"),
        ({"name": "big*"}, ""),
        ({"older_than": 5 * DAY}, "old.jsonl old.txt"),
        ({"older_than": 0.0, "name": "*.txt"}, "old.txt"),
        ({"larger_than": 10}, "Big.jsonl"),
        ({"larger_than": 9, "purpose": "vision"}, "seen.jsonl"),
        ({"purpose": "evals"}, ""),
    ],
)
async def test_a_file_is_found_if_all_holds_that_is_given(given: dict[str, Any], found: str) -> None:
    clock = Clock()
    async with LocalServer(clock=clock) as server, Client("sk-test", base_url=server.url) as client:
        for name in ("old.jsonl", "old.txt"):
            await stored(client, name)
        clock.now += 10 * DAY
        await stored(client, "Big.jsonl", 11)
        clock.now += 1
        await stored(client, "seen.jsonl", purpose="vision")
        clock.now += 60
        assert [file.filename for file in await client.find_files(FileFilter(**given))] == found.split()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"older_than": -1.0},
        {"larger_than": -1},
        {"older_than": "30d"},
        {"older_than": True},
        {"older_than": math.nan},
    ],
)
def test_a_filter_without_a_condition_or_sense_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        FileFilter(**given)


def test_what_the_server_does_not_say_is_not_taken_to_hold() -> None:
    bare = File(id="file-1")
    for given in ({"older_than": 0.0}, {"larger_than": 0}, {"purpose": "batch"}, {"name": "*"}):
        assert not FileFilter(**given).takes(bare, now=NOW)


async def test_what_was_asked_is_gone_and_nothing_else() -> None:
    told: list[DeletedFile] = []
    async with LocalServer() as server, Client("sk-test", base_url=server.url) as client:
        for number in range(30):
            await stored(client, f"{number}.{'txt' if number % 3 else 'bin'}", 10 + number)
        server.clear_requests()
        result = await client.delete_files(FileFilter(name="*.bin"), on_deleted=told.append)
        assert (result.deleted, result.gone, result.failures) == (10, 0, {})
        assert result.bytes == sum(file.bytes or 0 for file in told) == sum(10 + n for n in range(0, 30, 3))
        assert all(file.filename.endswith(".txt") for file in server.files)
        assert len(server.files) == 20
        assert server.calls["files.delete"] == 10


async def test_it_keeps_to_the_limit_that_the_server_names() -> None:
    async with LocalServer() as server, Client("sk-test", base_url=server.url, timing=QUICK) as client:
        for number in range(40):
            await stored(client, f"{number}.bin")
        server.inject(Fault("files.delete", "limit", per_minute=600))
        began = time.monotonic()
        result = await client.delete_files(FileFilter(name="*"))
        assert result.deleted == 40
        assert time.monotonic() - began > 1.5
        refused = [record for record in server.requests if record.status == 429]
        assert len(refused) <= 20  # those that were under way when it was not known yet


async def test_a_limit_that_is_given_is_never_met() -> None:
    async with LocalServer() as server, Client("sk-test", base_url=server.url) as client:
        ids = [await stored(client, f"{number}.bin") for number in range(25)]
        server.inject(Fault("files.delete", "limit", per_minute=1200))
        result = await client.delete_files(ids, requests_per_minute=1000)
        assert result.deleted == 25
        assert not [record for record in server.requests if record.status == 429]


async def test_a_lost_response_means_deleted_and_a_file_that_is_not_there_is_gone() -> None:
    told: list[DeletedFile] = []
    async with LocalServer() as server, Client("sk-test", base_url=server.url, timing=QUICK) as client:
        file_id = await stored(client, "a.bin")
        server.inject(Fault("files.delete", "answer", "done", status=500))
        result = await client.delete_files([file_id], on_deleted=told.append)
        again = await client.delete_files([file_id], on_deleted=told.append)
    assert ((result.deleted, result.gone), (again.deleted, again.gone)) == ((1, 0), (0, 1))
    assert [(file.status, type(file.error)) for file in told] == [("deleted", type(None)), ("gone", NotFoundError)]


async def test_a_response_that_is_lost_with_its_connection_is_no_failure() -> None:
    async with LocalServer() as server, Client("sk-test", base_url=server.url, timing=QUICK) as client:
        ids = [await stored(client, f"{number}.bin") for number in range(8)]
        server.inject(Fault("files.delete", "close", "done", every=2), Fault("files.delete", "reset", "done", every=3))
        result = await client.delete_files(ids)  # aiohttp repeats a DELETE by itself, so some are gone to us
        assert (result.deleted + result.gone, result.failures, server.files) == (8, {}, [])


async def test_one_that_fails_does_not_stop_the_others() -> None:
    async with LocalServer() as server, Client("sk-test", base_url=server.url, timing=QUICK) as client:
        ids = [await stored(client, f"{number}.bin") for number in range(5)]
        server.inject(Fault("files.delete", "answer", "before", status=500, headers={"x-should-retry": "false"}, nth=2))
        result = await client.delete_files(ids)
        assert result.deleted == 4
        [(failed, error)] = result.failures.items()
        assert [file.id for file in server.files] == [failed]
        assert isinstance(error, InternalServerError)
        assert (await client.delete_files(ids)).deleted == 1


async def test_a_wrong_key_and_a_wrong_address_stop_it_at_once() -> None:
    async with LocalServer(api_key="right") as server:
        async with Client("wrong", base_url=server.url) as client:
            with pytest.raises(AuthenticationError):
                await client.delete_files([f"file-{number}" for number in range(1000)])
        assert server.calls["files.delete"] <= 32
        async with Client("right", base_url=server.url.replace("/v1", "/v9")) as client:
            with pytest.raises((NotFoundError, NotTheAPIError)):
                await client.delete_files(["file-1"])


async def test_a_text_is_no_list_of_ids() -> None:
    async with Client("sk-test", base_url="http://127.0.0.1:9/v1") as client:
        with pytest.raises(TypeError, match="a list of Files or ids"):
            await client.delete_files("file-1")


async def test_a_file_is_waited_for_until_it_is_processed() -> None:
    seen: list[str | None] = []
    async with LocalServer(processing_seconds=2.5) as server, Client("sk-test", base_url=server.url) as client:
        file_id = await stored(client, "a.pdf")
        file = await client.wait_for_file(file_id, on_poll=lambda file: seen.append(file.status))
    assert file.status == "processed"
    assert seen[0] == "uploaded"
    assert len(seen) <= 6


async def test_why_it_could_not_be_processed_is_in_the_error() -> None:
    broken = {"id": "file-1", "filename": "a.pdf", "status": "error", "status_details": "The PDF has no pages."}
    async with LocalServer() as server, Client("sk-test", base_url=server.url) as client:
        server.inject(Fault("files.get", "answer", "before", status=200, body=broken))
        with pytest.raises(
            FileProcessingError, match=r"could not process file-1 \(a.pdf\): The PDF has no pages"
        ) as caught:
            await client.wait_for_file("file-1")
    assert not caught.value.resumable
    assert isinstance(caught.value.file, File)


async def test_one_that_takes_too_long_may_be_waited_for_again() -> None:
    async with LocalServer(processing_seconds=60) as server, Client("sk-test", base_url=server.url) as client:
        file_id = await stored(client, "a.pdf")
        with pytest.raises(FileProcessingError, match=r"within 1 s \(its status is uploaded\)") as caught:
            await client.wait_for_file(file_id, timeout=1.0)
        assert caught.value.resumable
        with pytest.raises(NotFoundError):
            await client.wait_for_file("file-unknown")


async def test_of_a_file_that_the_server_did_not_report_on_in_time_nothing_is_claimed() -> None:
    async with LocalServer() as server, Client("sk-test", base_url=server.url) as client:
        server.inject(Fault("files.get", "stall", "before", seconds=5))
        with pytest.raises(FileProcessingError, match="Nothing is known of it: wait for it again") as caught:
            await client.wait_for_file("file-1", timeout=0.2)
        assert caught.value.resumable
        assert caught.value.file is None


async def test_a_server_without_a_status_is_not_waited_for(tmp_path: Path) -> None:
    async with LocalServer(tmp_path) as server, Client("sk-test", base_url=server.url) as client:
        server.inject(Fault("files.get", "answer", "before", status=200, body={"id": "file-1"}))
        assert (await client.wait_for_file("file-1")).id == "file-1"


@pytest.mark.parametrize("wrong", ["", "..", None, 5])
async def test_what_names_no_file_is_refused_before_any_is_deleted(wrong: Any) -> None:
    async with LocalServer() as server, Client("sk-test", base_url=server.url) as client:
        good = await stored(client, "a.txt")
        server.clear_requests()
        for files in ([good, wrong], [wrong, good]):
            with pytest.raises((ConfigurationError, TypeError)):
                await client.delete_files(files)
        assert not server.calls
        with pytest.raises(TypeError, match="a FileFilter, or a list of Files or ids"):
            await client.delete_files(wrong)
        assert len(server.files) == 1
