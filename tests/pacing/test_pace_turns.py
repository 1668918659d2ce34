"""Turns are given in order, nobody hangs, and whoever waits hears of it when the pace changes."""

from __future__ import annotations

import asyncio
import math
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from asyncsdk.errors import ConfigurationError, RateLimitError
from asyncsdk.limiter import RateLimiter
from asyncsdk.ratelimit import FILE_REQUESTS, INPUT_IMAGES, MARGIN


class Hurried(selectors.DefaultSelector):
    """Waits for no timer: its clock jumps to where the next one rings."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nobody will ever be woken")
        self.now += 0.0 if ready or timeout is None else timeout
        return ready


class HurriedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._hurried = Hurried()
        super().__init__(self._hurried)

    def time(self) -> float:
        return self._hurried.now


def hurried(story: Callable[[Callable[[], float]], Coroutine[Any, Any, None]]) -> None:
    """Run `story` with a clock on which minutes pass at once."""
    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        loop = runner.get_loop()
        runner.run(asyncio.wait_for(story(loop.time), 3600))


def too_many(message: str = "on input-images per min: Limit 60. Please try again in 30s.") -> RateLimitError:
    return RateLimitError(message, status_code=429)


def test_turns_are_given_in_the_order_they_were_asked_for() -> None:
    async def story(clock: Callable[[], float]) -> None:
        pacer, given = RateLimiter(INPUT_IMAGES, 60, clock), list[int]()

        async def ask(number: int) -> None:
            await pacer.acquire(10 if number == 3 else 1)
            given.append(number)

        await asyncio.gather(*(ask(number) for number in range(20)))
        assert given == list(range(20))
        assert clock() == pytest.approx((18 + 10) / MARGIN, abs=1)

    hurried(story)


def test_a_wait_that_is_cancelled_leaves_no_hole_and_hangs_nobody() -> None:
    async def story(clock: Callable[[], float]) -> None:
        pacer = RateLimiter(INPUT_IMAGES, 60, clock)
        waiting = [asyncio.create_task(pacer.acquire(1)) for _ in range(20)]
        await asyncio.sleep(2)
        for task in waiting[4:14]:
            task.cancel()
        left = await asyncio.gather(*waiting, return_exceptions=True)
        assert sum(isinstance(one, asyncio.CancelledError) for one in left) == 10
        assert clock() == pytest.approx(9 / MARGIN, abs=1)

    hurried(story)


def test_the_first_in_line_can_be_cancelled_while_it_sleeps() -> None:
    async def story(clock: Callable[[], float]) -> None:
        pacer = RateLimiter(INPUT_IMAGES, 6, clock)
        await pacer.acquire(1)
        first, second = (asyncio.create_task(pacer.acquire(1)) for _ in range(2))
        await asyncio.sleep(1)
        first.cancel()
        await second
        assert first.cancelled()
        assert clock() == pytest.approx(10 / MARGIN, abs=0.3)

    hurried(story)


def test_a_refusal_holds_those_who_wait_already() -> None:
    async def story(clock: Callable[[], float]) -> None:
        pacer = RateLimiter(INPUT_IMAGES, 60, clock)
        permit = await pacer.acquire(1)
        waiting = asyncio.create_task(pacer.acquire(1))
        await asyncio.sleep(0.1)
        pacer.refused(too_many(), permit)
        assert pacer.retry_after == pytest.approx(30)
        await waiting
        assert clock() == pytest.approx(30.1)

    hurried(story)


def test_whoever_waits_is_woken_when_there_is_less_to_wait_for() -> None:
    async def story(clock: Callable[[], float]) -> None:
        pacer = RateLimiter(INPUT_IMAGES, 5, clock)
        too_large = await pacer.acquire(10)
        waiting = asyncio.create_task(pacer.acquire(1))
        await asyncio.sleep(0.5)
        pacer.refused(too_many("on input-images per min: Limit 5, Requested 10."), too_large)
        await waiting
        assert clock() == pytest.approx(0.5, abs=0.01)

    hurried(story)


def test_it_does_not_look_at_the_clock_again_and_again() -> None:
    async def story(clock: Callable[[], float]) -> None:
        looks = 0

        def counted() -> float:
            nonlocal looks
            looks += 1
            return clock()

        pacer = RateLimiter(INPUT_IMAGES, 1, counted)
        await pacer.acquire(1)
        await pacer.acquire(1)
        assert looks <= 8

    hurried(story)


async def test_without_a_limit_everybody_goes_at_once() -> None:
    pacer = RateLimiter(INPUT_IMAGES)
    began = time.monotonic()
    permits = await asyncio.gather(*(pacer.acquire(3) for _ in range(500)))
    assert time.monotonic() - began < 5
    pacer.accepted(permits[0])
    assert pacer.rate is None
    assert pacer.retry_after == 0


async def test_what_the_server_told_is_the_pace_from_then_on() -> None:
    pacer = RateLimiter(INPUT_IMAGES)
    pacer.refused(too_many("on input-images per min: Limit 1200. Please try again in 50ms."), await pacer.acquire(1))
    assert pacer.rate == 1200 * MARGIN
    began = time.monotonic()
    for _ in range(10):
        await pacer.acquire(1)
    assert time.monotonic() - began > 0.05 + 3 * 0.05


def test_a_rate_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="images_per_minute=0"):
        RateLimiter(INPUT_IMAGES, 0)
    with pytest.raises(ConfigurationError, match="files_per_minute=nan"):
        RateLimiter(FILE_REQUESTS, math.nan)
