"""No call ever answers with another upload's file, and not being able to look is no proof of absence."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from asyncsdk import (
    AsyncUploader,
    BadRequestError,
    Client,
    CompletionUnknownError,
    ConfigurationError,
    FileJournal,
    InternalServerError,
    PayloadTooLargeError,
    Progress,
    RateLimitError,
    ResponseMismatchError,
    UploadExpiredError,
    UploadJob,
    api,
)
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from tests.stories.support import BRIEF_SEARCH, MIB, MakeFile, refused_at_complete

LOST_BEFORE = Fault("complete", "reset", "after", every=1)


@pytest.fixture
def timing() -> Timing:
    return BRIEF_SEARCH


async def leave_in_doubt(server: LocalServer, client: Client, journal: Path, path: Path) -> None:
    server.inject(LOST_BEFORE)
    with pytest.raises(CompletionUnknownError):
        await AsyncUploader(client, journal=journal, max_retries=0).upload(path, purpose="batch")
    server.clear_faults()


async def test_a_namesake_made_after_the_hour_is_not_taken(tmp_path: Path, journal: Path, make_file: MakeFile) -> None:
    clock = {"now": time.time()}
    mine, other = make_file(2 * MIB), tmp_path / "elsewhere" / "data.bin"
    other.parent.mkdir()
    other.write_bytes(b"x" * (2 * MIB))
    async with (
        LocalServer(tmp_path / "server", clock=lambda: clock["now"]) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH) as client,
    ):
        await leave_in_doubt(server, client, journal, mine)
        clock["now"] += 3600 + 400
        theirs = await AsyncUploader(client, journal="memory").upload(other, purpose="batch")
        ours = await AsyncUploader(client, journal=journal).upload(mine, purpose="batch")
        assert ours.file.id != theirs.file.id
        assert server.stored(ours.file.id).read_bytes() == mine.read_bytes()


@pytest.mark.parametrize("status", [403, 500])
async def test_not_being_able_to_look_makes_no_second_file(
    tmp_path: Path, journal: Path, make_file: MakeFile, status: int
) -> None:
    clock = {"now": time.time()}
    path = make_file(2 * MIB)
    async with (
        LocalServer(tmp_path / "server", clock=lambda: clock["now"]) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH, max_retries=0) as client,
    ):
        await leave_in_doubt(server, client, journal, path)
        clock["now"] += 3600 + 400
        server.inject(Fault("files.list", "answer", "before", every=1, status=status))
        with pytest.raises(CompletionUnknownError, match="could not be listed"):
            await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
        assert server.calls["create"] == 1


async def test_of_two_alike_the_one_known_to_be_another_upload_is_ruled_out(
    tmp_path: Path, journal: Path, make_file: MakeFile
) -> None:
    now = int(time.time())
    mine, other = make_file(2 * MIB), tmp_path / "elsewhere" / "data.bin"
    other.parent.mkdir()
    other.write_bytes(b"x" * (2 * MIB))
    async with (
        LocalServer(tmp_path / "server", clock=lambda: now, repeated_complete=400) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH) as client,
    ):
        uploader = AsyncUploader(client, journal=journal)
        theirs = await uploader.upload(other, purpose="batch")
        server.inject(Fault("complete", "reset", "done"))
        ours = await uploader.upload(mine, purpose="batch")
        assert ours.file.id != theirs.file.id
        assert server.stored(ours.file.id).read_bytes() == mine.read_bytes()


@pytest.mark.parametrize("made", [True, False])
async def test_files_that_the_same_path_became_before_are_ruled_out(
    tmp_path: Path, journal: Path, make_file: MakeFile, *, made: bool
) -> None:
    now = int(time.time())
    async with (
        LocalServer(tmp_path / "server", clock=lambda: now, repeated_complete=400) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH, max_retries=1) as client,
    ):
        uploader = AsyncUploader(client, journal=journal, max_retries=1)
        earlier = [await uploader.upload(make_file(MIB, seed=seed), purpose="batch") for seed in (1, 2)]
        path = make_file(MIB, seed=3)
        server.inject(Fault("complete", "reset", "done" if made else "after", every=1, times=1))
        server.inject(Fault("complete", "answer", "before", nth=2, status=400))
        if made:
            result = await uploader.upload(path, purpose="batch")
            assert server.stored(result.file.id).read_bytes() == path.read_bytes()
        else:
            with pytest.raises(CompletionUnknownError):
                await uploader.upload(path, purpose="batch")
        assert len(server.files) == len(earlier) + made


async def test_one_key_with_two_contents_gives_each_its_own_file(
    server: LocalServer, client: Client, journal: Path
) -> None:
    uploader = AsyncUploader(client, journal=journal)
    contents = [b"a" * MIB, b"b" * MIB]
    results = await asyncio.gather(*(uploader.upload(each, purpose="batch", key="same") for each in contents))
    assert [server.stored(result.file.id).read_bytes() for result in results] == contents


async def test_create_is_not_retried_for_ever(server: LocalServer, client: Client, make_file: MakeFile) -> None:
    server.inject(Fault("create", "answer", "before", status=503), Fault("create", "reset", "before", nth=2, every=1))
    uploader = AsyncUploader(client, journal="memory", max_retries=1)
    async with asyncio.timeout(10):
        with pytest.raises(Exception, match="POST /uploads"):
            await uploader.upload(make_file(100), purpose="batch")


async def test_files_that_each_fit_their_hour_all_arrive_together(
    tmp_path: Path, journal: Path, make_file: MakeFile
) -> None:
    async with (
        LocalServer(tmp_path / "server", upload_ttl=5) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH) as client,
    ):
        uploader = AsyncUploader(client, journal=journal, part_size=MIB // 2, concurrency=4, limit_rate=2 * MIB)
        jobs = [UploadJob(make_file(3 * MIB, f"{n}.bin", seed=n), "batch") for n in range(4)]
        async with uploader.upload_many(jobs) as outcomes:
            failures = [outcome.error async for outcome in outcomes if outcome.error]
    assert failures == []


async def test_what_is_completed_is_not_cancelled(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    path = make_file(1000)
    result = await uploader.upload(path, purpose="batch")
    assert result.upload is not None
    with pytest.raises(ConfigurationError, match="is completed"):
        await uploader.cancel(result.upload.id)
    assert (await uploader.upload(path, purpose="batch")).reused


async def test_what_may_be_completed_is_not_forgotten_by_a_cancel(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file(1000)
    server.inject(Fault("complete", "reset", "done", every=1))
    uploader = AsyncUploader(client, journal=journal, max_retries=0)
    with pytest.raises(CompletionUnknownError) as unknown:
        await uploader.upload(path, purpose="batch")
    server.clear_faults()
    server.inject(Fault("cancel", "answer", "before", status=404))
    with pytest.raises(CompletionUnknownError):
        await uploader.cancel(unknown.value.upload_id or "")
    await uploader.upload(path, purpose="batch")
    assert len([file async for file in client.pages(api.list_files())]) == 1


async def test_another_project_neither_resumes_nor_cancels(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    server.inject(Fault("part", "answer", "before", nth=3, every=1, status=400))
    uploader = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=1)
    with pytest.raises(BadRequestError) as stopped:
        await uploader.upload(make_file(), purpose="batch")
    server.clear_faults()
    assert stopped.value.progress is not None
    upload_id = stopped.value.progress.upload_id or ""
    async with Client("k", base_url=server.url, timing=BRIEF_SEARCH, project="proj_other") as elsewhere:
        for attempt in (
            AsyncUploader(elsewhere, journal=journal).resume(upload_id),
            AsyncUploader(elsewhere, journal=journal).cancel(upload_id),
        ):
            with pytest.raises(ConfigurationError, match="was started with the project"):
                await attempt
    assert server.calls["create"] == 1


async def test_resume_refuses_a_file_of_another_size_and_a_key_without_path(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    server.inject(Fault("part", "answer", "before", every=1, status=400))
    uploader = AsyncUploader(client, journal=journal)
    path = make_file(1000)
    for options in ({}, {"key": "mine"}):
        with pytest.raises(BadRequestError):
            await uploader.upload(path, purpose="batch", **options)  # type: ignore[arg-type]  # a key is text
    path.write_bytes(b"longer" * 1000)
    refusals = []
    for entry in await FileJournal(journal).entries():
        with pytest.raises(ConfigurationError) as refused:
            await uploader.resume(entry.records[0].upload)
        refusals.append(str(refused.value))
    assert any("another size" in refusal for refusal in refusals)
    assert any("has the key 'mine'" in refusal for refusal in refusals)


async def test_a_complete_refused_twice_alike_keeps_the_parts(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    server.inject(Fault("complete", "answer", "before", every=1, status=400))
    for _ in range(2):
        with pytest.raises(BadRequestError):
            await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
    server.clear_faults()
    result = await AsyncUploader(client, journal=journal, md5="base64").upload(path, purpose="batch")
    assert result.bytes_resumed == path.stat().st_size
    assert server.calls["create"] == 1


async def test_without_a_key_bytes_are_said_to_start_again(server: LocalServer, client: Client, journal: Path) -> None:
    server.inject(Fault("part", "answer", "before", every=1, status=503))
    with pytest.raises(InternalServerError, match="503") as failure:
        await AsyncUploader(client, journal=journal, max_retries=0).upload(b"bytes", purpose="batch")
    assert (failure.value.resumable, failure.value.bytes_done) == (True, 0)
    assert failure.value.advice.startswith("Repeat the call: it starts again. Without a key= it can't know")


async def test_after_a_413_all_connections_go_on_with_smaller_parts(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    server.inject(
        Fault("part", "answer", "before", status=413), Fault("part", "stall", "after", nth=2, every=1, seconds=0.2)
    )
    path = make_file(8 * MIB)
    uploader = AsyncUploader(client, journal=journal, part_size=8 * MIB, concurrency=4)
    result = await uploader.upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert server.max_parts_in_flight == 2
    assert server.calls["part"] == 3


async def test_settings_cannot_be_changed_to_no_effect(client: Client) -> None:
    uploader = AsyncUploader(client, journal="memory")
    with pytest.raises(AttributeError):
        uploader.concurrency = 2


@pytest.mark.parametrize(
    "settings",
    [
        {"concurrency": 0},
        {"concurrency": 2.5},
        {"concurrency": True},
        {"part_size": 0},
        {"part_size": 1.5e6},
        {"md5": "sha256"},
        {"limit_rate": 0},
        {"limit_rate": float("nan")},
        {"limit_rate": float("inf")},
        {"stall_timeout": float("nan")},
        {"max_retries": -1},
    ],
)
async def test_settings_out_of_range_are_refused(client: Client, settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        AsyncUploader(client, journal="memory", **settings)  # type: ignore[arg-type]  # wrong on purpose


async def test_between_two_files_that_nobody_knows_it_says_so_and_names_them(
    tmp_path: Path, journal: Path, make_file: MakeFile
) -> None:
    path, now = make_file(1000), int(time.time())
    async with (
        LocalServer(tmp_path / "server", clock=lambda: now, repeated_complete=400) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH) as client,
    ):
        stranger = await AsyncUploader(client, journal="memory").upload(path, purpose="batch")
        server.inject(Fault("complete", "reset", "done"))
        with pytest.raises(CompletionUnknownError, match=stranger.file.id):
            await AsyncUploader(client, journal=journal).upload(path, purpose="batch")


async def test_a_file_of_another_size_than_was_sent_is_not_a_success(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file(1000)
    uploader = AsyncUploader(client, journal=journal, max_retries=0)
    upload_id = await refused_at_complete(server, uploader, path)
    wrong = {"id": upload_id, "status": "completed", "file": {"id": "file-1", "bytes": 999}}
    server.inject(Fault("complete", "answer", "before", status=200, body=wrong))
    with pytest.raises(CompletionUnknownError) as unknown:
        await uploader.upload(path, purpose="batch")
    assert isinstance(unknown.value.__cause__, ResponseMismatchError)
    assert "999 bytes, not the 1000" in str(unknown.value.__cause__)
    result = await uploader.upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert server.calls["create"] == 1


async def test_a_complete_that_never_left_is_no_doubt(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file(1000)
    server.inject(Fault("complete", "answer", "before", every=1, status=429))
    with pytest.raises(RateLimitError):
        await AsyncUploader(client, journal=journal, max_retries=0).upload(path, purpose="batch")
    server.clear_faults()
    assert (await AsyncUploader(client, journal=journal).upload(path, purpose="batch")).bytes_resumed == 1000


async def test_two_parts_of_one_id_are_refused(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    server.inject(Fault("part", "answer", "after", every=1, status=200, body={"id": "part_1"}))
    uploader = AsyncUploader(client, journal=journal, part_size=MIB)
    with pytest.raises(ResponseMismatchError, match="the same id"):
        await uploader.upload(make_file(2 * MIB), purpose="batch")


async def test_the_smallest_part_refused_as_too_large_is_an_error(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    server.inject(Fault("part", "answer", "before", every=1, status=413))
    with pytest.raises(PayloadTooLargeError):
        await AsyncUploader(client, journal=journal).upload(make_file(1000), purpose="batch")


async def test_no_part_is_sent_after_the_hour(tmp_path: Path, journal: Path, make_file: MakeFile) -> None:
    clock = {"now": time.time()}
    async with (
        LocalServer(tmp_path / "server", clock=lambda: clock["now"]) as server,
        Client("k", base_url=server.url, timing=BRIEF_SEARCH) as client,
    ):
        uploader = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=1, limit_rate=20 * MIB)

        def late(progress: Progress) -> None:
            if progress.bytes_done:
                clock["now"] += 4000

        with pytest.raises(UploadExpiredError) as expired:
            await uploader.upload(make_file(), purpose="batch", on_progress=late)
        assert expired.value.resumable
