"""Servers that differ from OpenAI's: parts in order and of a least size, a day for an upload, another created_at, …"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from asyncsdk import AsyncUploader, BadRequestError, Client, CompletionUnknownError, UploadJob
from asyncsdk.http.decode import status_error
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads.advice import PARTS_IN_ORDER
from tests.stories.support import BRIEF_SEARCH, MIB, MakeFile, md5_of

ON_S3: dict[str, Any] = {
    "parts_in_order": True,
    "min_part": 5 * MIB,
    "ignore_md5": True,
    "created_at": "complete",
    "upload_ttl": 86_400,
}


@pytest.fixture
async def now() -> list[float]:
    """The server's time."""
    return [1_800_000_000.0]


@pytest.fixture
def clock(now: list[float]) -> Callable[[], float]:
    def tick() -> float:
        now[0] += 0.4
        return now[0]

    return tick


async def test_parts_go_in_order_over_one_connection(journal: Path, make_file: MakeFile) -> None:
    path = make_file(40 * MIB + 7)
    async with LocalServer(**ON_S3) as server, Client("sk-test", base_url=server.url) as client:
        server.inject(Fault("part", "reset", "done", nth=2), Fault("part", "answer", status=500, nth=5))
        uploader = AsyncUploader(client, journal=journal, concurrency=1, part_size=8 * MIB)
        result = await uploader.upload(path, purpose="user_data")
        server.assert_all_met()
        assert md5_of(server.stored(result.file.id)) == md5_of(path)
        assert len(server.files) == 1
        again = await uploader.upload(path, purpose="user_data")
    assert (again.file.id, again.bytes_sent) == (result.file.id, 0)


async def test_many_files_of_all_sizes_go_once_each_whatever_is_lost(journal: Path, make_file: MakeFile) -> None:
    sizes = [1, 1000, 3 * MIB, 9 * MIB, 17 * MIB + 1]
    paths = [make_file(size, f"{number}.bin", number) for number, size in enumerate(sizes * 3)]
    jobs = [UploadJob(path, "user_data") for path in paths]
    timing = evolve(BRIEF_SEARCH, file_answer=0.5)
    async with LocalServer(**ON_S3) as server, Client("sk-test", base_url=server.url, timing=timing) as client:
        server.inject(
            Fault("part", "reset", "done", nth=3),
            Fault("complete", "close", "done", nth=2),
            Fault("files.create", "answer", "before", status=500, nth=4),
            Fault("create", "answer", "before", status=503, nth=2),
        )
        uploader = AsyncUploader(client, journal=journal, concurrency=1, part_size=8 * MIB)
        async with uploader.upload_many(jobs) as outcomes:
            ended = [outcome async for outcome in outcomes]
        assert [outcome.error for outcome in ended] == [None] * len(jobs)
        assert sorted(file.filename for file in server.files) == sorted(path.name for path in paths)
        for outcome in ended:
            assert outcome.result is not None
            assert md5_of(server.stored(outcome.result.file.id)) == md5_of(Path(str(outcome.job.source)))


async def test_one_that_was_interrupted_goes_on_in_order(journal: Path, make_file: MakeFile) -> None:
    path = make_file(40 * MIB + 7)
    async with LocalServer(**ON_S3) as server, Client("sk-test", base_url=server.url) as client:
        options: dict[str, Any] = {"journal": journal, "concurrency": 1, "part_size": 8 * MIB}
        server.inject(Fault("part", "answer", "before", status=400, nth=4))
        with pytest.raises(BadRequestError):
            await AsyncUploader(client, **options).upload(path, purpose="user_data")
        result = await AsyncUploader(client, **options).upload(path, purpose="user_data")
        assert result.bytes_resumed == 24 * MIB
        assert md5_of(server.stored(result.file.id)) == md5_of(path)


@pytest.mark.parametrize(("concurrency", "part_size"), [(4, 8 * MIB), (1, MIB)])
async def test_else_the_error_says_how(journal: Path, make_file: MakeFile, concurrency: int, part_size: int) -> None:
    path = make_file(40 * MIB + 7)
    async with LocalServer(**ON_S3) as server, Client("sk-test", base_url=server.url) as client:
        server.inject(Fault("part", "stall", "in", nth=1, seconds=0.5))
        uploader = AsyncUploader(client, journal=journal, concurrency=concurrency, part_size=part_size)
        with pytest.raises(BadRequestError) as caught:
            await uploader.upload(path, purpose="user_data")
        assert caught.value.advice == PARTS_IN_ORDER
        assert not server.files
        usual = AsyncUploader(client, journal=journal, concurrency=1, part_size=8 * MIB)
        result = await usual.upload(path, purpose="user_data", resume=False)
        assert md5_of(server.stored(result.file.id)) == md5_of(path)


async def test_an_upload_may_take_a_day_where_the_server_keeps_it_so_long(
    journal: Path, make_file: MakeFile, now: list[float], clock: Callable[[], float]
) -> None:
    path = make_file(8 * MIB)
    async with LocalServer(upload_ttl=86_400, clock=clock) as server:
        async with Client("sk-test", base_url=server.url) as client:
            server.inject(Fault("part", "answer", "before", status=400, nth=5))
            uploader = AsyncUploader(client, journal=journal, concurrency=1, part_size=MIB)
            with pytest.raises(BadRequestError) as caught:
                await uploader.upload(path, purpose="user_data")
            assert caught.value.expires_in is not None
            assert caught.value.expires_in > 86_000
        now[0] += 20 * 3600
        async with Client("sk-test", base_url=server.url) as client:
            result = await AsyncUploader(client, journal=journal, part_size=MIB).upload(path, purpose="user_data")
        assert result.bytes_resumed == 4 * MIB
        assert md5_of(server.stored(result.file.id)) == md5_of(path)


@pytest.mark.parametrize("repeated", [200, 400, 409])
async def test_a_lost_complete_is_never_guessed_where_created_at_differs(
    journal: Path, make_file: MakeFile, clock: Callable[[], float], repeated: int
) -> None:
    path = make_file(3 * MIB)
    server = LocalServer(created_at="complete", repeated_complete=repeated, clock=clock)
    async with server, Client("sk-test", base_url=server.url, timing=BRIEF_SEARCH) as client:
        uploader = AsyncUploader(client, journal=journal, part_size=MIB, max_retries=1)
        server.inject(Fault("complete", "close", "done"))
        if repeated == 200:
            assert (await uploader.upload(path, purpose="batch", check="none")).file.id == server.files[0].id
        else:
            for _ in range(2):
                with pytest.raises(CompletionUnknownError) as caught:
                    await uploader.upload(path, purpose="batch", check="none")
                assert server.files[0].id in str(caught.value)
            assert "If it is yours, use it" in caught.value.advice
        assert len(server.files) == 1
        assert server.calls["create"] == 1


AZURES = {
    "error": {"code": "quotaExceeded", "message": "The quota for files without expiry is reached. The maximum is 500."}
}


@pytest.mark.parametrize("method", ["uploads", "files"])
async def test_a_quota_of_files_says_what_to_do(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile, method: Any
) -> None:
    route = "create" if method == "uploads" else "files.create"
    server.inject(Fault(route, "answer", "before", status=400, body=AZURES))  # type: ignore[arg-type]  # one of them
    with pytest.raises(BadRequestError, match=r"Azure keeps 500 files .* 10,000 .* files prune.*--expires-after 30d"):
        await uploader.upload(make_file(MIB), purpose="user_data", method=method)


def test_what_is_said_of_files_elsewhere_is_no_quota_of_files() -> None:
    body = json.dumps({"error": {"message": "Too many files: the maximum is 16 images."}}).encode()
    assert "Azure" not in str(status_error(400, {}, body, request="POST /images/edits"))
