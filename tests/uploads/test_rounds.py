"""Work that one caller does for all that ask at the time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from asyncsdk.uploads.listing.rounds import Rounds

Work = Callable[[Sequence[int]], Awaitable[list[int]]]


def noting(done: list[list[int]], seconds: float = 0.01) -> Work:
    async def work(questions: Sequence[int]) -> list[int]:
        done.append(list(questions))
        await asyncio.sleep(seconds)
        return list(questions)

    return work


async def test_a_round_answers_all_that_asked_before_it_began_and_the_next_one_the_others() -> None:
    done: list[list[int]] = []
    rounds: Rounds[int, list[int]] = Rounds()
    first = asyncio.ensure_future(rounds.ask(0, noting(done)))
    await asyncio.sleep(0)
    answers = await asyncio.gather(*(rounds.ask(number, noting(done)) for number in range(1, 9)))
    assert await first == [0]
    assert done == [[0], [1, 2, 3, 4, 5, 6, 7, 8]]
    assert answers == [done[1]] * 8
    assert rounds.waiting == 0


async def test_where_the_one_at_work_is_cancelled_the_next_one_does_it() -> None:
    done: list[list[int]] = []
    rounds: Rounds[int, list[int]] = Rounds()
    asked = [asyncio.ensure_future(rounds.ask(number, noting(done))) for number in range(3)]
    await asyncio.sleep(0.001)
    asked[0].cancel()
    ended = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError)
    assert ended[1:] == [[1, 2], [1, 2]]
    assert done == [[0, 1, 2], [1, 2]]


async def test_an_error_is_for_the_one_at_work_and_the_next_one_tries_itself() -> None:
    async def fails(_: Sequence[int]) -> list[int]:
        await asyncio.sleep(0)
        raise ValueError("no")

    done: list[list[int]] = []
    rounds: Rounds[int, list[int]] = Rounds()
    ended = await asyncio.gather(
        rounds.ask(0, fails), rounds.ask(1, noting(done)), rounds.ask(2, noting(done)), return_exceptions=True
    )
    assert isinstance(ended[0], ValueError)
    assert list(ended[1:]) == [[1, 2], [1, 2]]


@pytest.mark.parametrize("turn", range(30))
async def test_whoever_is_cancelled_at_any_time_the_others_are_answered(turn: int) -> None:
    done: list[list[int]] = []
    rounds: Rounds[int, list[int]] = Rounds()
    asked = [asyncio.ensure_future(rounds.ask(number, noting(done, 0.002))) for number in range(6)]
    await asyncio.sleep(turn * 0.0003)
    asked[turn % 6].cancel()
    ended = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)
    assert all(number in answer for number, answer in enumerate(ended) if isinstance(answer, list))
    assert sum(isinstance(answer, list) for answer in ended) >= 5
    assert rounds.waiting == 0
