"""Cancelled at any moment, a claim leaves no descriptor, no lock and no busy thread behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.journal import Log
from asyncsdk.uploads.journal.file import FileJournal
from asyncsdk.wal.lock import KeyLock
from asyncsdk.wal.segments import Segments
from tests.faults.leaving import stopwatch
from tests.journal.support import KEY, append_parts, completed, open_below, opened

JOBS_OF_A_CLAIM = 10  # make and purge (4), lock and load, append (3), compact, unlock and close


async def whole_claim(root: Path) -> None:
    async with FileJournal(root).claim(KEY) as log:
        await log.append(opened())
        await append_parts(log)
        await log.append_final(completed())


def cancel_at_jobs(monkeypatch: pytest.MonkeyPatch, jobs: set[int], cancel: Callable[[], Any], *, late: bool) -> None:
    """Call `cancel` when these jobs are handed to a thread; `late`: when they are done and nobody knows it yet."""
    start, seen = DaemonThreadPool.start, 0

    def watch(self: DaemonThreadPool, job: Callable[[], Any]) -> Any:
        nonlocal seen
        seen += 1
        loop = asyncio.get_running_loop()
        if seen not in jobs:
            return start(self, job)
        if not late:
            cancel()
            return start(self, job)

        def run() -> Any:
            try:
                return job()
            finally:
                loop.call_soon_threadsafe(cancel)

        return start(self, run)

    monkeypatch.setattr(DaemonThreadPool, "start", watch)


async def assert_nothing_is_left(root: Path) -> None:
    async with FileJournal(root).claim(KEY, wait=False):
        pass
    assert open_below(root) == []


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("job", range(1, JOBS_OF_A_CLAIM + 1))
async def test_a_task_cancelled_during_any_job_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: int, *, late: bool
) -> None:
    task = asyncio.ensure_future(whole_claim(tmp_path))
    cancel_at_jobs(monkeypatch, {job}, task.cancel, late=late)
    with stopwatch() as watch:
        with pytest.raises(asyncio.CancelledError):
            await task
        assert watch.seconds < 1
    await assert_nothing_is_left(tmp_path)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("job", range(1, JOBS_OF_A_CLAIM))
async def test_a_task_cancelled_again_while_it_leaves_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: int
) -> None:
    task = asyncio.ensure_future(whole_claim(tmp_path))
    cancel_at_jobs(monkeypatch, {job, job + 1, job + 2}, task.cancel, late=False)
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_nothing_is_left(tmp_path)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("job", range(1, JOBS_OF_A_CLAIM))
async def test_a_scope_cancelled_during_any_job_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: int
) -> None:
    with anyio.CancelScope() as scope:
        cancel_at_jobs(monkeypatch, {job}, scope.cancel, late=False)
        await whole_claim(tmp_path)
    assert scope.cancel_called
    await assert_nothing_is_left(tmp_path)


async def test_a_claim_hands_as_many_jobs_to_threads_as_these_tests_think(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    cancel_at_jobs(monkeypatch, set(range(100)), lambda: seen.append(1), late=False)
    await whole_claim(tmp_path)
    assert len(seen) == JOBS_OF_A_CLAIM


@asynccontextmanager
async def slow(monkeypatch: pytest.MonkeyPatch, kind: type, name: str) -> AsyncIterator[threading.Event]:
    """Let calls of one method hang until the block is left; the event tells that one does."""
    hangs, go_on = threading.Event(), threading.Event()
    real = getattr(kind, name)

    def hang(self: Any, *arguments: Any) -> Any:
        hangs.set()
        go_on.wait()
        return real(self, *arguments)

    monkeypatch.setattr(kind, name, hang)
    try:
        yield hangs
    finally:
        monkeypatch.undo()
        go_on.set()


async def cancel_once(task: asyncio.Task[None], hangs: threading.Event) -> float:
    while not hangs.is_set():
        await asyncio.sleep(0.001)
    with stopwatch() as watch:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return watch.seconds


@pytest.mark.parametrize(
    ("kind", "name"),
    [(KeyLock, "try_acquire"), (KeyLock, "release"), (Segments, "read"), (Segments, "append"), (Segments, "close")],
)
async def test_a_file_system_that_hangs_keeps_nobody_for_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type, name: str
) -> None:
    await whole_claim(tmp_path)  # a key that was just made is not read
    async with slow(monkeypatch, kind, name) as hangs:
        task = asyncio.ensure_future(whole_claim(tmp_path))
        assert await cancel_once(task, hangs) < 1
    await eventually_free(tmp_path)


async def eventually_free(root: Path) -> None:
    async with asyncio.timeout(20), FileJournal(root).claim(KEY):
        pass
    assert open_below(root) == []


async def test_a_lock_that_is_got_after_its_task_was_cancelled_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asyncsdk.wal import lock

    got = threading.Event()
    hangs, go_on = threading.Event(), threading.Event()
    real = lock._try  # noqa: SLF001 - the one step that takes it

    def late(path: Path) -> Any:
        hangs.set()
        go_on.wait()
        lock = real(path)
        got.set()
        return lock

    monkeypatch.setattr(lock, "_try", late)
    task = asyncio.ensure_future(whole_claim(tmp_path))
    await cancel_once(task, hangs)
    monkeypatch.undo()
    go_on.set()
    await asyncio.to_thread(got.wait)
    await eventually_free(tmp_path)


async def test_a_lock_is_never_taken_after_it_was_left(tmp_path: Path) -> None:
    lock = KeyLock(tmp_path / "a.lock")
    lock.release()
    assert lock.try_acquire() is False
    lock.run_if_held(lambda: pytest.fail("not held"))
    assert open_below(tmp_path) == []


def test_a_loop_that_ends_while_a_claim_is_held_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        log_held = asyncio.Event()

        async def hold() -> None:
            async with FileJournal(tmp_path).claim(KEY) as log:
                await use(log)
                log_held.set()
                await asyncio.Event().wait()

        task = asyncio.ensure_future(hold())
        await log_held.wait()
        assert not task.done()

    async def use(log: Log) -> None:
        await log.append(opened())

    asyncio.run(main())
    asyncio.run(assert_nothing_is_left(tmp_path))
