"""Many small files against a limit on POST /files: none fails, and under "auto" none waits for it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, Client, ConfigurationError, UploadJob, UploadResult
from asyncsdk.server import LocalServer, ServerProcess
from tests.faults.leaving import cancelled_at_once
from tests.stories.support import MakeFile


def jobs_of(make_file: MakeFile, count: int, method: str) -> list[UploadJob]:
    paths = [make_file(100, name=f"{number}.txt", seed=number) for number in range(count)]
    return [UploadJob(path, "batch", method=method) for path in paths]  # type: ignore[arg-type]


async def upload_all(uploader: AsyncUploader, jobs: list[UploadJob]) -> list[UploadResult]:
    async with uploader.upload_many(jobs) as outcomes:
        ended = [outcome async for outcome in outcomes]
    assert [outcome.error for outcome in ended] == [None] * len(jobs)
    return [outcome.result for outcome in ended if outcome.result is not None]


@pytest.mark.parametrize("given", [None, 120])
async def test_under_auto_a_file_that_would_wait_goes_through_the_uploads_api(
    tmp_path: Path, journal: Path, make_file: MakeFile, given: int | None
) -> None:
    async with (
        LocalServer(tmp_path / "server", files_per_minute=120) as server,
        Client("sk-test", base_url=server.url) as client,
    ):
        began = time.monotonic()
        uploader = AsyncUploader(client, journal=journal, files_per_minute=given)
        results = await upload_all(uploader, jobs_of(make_file, 60, "auto"))
        seconds = time.monotonic() - began
        posted = sum(result.upload is None for result in results)
        assert len(server.files) == len(results) == 60
        assert 0 < posted < 60
        assert seconds < 25  # by one request alone it would be half a minute
        if given is not None:
            assert server.calls["files.create"] == posted  # none was refused


@pytest.mark.parametrize("given", [None, 1200])
async def test_by_one_request_alone_they_wait_for_the_limit_and_none_fails(
    tmp_path: Path, journal: Path, make_file: MakeFile, given: int | None
) -> None:
    async with (
        LocalServer(tmp_path / "server", files_per_minute=1200) as server,
        Client("sk-test", base_url=server.url) as client,
    ):
        uploader = AsyncUploader(client, journal=journal, files_per_minute=given)
        results = await upload_all(uploader, jobs_of(make_file, 80, "files"))
        assert [result.upload for result in results] == [None] * 80
        assert len(server.files) == 80
        assert server.calls.get("create", 0) == 0
        if given is not None:
            assert server.calls["files.create"] == 80


async def test_one_that_waits_for_the_limit_is_cancelled_at_once(
    server: LocalServer, client: Client, make_file: MakeFile
) -> None:
    uploader = AsyncUploader(client, journal="memory", files_per_minute=1)
    await uploader.upload(make_file(100), purpose="batch", method="files")
    waiting = asyncio.ensure_future(uploader.upload(make_file(100, seed=2), purpose="batch", method="files"))
    await asyncio.sleep(0.2)
    await cancelled_at_once(waiting)
    assert server.calls["files.create"] == 1


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "1000"])
async def test_a_limit_that_is_none_is_refused(client: Client, rate: object) -> None:
    with pytest.raises(ConfigurationError, match="files_per_minute"):
        AsyncUploader(client, journal="memory", files_per_minute=rate)  # type: ignore[arg-type]


def test_an_uploader_has_its_limit_on_the_next_event_loop_too() -> None:
    async def on_a_loop() -> list[UploadResult]:
        calls = (uploader.upload(bytes(each + 1), purpose="batch", method="files") for each in range(4))
        results = await asyncio.gather(*calls)
        await client.aclose() if done else done.append(True)
        return results

    done: list[bool] = []
    with ServerProcess() as server:
        client = Client("sk-test", base_url=server.url)
        uploader = AsyncUploader(client, journal="memory", files_per_minute=1200)
        for _ in range(2):
            assert [result.upload for result in asyncio.run(on_a_loop())] == [None] * 4
