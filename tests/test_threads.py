"""Blocking calls in threads that nobody has to wait for."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import Executor, wait
from functools import partial

import anyio
import pytest
from aiofiles.os import wrap

from asyncsdk.threads import DaemonThreadPool, NoThreadError, wait_through_cancellation
from tests.waiting import until


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> DaemonThreadPool:
    return DaemonThreadPool(request.node.name, 2, idle=0.05)


def alive(threads: DaemonThreadPool) -> int:
    return sum(thread.name == threads.name for thread in threading.enumerate())


async def test_a_job_runs_in_a_thread_of_ours_and_gives_back_its_result(threads: DaemonThreadPool) -> None:
    thread = await threads.run(threading.current_thread)
    assert thread.name == threads.name
    assert thread.daemon


async def test_a_job_that_raises_raises_where_it_is_awaited(threads: DaemonThreadPool) -> None:
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    assert await threads.run(lambda: 1) == 1


async def test_a_job_that_raises_stop_iteration_ends_no_coroutine(threads: DaemonThreadPool) -> None:
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        await threads.run(lambda: next(iter([])))
    assert isinstance(caught.value.__cause__, StopIteration)


async def test_jobs_run_at_the_same_time_up_to_the_limit(threads: DaemonThreadPool) -> None:
    running, go_on, most = 0, threading.Event(), 0
    lock = threading.Lock()

    def job() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go_on.wait()
        with lock:
            running -= 1

    jobs = [threads.start(job) for _ in range(5)]
    await until(lambda: running == 2)
    assert threads.busy == 2
    go_on.set()
    await asyncio.gather(*jobs)
    assert most == 2
    assert threads.busy == 0


async def test_jobs_one_after_the_other_share_a_thread(threads: DaemonThreadPool) -> None:
    threads.idle = 60
    names = {await threads.run(threading.get_ident) for _ in range(20)}
    assert len(names) == 1


async def test_idle_threads_go_and_come_again(threads: DaemonThreadPool) -> None:
    await threads.run(lambda: None)
    await until(lambda: alive(threads) == 0)
    assert await threads.run(lambda: 1) == 1


async def test_a_cancelled_task_walks_away_from_a_job_that_goes_on(threads: DaemonThreadPool) -> None:
    go_on, done = threading.Event(), threading.Event()

    def job() -> None:
        go_on.wait()
        done.set()

    task = asyncio.ensure_future(threads.run(job))
    await until(lambda: threads.busy)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await until(done.is_set)
    await until(lambda: not threads.busy)


async def test_a_cancelled_job_that_fails_is_nobodys_error(threads: DaemonThreadPool) -> None:
    threads.limit = 1
    go_on = threading.Event()

    def job() -> None:
        go_on.wait()
        raise ZeroDivisionError

    future = threads.start(job)
    future.cancel()
    go_on.set()
    assert await threads.run(lambda: 1) == 1


async def test_a_finished_job_is_forgotten(threads: DaemonThreadPool) -> None:
    class Buffer:
        pass

    buffer = Buffer()
    kept = weakref.ref(buffer)
    await threads.run(partial(id, buffer))
    with pytest.raises(TypeError):
        await threads.run(partial(len, buffer))  # type: ignore[arg-type] # it is to fail, with the buffer in its frames
    del buffer

    def forgotten() -> bool:
        gc.collect()
        return kept() is None

    await until(forgotten)  # the thread lets go a moment after it said that it is done


def test_a_loop_that_is_gone_when_the_job_ends_hurts_no_thread(threads: DaemonThreadPool) -> None:
    go_on = threading.Event()

    async def leave() -> None:
        threads.start(go_on.wait)

    async def come_back() -> int:
        return await threads.run(lambda: 1)

    asyncio.run(leave())
    go_on.set()
    assert asyncio.run(come_back()) == 1


async def test_where_the_system_gives_no_thread_the_job_says_so(
    threads: DaemonThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await threads.run(lambda: 1)
    assert await threads.run(lambda: 1) == 1


async def test_where_the_system_gives_no_further_thread_the_others_do_the_job(
    threads: DaemonThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    go_on = threading.Event()
    first = threads.start(go_on.wait)
    await until(lambda: threads.busy)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    second = threads.start(lambda: 2)
    go_on.set()
    assert (await first, await second) == (True, 2)


def test_a_thread_stuck_in_the_kernel_does_not_keep_the_program_alive() -> None:
    program = (
        "import asyncio, os\n"
        "from asyncsdk.threads import DaemonThreadPool\n"
        "async def main():\n"
        "    reader, _ = os.pipe()\n"
        "    try:\n"
        "        await asyncio.wait_for(DaemonThreadPool('stuck', 1).run(lambda: os.read(reader, 1)), 0.05)\n"
        "    except TimeoutError:\n"
        "        print('gave up', flush=True)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "gave up\n"


# The contract of concurrent.futures.Executor


def test_it_is_an_executor_as_the_standard_library_has_them(threads: DaemonThreadPool) -> None:
    assert isinstance(threads, Executor)
    assert threads.submit(pow, 2, exp=5).result(5) == 32
    assert isinstance(threads.submit(lambda: 1 // 0).exception(5), ZeroDivisionError)
    assert list(threads.map(abs, [-1, -2, -3], timeout=5)) == [1, 2, 3]
    done, left = wait([threads.submit(int) for _ in range(9)], timeout=5)
    assert (len(done), len(left)) == (9, 0)


async def test_asyncio_and_aiofiles_take_it(threads: DaemonThreadPool) -> None:
    loop = asyncio.get_running_loop()
    assert (await loop.run_in_executor(threads, threading.current_thread)).name == threads.name
    assert (await wrap(threading.current_thread)(executor=threads)).name == threads.name
    with pytest.raises(RuntimeError, match="StopIteration"):
        await wrap(next)(iter([]), executor=threads)


@pytest.mark.parametrize("cancellable", [True, False])
def test_a_job_that_has_not_begun_can_be_cancelled_or_is_run(*, cancellable: bool) -> None:
    pool = DaemonThreadPool("one", 1, cancellable=cancellable)
    began, go_on, ran = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        go_on.wait(5)

    pool.submit(hold)
    waiting = pool.submit(ran.set)
    assert began.wait(5)
    assert waiting.cancel() is cancellable
    go_on.set()
    pool.shutdown()
    assert waiting.cancelled() is cancellable
    assert ran.is_set() is not cancellable


def test_a_pool_that_is_shut_down_ends_what_it_has_and_takes_no_more(threads: DaemonThreadPool) -> None:
    with threads:
        jobs = [threads.submit(time.sleep, 0.01) for _ in range(5)]
    assert all(job.done() for job in jobs)
    assert alive(threads) == threads.alive == 0
    with pytest.raises(RuntimeError, match="shut down"):
        threads.submit(int)
    threads.shutdown()


async def test_a_shutdown_cancels_what_waits_if_it_is_to(threads: DaemonThreadPool) -> None:
    go_on = threading.Event()
    running = [threads.submit(go_on.wait, 5), threads.submit(go_on.wait, 5)]
    await until(lambda: threads.busy == 2)
    submitted, started = threads.submit(int), threads.start(int)
    threads.shutdown(wait=False, cancel_futures=True)
    go_on.set()
    assert submitted.cancelled()
    with pytest.raises(asyncio.CancelledError):
        await started
    assert [job.result(5) for job in running] == [True, True]
    await until(lambda: alive(threads) == 0)
    with pytest.raises(RuntimeError, match="shut down"):
        await threads.run(int)


def test_what_can_not_be_cancelled_is_run_by_a_pool_that_is_shut_down() -> None:
    pool, go_on = DaemonThreadPool("one", 1, cancellable=False), threading.Event()
    pool.submit(go_on.wait, 5)
    waiting = pool.submit(lambda: 7)
    pool.shutdown(wait=False, cancel_futures=True)
    go_on.set()
    assert waiting.result(5) == 7


def test_where_the_system_gives_no_thread_the_future_says_so(
    threads: DaemonThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert isinstance(threads.submit(int).exception(5), NoThreadError)
    assert threads.submit(int).result(5) == 0


# Waiting through a cancellation


async def test_waiting_tells_whether_all_is_done(threads: DaemonThreadPool) -> None:
    go_on = threading.Event()
    quick, slow = threads.start(lambda: 1), threads.start(go_on.wait)
    assert await wait_through_cancellation([], seconds=1) is True
    assert await wait_through_cancellation([quick], seconds=5) is True
    assert await wait_through_cancellation([quick, slow], seconds=0.01) is False
    go_on.set()
    assert await wait_through_cancellation([quick, slow], seconds=5) is True


async def test_a_cancellation_is_raised_once_the_wait_is_over(threads: DaemonThreadPool) -> None:
    go_on = threading.Event()
    job = threads.start(go_on.wait)
    task = asyncio.ensure_future(wait_through_cancellation([job], seconds=5))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert job.done()


async def test_a_cancelled_scope_does_not_end_the_wait(threads: DaemonThreadPool) -> None:
    go_on = threading.Event()
    job = threads.start(go_on.wait)
    asyncio.get_running_loop().call_later(0.02, go_on.set)
    with anyio.CancelScope() as scope:
        scope.cancel()
        assert await wait_through_cancellation([job], seconds=5) is True


async def test_a_timeout_around_the_wait_is_a_timeout_after_it(threads: DaemonThreadPool) -> None:
    go_on = threading.Event()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await wait_through_cancellation([threads.start(go_on.wait)], seconds=0.05)
    assert 0.05 <= time.monotonic() - started < 1
    go_on.set()


async def test_what_a_job_raised_is_left_to_its_owner(threads: DaemonThreadPool) -> None:
    job = threads.start(lambda: 1 // 0)
    assert await wait_through_cancellation([job], seconds=5) is True
    assert isinstance(job.exception(), ZeroDivisionError)
