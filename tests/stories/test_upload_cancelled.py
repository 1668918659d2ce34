"""Cancelled at any moment an upload leaves within a second, leaves nothing behind, and can go on."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from asyncsdk import (
    AsyncSDKError,
    AsyncUploader,
    BadRequestError,
    Client,
    ConfigurationError,
    FileJournal,
    Progress,
    UploadBusyError,
    UploadJob,
    UploadNotFoundError,
)
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from asyncsdk.uploads.journal import file as file_journal
from asyncsdk.uploads.resuming.resume import Stage, replay
from asyncsdk.wal import ranges
from asyncsdk.wal.segments import Segments
from tests.faults.leaving import cancelled_at_once, stopwatch, threads_of
from tests.stories.support import MIB, MakeFile
from tests.uploads.upload_helpers import Gate
from tests.waiting import until as arrival


def files_under(folder: Path) -> int:
    """Descriptors of this process that are open on something in `folder`."""
    return sum(os.path.realpath(link).startswith(str(folder)) for link in Path("/proc/self/fd").iterdir())


def jobs_of(uploader: AsyncUploader) -> int:
    """How many jobs its threads are at."""
    return sum(pool.busy for pool in threads_of(uploader))


@pytest.mark.parametrize("after", [0.0, 0.002, 0.01, 0.03, 0.06, 0.1, 0.2, 0.4])
async def test_a_native_cancel_at_any_moment_leaves_nothing_and_resumes(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, after: float
) -> None:
    server.inject(Fault("complete", "stall", "before"))  # however fast the machine, it has not ended before
    path = make_file()
    uploader = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=3, limit_rate=20 * MIB)
    task = asyncio.create_task(uploader.upload(path, purpose="batch"))
    await asyncio.sleep(after)
    await cancelled_at_once(task)
    server.clear_faults()
    assert [each for each in asyncio.all_tasks() if "upload" in repr(each.get_coro())] == []
    await until(lambda: jobs_of(uploader) == files_under(path) == files_under(journal) == 0)
    result = await AsyncUploader(client, journal=journal, part_size=MIB).upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()


async def until(settled: Callable[[], bool]) -> None:
    with stopwatch() as watch:
        while not settled():
            assert watch.seconds < 1
            await anyio.sleep(0.005)


async def test_a_cancelled_upload_reports_last_what_the_journal_holds_then(
    client: Client, journal: Path, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, writes, third = Segments.append, itertools.count(1), Gate()

    def held_up(segments: Segments, lines: bytes) -> None:
        if next(writes) == 3:  # after how it began, and its first part
            third()
        write(segments, lines)

    monkeypatch.setattr(Segments, "append", held_up)
    monkeypatch.setattr(file_journal, "WRITE_SECONDS", 20.0)
    seen: list[Progress] = []
    uploader = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=1)
    task = asyncio.create_task(uploader.upload(make_file(), purpose="batch", on_progress=seen.append))
    await arrival(third.reached.is_set)
    task.cancel()
    await asyncio.sleep(0)
    third.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    (entry,) = await FileJournal(journal).entries()
    recalled = replay(entry.records)
    assert recalled is not None
    assert seen[-1].bytes_done == recalled.bytes_held == 2 * MIB


async def test_a_cancel_scope_is_obeyed_while_the_server_stalls(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    server.inject(Fault("part", "stall", "in", every=1))
    with stopwatch() as watch:
        with anyio.move_on_after(0.3) as scope:
            await AsyncUploader(client, journal=journal).upload(make_file(), purpose="batch")
        assert watch.seconds < 1.3
    assert scope.cancelled_caught


async def test_a_failing_neighbour_in_a_task_group_stops_all_uploads(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    paths = [make_file(2 * MIB, f"{n}.bin", seed=n) for n in range(5)]
    uploader = AsyncUploader(client, journal=journal, limit_rate=MIB)

    async def fail() -> None:
        await anyio.sleep(0.2)
        raise ZeroDivisionError

    async def all_at_once() -> None:
        async with asyncio.TaskGroup() as group:
            for path in paths:
                group.create_task(uploader.upload(path, purpose="batch"))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as failures:
        await all_at_once()
    assert isinstance(failures.value.exceptions[0], ZeroDivisionError)
    await until(lambda: jobs_of(uploader) == 0)
    assert files_under(journal) == 0


async def test_leaving_upload_many_early_cancels_the_rest(client: Client, journal: Path, make_file: MakeFile) -> None:
    uploader = AsyncUploader(client, journal=journal, concurrency=2, limit_rate=10 * MIB)
    jobs = [UploadJob(make_file(1000 if n == 0 else 8 * MIB, f"{n}.bin", seed=n), "batch") for n in range(4)]
    with stopwatch() as watch:
        async with uploader.upload_many(jobs) as outcomes:
            async for _ in outcomes:
                break
        assert watch.seconds < 2


@pytest.mark.parametrize("timing", [Timing(thread_idle=0.05)], ids=[""])
async def test_threads_go_home_when_there_is_no_more_work(client: Client, journal: Path, make_file: MakeFile) -> None:
    uploader = AsyncUploader(client, journal=journal)
    await uploader.upload(make_file(), purpose="batch")
    reading, hashing, _ = threads_of(uploader)
    await until(lambda: reading.alive == hashing.alive == 0)


async def test_cancel_ends_the_upload_on_the_server_and_settles_the_journal(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    uploader = AsyncUploader(client, journal=journal, part_size=MIB)
    upload_id = await begin_and_stop(server, uploader, path)
    cancelled = await uploader.cancel(upload_id)
    assert cancelled.status == "cancelled"
    (entry,) = await FileJournal(journal).entries()
    assert {type(record).__name__ for record in entry.records} == {"Opened", "Cancelled"}
    result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
    assert result.bytes_resumed == 0


async def begin_and_stop(server: LocalServer, uploader: AsyncUploader, path: Path) -> str:
    """Cancel an upload once a part of it has arrived; it can't end before, since the server reads no third one."""
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if progress.bytes_done:
            task.cancel()

    server.inject(Fault("part", "stall", "before", nth=3, every=1))
    task = asyncio.create_task(uploader.upload(path, purpose="batch", on_progress=stop))
    with pytest.raises(asyncio.CancelledError):
        await task
    server.clear_faults()
    assert seen[-1].upload_id is not None
    return seen[-1].upload_id


async def test_cancel_of_an_upload_that_the_server_forgot_settles_it_all_the_same(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    uploader = AsyncUploader(client, journal=journal, part_size=MIB)
    upload_id = await begin_and_stop(server, uploader, make_file())
    server.inject(Fault("cancel", "answer", "before", status=404))
    with pytest.raises(UploadNotFoundError):
        await uploader.cancel(upload_id)
    (entry,) = await FileJournal(journal).entries()
    assert {type(record).__name__ for record in entry.records} == {"Opened", "Expired"}


@pytest.mark.parametrize(("status", "may_have_cancelled"), [(408, True), (500, True), (409, False)])
async def test_a_refusal_after_a_cancel_that_may_have_acted_means_that_it_did(
    server: LocalServer,
    client: Client,
    journal: Path,
    make_file: MakeFile,
    status: int,
    *,
    may_have_cancelled: bool,
) -> None:
    uploader = AsyncUploader(client, journal=journal, part_size=MIB)
    upload_id = await begin_and_stop(server, uploader, make_file())
    server.inject(Fault("cancel", "answer", "before", status=status), Fault("cancel", "answer", "before", status=400))
    if may_have_cancelled:
        assert (await uploader.cancel(upload_id)).status == "cancelled"
    else:  # a 409 says what was there before, and nothing of our own asking
        with pytest.raises(BadRequestError):
            await uploader.cancel(upload_id)


async def test_cancel_refuses_what_the_journal_does_not_hold_for_this_server(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    uploader = AsyncUploader(client, journal=journal, part_size=MIB)
    upload_id = await begin_and_stop(server, uploader, make_file())
    with pytest.raises(ConfigurationError, match="no upload"):
        await uploader.cancel("upload_0")
    async with Client("k", base_url="http://127.0.0.1:9/v1") as elsewhere:
        with pytest.raises(ConfigurationError, match="was started with the base URL"):
            await AsyncUploader(elsewhere, journal=journal).cancel(upload_id)


async def test_what_is_being_sent_cannot_be_cancelled_by_another(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    server.inject(Fault("part", "stall", "before", every=1))
    uploader = AsyncUploader(client, journal=journal, part_size=MIB)
    task = asyncio.create_task(uploader.upload(make_file(), purpose="batch"))
    await arrival(lambda: server.calls.get("part"))
    with pytest.raises(UploadBusyError):
        await AsyncUploader(client, journal=journal).cancel(server.uploads[-1].id)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_resume_goes_on_by_the_uploads_id(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    path = make_file()
    uploader = AsyncUploader(client, journal=journal, part_size=MIB)
    upload_id = await begin_and_stop(server, uploader, path)
    result = await AsyncUploader(client, journal=journal).resume(upload_id)
    assert result.bytes_resumed > 0
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()


@pytest.mark.skipif(not ranges.SUPPORTED, reason="the platform locks no ranges for open files")
async def test_a_small_upload_that_stopped_is_cancelled_or_gone_on_with_and_gets_no_folder(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    uploader = AsyncUploader(client, journal=journal)
    for number in range(2):
        server.inject(Fault("part", "answer", "before", status=400))
        with pytest.raises(AsyncSDKError):
            await uploader.upload(make_file(1000, f"small-{number}", number), purpose="batch")
    first, second = server.uploads
    fresh = AsyncUploader(client, journal=journal)
    assert (await fresh.cancel(first.id)).status == "cancelled"
    resumed = await fresh.resume(second.id)
    assert resumed.upload is not None
    assert resumed.upload.id == second.id
    assert not (journal / "uploads").exists()
    stages = {entry.key: replay(entry.records) for entry in await FileJournal(journal).entries()}
    assert sorted(state.stage for state in stages.values() if state) == [Stage.CANCELLED, Stage.COMPLETED]
