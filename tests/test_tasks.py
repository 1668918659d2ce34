"""Tasks live in groups: what fails comes out bare, nothing outlives its block, nothing is read ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest

from asyncsdk import tasks
from asyncsdk.errors import APIConnectionError, APITimeoutError
from tests.waiting import until


async def all_failing(first: Exception, *others: Exception) -> None:
    """A group in which one task fails, and the others then fail in their own ways while they are cancelled."""

    async def fail(error: Exception, after: float) -> None:
        try:
            await anyio.sleep(after)
        finally:
            raise error

    async with tasks.group() as group:
        for error in others:
            group.start_soon(fail, error, 60)
        group.start_soon(fail, first, 0)


async def test_one_failure_comes_out_as_it_is() -> None:
    failure = ValueError("bad")
    with pytest.raises(ValueError, match="bad") as caught:
        await all_failing(failure)
    assert caught.value is failure
    assert failure.__context__ is None
    assert not hasattr(failure, "__notes__")


async def test_a_failure_in_the_block_itself_comes_out_too_and_ends_the_others() -> None:
    async def block() -> None:
        async with tasks.group() as group:
            group.start_soon(anyio.sleep, 60)
            raise KeyError

    with pytest.raises(KeyError):
        await block()


async def test_the_telling_failure_comes_out_and_the_others_are_noted() -> None:
    resets = [APIConnectionError("reset"), APIConnectionError("reset")]
    with pytest.raises(ValueError, match="the disk is full") as caught:
        await all_failing(*resets, ValueError("the disk is full"))
    assert caught.value.__notes__ == ["also: APIConnectionError: reset"]


async def test_among_lost_connections_the_first_comes_out() -> None:
    with pytest.raises(APITimeoutError, match="first"):
        await all_failing(APITimeoutError("first"), APIConnectionError("second"))


async def test_groups_in_groups_are_one() -> None:
    async def inner() -> None:
        raise ExceptionGroup("inner", [ExceptionGroup("innermost", [ValueError("deep")])])

    async def outer() -> None:
        async with tasks.group() as group:
            group.start_soon(inner)

    with pytest.raises(ValueError, match="deep"):
        await outer()


async def test_a_cancellation_stays_one() -> None:
    async def wait() -> None:
        async with tasks.group() as group:
            group.start_soon(anyio.sleep, 60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_cancellation_among_failures_is_not_the_telling_one() -> None:
    lost, cancelled = APIConnectionError("lost"), asyncio.CancelledError()
    assert tasks.most_significant(BaseExceptionGroup("", [cancelled, lost])) is lost
    assert tasks.most_significant(BaseExceptionGroup("", [cancelled, lost, ValueError()])).__class__ is ValueError
    assert tasks.most_significant(BaseExceptionGroup("", [cancelled])) is cancelled
    interrupt = KeyboardInterrupt()
    assert tasks.most_significant(BaseExceptionGroup("", [lost, ValueError(), interrupt])) is interrupt


async def double(number: int) -> int:
    await anyio.sleep(0.001 * (number % 3))
    return 2 * number


@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_each_item_has_its_outcome(limit: int) -> None:
    async with tasks.map_unordered(range(20), double, limit=limit) as outcomes:
        found = [outcome async for outcome in outcomes]
    assert sorted(found) == [2 * number for number in range(20)]


async def test_items_may_come_asynchronously_and_there_may_be_none() -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            await anyio.sleep(0)
            yield number

    class Numbers:
        def __aiter__(self) -> AsyncIterator[int]:
            return numbers()

    for items in (numbers(), Numbers()):
        async with tasks.map_unordered(items, double, limit=2) as outcomes:
            assert sorted([outcome async for outcome in outcomes]) == [0, 2, 4]
    async with tasks.map_unordered([], double, limit=2) as outcomes:
        assert [outcome async for outcome in outcomes] == []


async def test_nothing_is_read_ahead_and_no_more_than_asked_run_at_once() -> None:
    taken, running, most = 0, 0, 0

    def numbers() -> AsyncIterator[int]:
        async def walk() -> AsyncIterator[int]:
            nonlocal taken
            for number in range(30):
                taken += 1
                yield number

        return walk()

    async def run(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.001)
        running -= 1
        return number

    async with tasks.map_unordered(numbers(), run, limit=4) as outcomes:
        seen = 0
        async for _ in outcomes:
            seen += 1
            await anyio.sleep(0.003)
            assert taken <= seen + 4
    assert (seen, most) == (30, 4)


async def test_leaving_early_ends_what_runs() -> None:
    ended: list[int] = []

    async def run(number: int) -> int:
        try:
            await anyio.sleep(0 if number == 0 else 60)
        finally:
            ended.append(number)
        return number

    before = len(asyncio.all_tasks())
    async with tasks.map_unordered(range(100), run, limit=3) as outcomes:
        assert await anext(aiter(outcomes)) == 0
    assert sorted(ended) == [0, 1, 2, 3][: len(ended)]
    assert len(ended) >= 3
    assert len(asyncio.all_tasks()) == before


async def test_a_failing_item_ends_the_whole_and_closes_the_source() -> None:
    closed = False

    async def numbers() -> AsyncIterator[int]:
        nonlocal closed
        try:
            for number in range(100):
                yield number
        finally:
            closed = True

    async def run(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        return number

    async def walk() -> list[int]:
        async with tasks.map_unordered(numbers(), run, limit=2) as outcomes:
            return [outcome async for outcome in outcomes]

    with pytest.raises(ValueError, match="five"):
        await walk()
    assert closed


def test_nobody_to_run_them_is_refused() -> None:
    with pytest.raises(ValueError, match="limit must be at least 1, not 0"):
        tasks.map_unordered([1], double, limit=0)


async def test_a_cancellation_that_leaks_out_of_what_others_wrote_is_an_error() -> None:
    async def leaking() -> None:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="nobody here had cancelled it") as caught:
        await tasks.await_foreign(leaking())
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


async def test_a_cancellation_of_our_own_passes() -> None:
    with anyio.move_on_after(0.01) as scope:
        await tasks.await_foreign(anyio.sleep(60))
    assert scope.cancelled_caught
    task = asyncio.create_task(tasks.await_foreign(anyio.sleep(60)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_is_raised_once_the_work_has_come_to_its_end() -> None:
    began, done = asyncio.Event(), []

    async def work() -> None:
        began.set()
        await anyio.sleep(0.05)
        done.append(True)

    task = asyncio.create_task(tasks.to_the_end(work))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [True]


async def test_a_reader_that_is_cancelled_leaves_the_outcome_to_the_next() -> None:
    go_on = asyncio.Event()

    async def run(number: int) -> int:
        await go_on.wait()
        return number

    async with tasks.map_unordered([1], run, limit=1) as outcomes:
        with anyio.move_on_after(0.01):
            await anext(outcomes)
        go_on.set()
        assert [outcome async for outcome in outcomes] == [1]


async def test_a_reader_outlives_the_block_only_until_its_end() -> None:
    async def never(_: int) -> int:
        await anyio.sleep(60)
        return 0

    async with tasks.map_unordered([1, 2], never, limit=2) as outcomes:
        reading = asyncio.ensure_future(anext(outcomes, None))
        await anyio.sleep(0)
    with anyio.fail_after(1):
        assert await reading is None


async def test_works_ahead_are_all_cancelled_though_one_of_them_takes_its_time() -> None:
    begun, cancelled = list[str](), list[str]()

    async def end(name: str, seconds: float) -> str:
        begun.append(name)
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.append(name)
            await asyncio.sleep(seconds)
        return name

    ahead = tasks.Ahead((end(name, seconds) for name, seconds in (("slow", 0.3), ("other", 0))), tasks.Allowance(1))
    reading = asyncio.ensure_future(anext(ahead))
    await until(lambda: len(begun) == 2)
    with anyio.move_on_after(0.05):
        await ahead.aclose()
    await asyncio.wait([reading])
    assert cancelled == ["slow", "other"]
