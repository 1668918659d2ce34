"""Whether known Files are still there: asked one by one, or by a page of the list where many ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, Client, UploadJob, api
from asyncsdk.errors import APIStatusError, ResponseMismatchError
from asyncsdk.models import File
from asyncsdk.retry import Retry
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads.listing import seen as seen_module
from asyncsdk.uploads.listing.seen import FEW, SeenFiles
from asyncsdk.uploads.response_checks import Content


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    async with LocalServer() as server:
        yield server


@pytest.fixture
async def client(server: LocalServer) -> AsyncIterator[Client]:
    async with Client("sk-test", base_url=server.url) as client:
        yield client


async def made(server: LocalServer, client: Client, count: int) -> list[File]:
    files = [
        await client.send(api.create_file(file=b"%6d" % number, filename=f"{number}.jsonl", purpose="batch"))
        for number in range(count)
    ]
    server.clear_requests()
    return files


async def look(seen: SeenFiles, file: File, *, since: float | None = None) -> File | None:
    content = Content(file.filename or "", "batch", 6)
    return await seen.file(file, content, Retry(0), since=time.monotonic() if since is None else since)


async def test_a_few_are_asked_for_one_by_one(server: LocalServer, client: Client) -> None:
    files, seen = await made(server, client, FEW), SeenFiles(client)
    assert await asyncio.gather(*(look(seen, file) for file in files)) == files
    assert server.calls == {"files.get": FEW}


async def test_many_that_ask_at_a_time_are_answered_by_one_page(server: LocalServer, client: Client) -> None:
    files, seen = await made(server, client, 300), SeenFiles(client)
    assert await asyncio.gather(*(look(seen, file) for file in files)) == files
    assert server.calls["files.list"] == 1
    assert server.calls["files.get"] <= FEW + 1  # the page begins after the oldest


async def test_a_page_answers_what_the_same_run_asks_later_and_nothing_that_is_asked_later(
    server: LocalServer, client: Client
) -> None:
    files, seen, began = await made(server, client, 90), SeenFiles(client), time.monotonic()
    await asyncio.gather(*(look(seen, file, since=began) for file in files[:50]))
    server.clear_requests()
    for file in files[50:]:
        assert await look(seen, file, since=began) == file
    assert server.calls == {}
    await client.send(api.delete_file(files[70].id))
    assert await look(seen, files[70]) is None


async def test_a_page_is_of_use_for_a_short_time(
    server: LocalServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen_module, "FRESH_SECONDS", 0.2)
    files, seen, began = await made(server, client, 50), SeenFiles(client), time.monotonic()
    await asyncio.gather(*(look(seen, file, since=began) for file in files))
    await client.send(api.delete_file(files[40].id))
    await asyncio.sleep(0.25)
    assert await look(seen, files[40], since=began) is None


async def test_a_file_that_is_not_listed_is_asked_for_before_it_counts_as_gone(
    server: LocalServer, client: Client
) -> None:
    files, seen = await made(server, client, 80), SeenFiles(client, page_files=10)
    for file in files[38:41]:
        await client.send(api.delete_file(file.id))
    found = await asyncio.gather(*(look(seen, file) for file in files))
    assert found == [None if file in files[38:41] else file for file in files]


async def test_a_listed_file_that_is_another_one_by_now_is_asked_for_by_itself(
    server: LocalServer, client: Client
) -> None:
    files, seen = await made(server, client, 50), SeenFiles(client)
    other = Content("0.jsonl", "batch", 7)
    looks = [seen.file(file, other, Retry(0), since=time.monotonic()) for file in files]
    failures = await asyncio.gather(*looks, return_exceptions=True)
    assert {type(failure) for failure in failures} == {ResponseMismatchError}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("files.list", "answer", every=1, status=400),
        Fault("files.list", "answer", every=1, status=200, body={"object": "list", "data": [7]}),
        Fault("files.list", "reset", every=1),
    ],
)
async def test_where_files_can_not_be_listed_each_is_asked_for(
    server: LocalServer, client: Client, fault: Fault
) -> None:
    files, seen = await made(server, client, 100), SeenFiles(client)
    server.inject(fault)
    assert await asyncio.gather(*(look(seen, file) for file in files)) == files
    assert server.calls["files.get"] == 100
    assert server.calls["files.list"] <= 4


async def test_a_file_that_can_not_be_asked_for_raises_what_the_server_said(
    server: LocalServer, client: Client
) -> None:
    files, seen = await made(server, client, 1), SeenFiles(client)
    server.inject(Fault("files.get", "answer", status=500))
    with pytest.raises(APIStatusError):
        await look(seen, files[0])


async def test_when_the_one_that_reads_the_page_is_cancelled_another_does(server: LocalServer, client: Client) -> None:
    files, seen = await made(server, client, FEW + 20), SeenFiles(client)
    server.inject(Fault("files.list", "stall", seconds=1.0))
    looks = [asyncio.ensure_future(look(seen, file)) for file in files]
    while not server.calls.get("files.list"):
        await asyncio.sleep(0.01)
    looks[FEW].cancel()
    found = await asyncio.gather(*looks, return_exceptions=True)
    assert isinstance(found[FEW], asyncio.CancelledError)
    assert [*found[:FEW], *found[FEW + 1 :]] == [*files[:FEW], *files[FEW + 1 :]]
    assert server.calls["files.list"] == 2


async def test_pages_that_answer_few_become_seldom(server: LocalServer, client: Client) -> None:
    files, seen, turn = await made(server, client, 400), SeenFiles(client, page_files=2), asyncio.Semaphore(8)

    async def one(file: File) -> File | None:
        async with turn:
            return await look(seen, file)

    assert await asyncio.gather(*map(one, files)) == files
    assert server.calls["files.list"] <= 6


async def test_a_second_run_over_a_folder_asks_for_few_of_its_files(
    server: LocalServer, client: Client, tmp_path: Path
) -> None:
    jobs = []
    for number in range(200):
        path = tmp_path / "in" / f"{number:03}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"%06d" % number)
        jobs.append(UploadJob(path, "batch"))

    async def run() -> dict[str, int]:
        uploader = AsyncUploader(client, journal=tmp_path / "journal")
        async with uploader.upload_many(jobs) as outcomes:
            ended = [outcome async for outcome in outcomes]
        assert all(outcome.error is None for outcome in ended)
        return dict(outcomes.counts)

    assert await run() == {"done": 200}
    gone = server.files[150].id
    await client.send(api.delete_file(gone))
    server.clear_requests()
    assert await run() == {"reused": 199, "done": 1}
    assert server.calls["files.list"] <= 2
    assert server.calls["files.get"] <= 2 * FEW
    (gone,) = [file.id for file in server.files if file.filename == "003.bin"]
    await client.send(api.delete_file(gone))
    result = await AsyncUploader(client, journal=tmp_path / "journal").upload(jobs[3].source, purpose="batch")
    assert not result.reused
