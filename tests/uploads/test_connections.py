"""The places for parts: as many as allowed, first come, first served, and none is lost to a cancellation."""

from __future__ import annotations

import asyncio
import errno

import pytest

from asyncsdk.errors import APIConnectionError, APITimeoutError
from asyncsdk.http.body import ChunksBody
from asyncsdk.http.stall import SocketProgress
from asyncsdk.uploads.admission import AdmissionQueue
from asyncsdk.uploads.chunking import BLOCK
from asyncsdk.uploads.concurrency import MOST
from asyncsdk.uploads.connections import Connections, PartPlace, is_refusal
from asyncsdk.uploads.progress import SharedThroughput


def places(number: int | None) -> Connections:
    return Connections(SharedThroughput(), AdmissionQueue(number or MOST), number)


async def test_as_many_as_allowed_have_a_place_and_the_first_that_wait_are_the_first_to_get_one() -> None:
    connections, order = places(2), list[int]()

    async def work(number: int) -> None:
        async with connections.place():
            order.append(number)
            assert connections.taken <= 2
            await asyncio.sleep(0.001)

    await asyncio.gather(*map(work, range(7)))
    assert order == list(range(7))
    assert connections.taken == 0


async def test_a_place_is_free_again_after_an_error() -> None:
    connections = places(1)
    with pytest.raises(RuntimeError):
        async with connections.place():
            raise RuntimeError
    assert connections.taken == 0


@pytest.mark.parametrize("in_the_same_moment", [False, True])
async def test_one_that_is_cancelled_while_it_waits_leaves_its_turn_to_the_next(*, in_the_same_moment: bool) -> None:
    connections = places(1)
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


def test_a_connection_that_we_end_ourselves_is_not_a_refusal() -> None:
    given_up, lost = APITimeoutError("no byte got through for 30 s"), APIConnectionError("lost")
    given_up.__cause__ = lost.__cause__ = ConnectionResetError(errno.ECONNRESET, "reset")
    assert not is_refusal(given_up)
    assert is_refusal(lost)


def is_paused_at(place: PartPlace, now: float, *, above: bool) -> bool:
    place.allow(now, above=above)
    return place.is_paused


async def test_a_part_above_the_number_pauses_ten_seconds_at_most_and_then_ends_whatever_the_number() -> None:
    place, body = PartPlace(), ChunksBody([b""], "text/plain")
    place.allow(100.0, above=True)
    sending = asyncio.ensure_future(place.may_send(body, lambda _: None))
    await asyncio.sleep(0)
    seen = [body.watch.idle]
    assert [is_paused_at(place, now, above=True) for now in (109.9, 110.0, 111.0)] == [True, False, False]
    await asyncio.wait_for(sending, 1)
    assert [*seen, body.watch.idle] == [True, False]  # the peer is not to blame for a pause
    assert not is_paused_at(place, 112.0, above=False)
    assert is_paused_at(place, 113.0, above=True)


@pytest.mark.parametrize(("number", "size"), [(8, BLOCK), (9, BLOCK // 2), (32, BLOCK // 2), (None, BLOCK // 2)])
async def test_many_connections_write_less_at_once_since_each_holds_what_it_is_given(
    number: int | None, size: int
) -> None:
    async with places(number).place() as place:
        assert place.slice == size


class Draining(ChunksBody):
    """A body whose connection has `left` bytes in the system's buffers."""

    left = 300

    def seen(self) -> SocketProgress:
        return SocketProgress(moved=1000 - self.left, arrived=not self.left)


async def test_a_connection_that_pauses_is_in_use_until_the_system_has_sent_what_it_was_given() -> None:
    """Else a number that fell would seem to give what the one before gave."""
    place, body = PartPlace(is_measured=True), Draining([b"x" * 1000], "text/plain")
    place.begin(body)
    body.watch.written = 1000
    place.allow(100.0, above=True)
    place.newly_acked()
    assert place.is_draining
    body.left = 0
    place.newly_acked()
    assert not place.is_draining
