"""Many uploads in one run: counted as they end, stopped in good order, and none lost that ended without being read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import anyio
import pytest

from asyncsdk import AsyncUploader, Client, Progress, UploadJob, UploadOutcome, UploadOutcomes
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from tests.stories.support import MIB, MakeFile


def jobs_of(make_file: MakeFile, count: int, size: int = 1000) -> list[UploadJob]:
    return [UploadJob(make_file(size, f"{n}.bin", seed=n), "batch", method="uploads") for n in range(count)]


async def until(reached: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not reached():
            await anyio.sleep(0.005)


def named(outcomes: list[UploadOutcome] | tuple[UploadOutcome, ...]) -> set[str]:
    return {outcome.job.describe() for outcome in outcomes}


async def test_outcomes_are_counted_by_how_they_ended(uploader: AsyncUploader, make_file: MakeFile) -> None:
    first, *others = jobs = jobs_of(make_file, 4)
    await uploader.upload(first.source, purpose="batch")
    async with uploader.upload_many([*jobs, UploadJob("missing.bin", "batch")]) as outcomes:
        assert isinstance(outcomes, UploadOutcomes)
        assert outcomes.counts == {}
        ended = [outcome async for outcome in outcomes]
        assert outcomes.counts == {"done": 3, "reused": 1, "failed": 1}
        outcomes.counts.clear()  # a copy
    assert outcomes.counts == {"done": 3, "reused": 1, "failed": 1}
    assert outcomes.abandoned == ()
    assert {outcome.job.describe(): outcome.status for outcome in ended} == {
        first.describe(): "reused",
        **{job.describe(): "done" for job in others},
        "missing.bin": "failed",
    }


async def test_a_stop_lets_what_is_under_way_end_well_and_begins_nothing(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    server.inject(Fault("part", "stall", "before", every=1, times=2, seconds=0.5))
    uploader = AsyncUploader(client, journal=journal, concurrency=2)
    jobs = jobs_of(make_file, 6)
    async with uploader.upload_many(jobs) as outcomes:
        await until(lambda: server.calls.get("part") == 2)
        outcomes.stop()
        outcomes.stop()
        ended = [outcome async for outcome in outcomes]
    assert [outcome.error for outcome in ended] == [None, None]
    assert outcomes.counts == {"done": 2}
    assert len(server.files) == 2
    async with uploader.upload_many(jobs) as outcomes:
        assert len([outcome async for outcome in outcomes]) == 6
        assert outcomes.counts == {"reused": 2, "done": 4}


@pytest.mark.parametrize("timing", [Timing(admission_poll=3600)], ids=[""])
async def test_a_stop_ends_the_wait_of_those_that_are_to_begin_later(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    server.inject(Fault("part", "stall", "before", every=1, times=1, seconds=0.5))
    uploader = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=2, limit_rate=16 * MIB)
    seen: list[Progress] = []
    async with uploader.upload_many(jobs_of(make_file, 5, 4 * MIB), on_progress=seen.append) as outcomes:
        await until(lambda: any(progress.bytes_sent for progress in seen))
        outcomes.stop()
        with anyio.fail_after(10):
            ended = [outcome async for outcome in outcomes]
    assert named(ended) == {progress.source for progress in seen} == {"0.bin"}
    assert outcomes.counts == {"done": 1}


@pytest.mark.parametrize("timing", [Timing(admission_poll=3600)], ids=[""])
async def test_a_stop_does_not_wait_for_another_run_s_turn(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    server.inject(Fault("part", "stall", "before", every=1, times=1, seconds=60))
    uploader = AsyncUploader(client, journal=journal, concurrency=1)
    taken: list[UploadJob] = []

    def taking(*jobs: UploadJob) -> Iterator[UploadJob]:
        for job in jobs:
            taken.append(job)
            yield job

    one, two, *others = jobs_of(make_file, 4)
    runs = [uploader.upload_many(taking(*jobs)) for jobs in ([one], [two], others)]
    async with runs[0], runs[1], runs[2] as outcomes:
        await until(lambda: server.calls.get("part") == 1 and len(taken) == 3)
        outcomes.stop()
        with anyio.fail_after(10):
            assert [outcome async for outcome in outcomes] == []


async def test_a_stop_does_not_wait_for_jobs_that_do_not_come(uploader: AsyncUploader, make_file: MakeFile) -> None:
    [job] = jobs_of(make_file, 1)

    async def jobs() -> AsyncIterator[UploadJob]:
        yield job
        await anyio.sleep_forever()

    async with uploader.upload_many(jobs()) as outcomes:
        assert (await anext(outcomes)).error is None
        outcomes.stop()
        with anyio.fail_after(10):
            assert [outcome async for outcome in outcomes] == []


async def test_nothing_is_begun_after_a_stop_before_the_first(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    async with uploader.upload_many(jobs_of(make_file, 6)) as outcomes:
        outcomes.stop()
        assert [outcome async for outcome in outcomes] == []
    assert server.files == []


async def test_what_ended_and_was_not_read_is_there_once_the_block_is_left(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    jobs = jobs_of(make_file, 4)
    async with AsyncUploader(client, journal=journal, concurrency=2).upload_many(jobs) as outcomes:
        read = await anext(outcomes)
        await until(lambda: outcomes.counts["done"] == 3)
    assert len(outcomes.abandoned) == 2
    assert named(outcomes.abandoned) | {read.job.describe()} <= named([UploadOutcome(job=job) for job in jobs])
    assert read not in outcomes.abandoned
    assert {outcome.status for outcome in outcomes.abandoned} == {"done"}
    assert len(server.files) == 3


async def test_an_error_of_the_jobs_source_is_raised_once_all_under_way_has_ended(
    server: LocalServer, uploader: AsyncUploader, make_file: MakeFile
) -> None:
    server.inject(Fault("part", "stall", "before", every=1, times=2, seconds=0.3))

    async def jobs() -> AsyncIterator[UploadJob]:
        for job in jobs_of(make_file, 2):
            yield job
        await until(lambda: server.calls.get("part") == 2)
        raise ZeroDivisionError("the list is broken")

    async with uploader.upload_many(jobs()) as outcomes:
        ended = [await anext(outcomes), await anext(outcomes)]
        with pytest.raises(ZeroDivisionError, match="the list is broken"):
            await anext(outcomes)
        assert [outcome async for outcome in outcomes] == []
    assert [outcome.status for outcome in ended] == ["done", "done"]


async def test_a_source_of_jobs_that_fails_at_once_is_an_error_and_not_an_empty_one(uploader: AsyncUploader) -> None:
    jobs = (UploadJob(str(1 // n), "batch") for n in [0])
    async with uploader.upload_many(jobs) as outcomes:
        with pytest.raises(ZeroDivisionError):
            await anext(outcomes)
