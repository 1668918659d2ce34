"""A job that began in a thread is finished, and its result reaches the caller that still waits."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from asyncsdk.server.workers import Workers


async def test_a_job_that_fails_when_nobody_waits_any_more_is_not_logged_as_forgotten(
    caplog: pytest.LogCaptureFixture,
) -> None:
    workers, begun, may_fail = Workers(), threading.Event(), threading.Event()

    def fail() -> None:
        begun.set()
        assert may_fail.wait(10)
        workers.go_on()

    waiting = asyncio.create_task(workers.run(fail))
    await asyncio.to_thread(begun.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    closing = asyncio.create_task(workers.close(lambda: None))
    await asyncio.sleep(0)
    may_fail.set()
    await closing
    await asyncio.sleep(0)
    gc.collect()
    assert caplog.records == []


async def test_who_waits_for_a_job_hears_that_the_server_stops() -> None:
    workers, begun, may_go_on = Workers(), threading.Event(), threading.Event()

    def go_on() -> None:
        begun.set()
        assert may_go_on.wait(10)
        workers.go_on()

    waiting = asyncio.create_task(workers.run(go_on))
    await asyncio.to_thread(begun.wait, 10)
    closing = asyncio.create_task(workers.close(lambda: None))
    await asyncio.sleep(0)
    may_go_on.set()
    with pytest.raises(RuntimeError, match="The server is stopping"):
        await waiting
    await closing
