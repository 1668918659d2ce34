"""Several processes and one file: one upload, whoever comes when, and whoever of them dies."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.server import Fault
from asyncsdk.wal.lock import owner
from tests.faults.support import (
    LIMIT,
    MIB,
    Job,
    ServerProcess,
    Uploading,
    make_file,
    serving,
    start,
    stop_at_the_first_part,
    upload,
)

SIZE = 4 * MIB + 12345


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    async with serving(tmp_path / "server") as running:
        yield running


def job(server: ServerProcess, folder: Path, **changes: Any) -> Job:
    path = folder / "data.bin"
    return Job(server.url, path if path.exists() else make_file(path, SIZE), folder / "journal", **changes)


@asynccontextmanager
async def held(job: Job) -> AsyncIterator[Uploading]:
    """A process in the middle of its upload, stopped for the length of the block."""
    running = start(job, stop_at_the_first_part)
    await running.until_stopped()
    try:
        yield running
    finally:
        os.kill(running.pid, signal.SIGCONT)


async def until_met(server: ServerProcess) -> None:
    async with asyncio.timeout(LIMIT):
        while (await server.stats())["unmet_faults"]:
            await asyncio.sleep(0.01)


async def started(*jobs: Job) -> list[Uploading]:
    """Processes that have found out that they have to wait."""
    running = [start(job) for job in jobs]
    await asyncio.gather(*(each.until_waiting() for each in running))
    return running


async def answers_of(running: list[Uploading]) -> list[dict[str, Any]]:
    answers = await asyncio.gather(*(each.answer() for each in running))
    assert None not in answers
    return [answer for answer in answers if answer is not None]


async def the_one_file(server: ServerProcess, job: Job) -> str:
    [file] = server.files()
    assert server.content(file["id"]) == job.path.read_bytes()
    return str(file["id"])


@pytest.mark.parametrize("others", [1, 9])
async def test_all_who_come_while_one_sends_get_its_file_and_send_nothing(
    server: ServerProcess, tmp_path: Path, others: int
) -> None:
    one = job(server, tmp_path)
    async with held(one) as first:
        waiting = await started(*[one] * others)
        assert all(each.process.exitcode is None for each in waiting)
    answers = await answers_of([first, *waiting])
    file_id = await the_one_file(server, one)
    assert {answer["file_id"] for answer in answers} == {file_id}
    assert [answer["reused"] for answer in answers] == [False] + [True] * others
    assert [answer["bytes_sent"] for answer in answers] == [SIZE] + [0] * others
    requests = (await server.stats())["requests"]
    assert (requests["create"], requests["complete"]) == (1, 1)


async def test_ten_that_start_at_once_make_one_upload(server: ServerProcess, tmp_path: Path) -> None:
    one = job(server, tmp_path)
    answers = await answers_of([start(one) for _ in range(10)])
    assert {answer["file_id"] for answer in answers} == {await the_one_file(server, one)}
    assert sorted(answer["bytes_sent"] for answer in answers) == [0] * 9 + [SIZE]
    requests = (await server.stats())["requests"]
    assert (requests["create"], requests["complete"]) == (1, 1)


async def test_where_the_owner_is_killed_one_of_those_who_wait_goes_on_and_all_get_the_file(
    server: ServerProcess, tmp_path: Path
) -> None:
    one = job(server, tmp_path, concurrency=1)
    await server.inject(Fault("part", "stall", "before", nth=3))
    first = start(one)
    await until_met(server)
    others = await started(*[one] * 4)
    assert all(each.process.exitcode is None for each in others)
    await first.kill()
    answers = await answers_of(others)
    assert {answer["file_id"] for answer in answers} == {await the_one_file(server, one)}
    assert sorted(answer["reused"] for answer in answers) == [False, True, True, True]
    assert sum(answer["bytes_sent"] for answer in answers) == SIZE - 2 * MIB
    assert (await server.stats())["requests"]["create"] == 1


async def test_where_each_owner_is_killed_the_last_one_brings_it_up(server: ServerProcess, tmp_path: Path) -> None:
    one = job(server, tmp_path, part_size=MIB // 2, concurrency=1)
    living = {(each := start(one, stop_at_the_first_part)).pid: each for _ in range(6)}
    for _ in range(5):
        await living.pop(await stopped_owner(one.journal, living)).kill()
    os.kill(await stopped_owner(one.journal, living), signal.SIGCONT)
    [answer] = await answers_of([*living.values()])
    assert answer["file_id"] == await the_one_file(server, one)
    assert (answer["bytes_resumed"], answer["bytes_sent"]) == (5 * MIB // 2, SIZE - 5 * MIB // 2)
    requests = (await server.stats())["requests"]
    assert (requests["create"], requests["complete"]) == (1, 1)


async def stopped_owner(journal: Path, living: dict[int, Uploading]) -> int:
    """The pid of the one of `living` that has the file's lock, once it has stopped itself."""
    async with asyncio.timeout(LIMIT):
        while (found := owner(next(iter((journal / "locks").glob("*.owner")), journal))) is None or (
            found.pid not in living
        ):
            await asyncio.sleep(0.005)
    await living[found.pid].until_stopped()
    return found.pid


async def test_who_will_not_wait_fails_at_once_and_can_be_called_again(server: ServerProcess, tmp_path: Path) -> None:
    one = job(server, tmp_path)
    impatient = job(server, tmp_path, options={"on_busy": "fail"})
    async with held(one) as first:
        [refused] = await answers_of([start(impatient)])
    assert (refused["error"], refused["resumable"]) == ("UploadBusyError", True)
    assert str(first.pid) in refused["message"]
    [answer] = await answers_of([first])
    assert (await upload(impatient))["file_id"] == answer["file_id"]


async def test_one_file_under_two_names_is_one_upload_where_the_names_are_links(
    server: ServerProcess, tmp_path: Path
) -> None:
    one = job(server, tmp_path, options={"filename": "data.bin"})
    (link := tmp_path / "link.bin").symlink_to(one.path)
    linked = Job(server.url, link, one.journal, options={"filename": "data.bin"})
    async with held(one) as first:
        waiting = await started(linked)
    answers = await answers_of([first, *waiting])
    assert {answer["file_id"] for answer in answers} == {await the_one_file(server, one)}
    assert answers[1]["reused"]


async def test_another_name_or_type_or_life_is_another_file_and_nobody_waits(
    server: ServerProcess, tmp_path: Path
) -> None:
    differing: list[dict[str, Any]] = [{"filename": "b.bin"}, {"mime_type": "text/plain"}, {"expires_after": 3600}]
    async with held(job(server, tmp_path)) as first:
        others = await answers_of([start(job(server, tmp_path, options=options)) for options in differing])
    [answer] = await answers_of([first])
    assert {file["id"] for file in server.files()} == {each["file_id"] for each in [answer, *others]}
    assert len(server.files()) == 4


async def test_two_purposes_are_two_files_side_by_side(server: ServerProcess, tmp_path: Path) -> None:
    both = [job(server, tmp_path), job(server, tmp_path, purpose="user_data")]
    answers = await answers_of([start(each) for each in both])
    assert len({answer["file_id"] for answer in answers}) == 2
    assert {file["purpose"] for file in server.files()} == {"batch", "user_data"}
    again = [await upload(each) for each in both]
    assert [each["file_id"] for each in again] == [answer["file_id"] for answer in answers]
    assert (await server.stats())["requests"]["create"] == 2
