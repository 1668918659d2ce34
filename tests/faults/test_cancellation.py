"""Cancelled at each step, natively or by a scope: within a second nothing is left, and the next call goes on."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from asyncsdk import AsyncUploader, BadRequestError, Client
from asyncsdk.server import Fault, LocalServer
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.sources.source import PathSource
from tests.faults.cancels import HOWS, LIMIT, How, Running, Victim, cancel_at_steps
from tests.faults.leaving import left_behind, still_left, stopwatch, threads_of, within_a_second
from tests.faults.table import Row
from tests.stories.support import MIB


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(random.Random(1).randbytes(MIB + 1000))
    return path


@pytest.mark.parametrize("how", HOWS)
async def test_at_each_step(server: LocalServer, tmp_path: Path, how: How) -> None:
    row = Row("cancels")
    server.clear_faults()
    await cancel_at_steps(server, tmp_path, how, range(1, 1000), row)
    assert row.violations == []
    assert row.cases > 20


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Reads that hang in the kernel until this is set."""
    go_on, read_at = threading.Event(), PathSource._read_at  # noqa: SLF001 - what a thread does; nothing else hangs with it

    def hang(source: PathSource, offset: int, view: memoryview) -> int:
        go_on.wait(20)
        return read_at(source, offset, view)

    monkeypatch.setattr(PathSource, "_read_at", hang)
    monkeypatch.setattr(PathSource, "read_now", lambda *_: False)
    yield go_on
    go_on.set()


@pytest.mark.parametrize("how", HOWS)
async def test_while_a_read_is_stuck_in_a_thread(
    server: LocalServer, path: Path, stuck: threading.Event, how: How
) -> None:
    victim = Victim(server, path)
    running = Running(how, victim.upload)
    while not sum(each.busy for each in victim.threads) > 1:
        await asyncio.sleep(0.01)
    with stopwatch() as watch:
        running.cancel()
        await asyncio.wait([running.task], timeout=LIMIT)
        assert running.was_cancelled
        assert await still_left(lambda: left_behind([], path.parent / "journal"), watch) == []
        assert watch.seconds <= 1
    stuck.set()
    await within_a_second(victim.left)


@pytest.mark.parametrize("kind", ["asyncio", "anyio"])
async def test_of_twenty_uploads_in_a_group_one_fails(server: LocalServer, tmp_path: Path, kind: str) -> None:
    paths = [tmp_path / f"{kind}-{number}.bin" for number in range(20)]
    for number, path in enumerate(paths):
        path.write_bytes(random.Random(number).randbytes(MIB + number))
    server.clear_faults()
    server.inject(Fault("part", "answer", "after", nth=12, status=400))
    threads: list[DaemonThreadPool] = []
    began = time.monotonic()
    with pytest.raises(ExceptionGroup) as failures:
        await all_at_once(kind, server, paths, threads)
    assert time.monotonic() - began < 10
    assert failures.group_contains(BadRequestError)
    await within_a_second(lambda: left_behind(threads, tmp_path, port=server.port))
    server.assert_all_met()
    await all_at_once("asyncio", server, paths, threads)
    for path in paths:
        (file,) = [file for file in server.files if file.filename == path.name]
        assert server.stored(file.id).read_bytes() == path.read_bytes()


async def all_at_once(kind: str, server: LocalServer, paths: list[Path], threads: list[DaemonThreadPool]) -> None:
    async with Client("sk-test", base_url=server.url) as client:
        uploader = AsyncUploader(client, journal=paths[0].parent / "journal", part_size=MIB // 2)
        threads += threads_of(uploader)

        async def send(path: Path) -> None:
            await uploader.upload(path, purpose="batch")

        if kind == "asyncio":
            async with asyncio.TaskGroup() as natively:
                for path in paths:
                    natively.create_task(send(path))
        else:
            async with anyio.create_task_group() as group:
                for path in paths:
                    group.start_soon(send, path)
