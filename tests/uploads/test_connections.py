"""The places for parts: as many as allowed, first come, first served, and none is lost to a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from asyncsdk.uploads.connections import Connections, PartPlace


async def test_as_many_as_allowed_have_a_place_and_the_first_that_wait_are_the_first_to_get_one() -> None:
    connections, order = Connections(2), list[int]()

    async def work(number: int) -> None:
        async with connections.place():
            order.append(number)
            assert connections.taken <= 2
            await asyncio.sleep(0.001)

    await asyncio.gather(*map(work, range(7)))
    assert order == list(range(7))
    assert connections.taken == 0


async def test_a_place_is_free_again_after_an_error() -> None:
    connections = Connections(1)
    with pytest.raises(RuntimeError):
        async with connections.place():
            raise RuntimeError
    assert connections.taken == 0


@pytest.mark.parametrize("in_the_same_moment", [False, True])
async def test_one_that_is_cancelled_while_it_waits_leaves_its_turn_to_the_next(*, in_the_same_moment: bool) -> None:
    connections = Connections(1)
    first = await connections.enter()
    second, third = (asyncio.ensure_future(connections.enter()) for _ in range(2))
    await asyncio.sleep(0)
    if in_the_same_moment:
        connections.leave(first)
    second.cancel()
    await asyncio.wait([second])
    if not in_the_same_moment:
        connections.leave(first)
    place: PartPlace = await asyncio.wait_for(third, 1)
    assert second.cancelled()
    assert connections.taken == 1
    connections.leave(place)
    assert connections.taken == 0
