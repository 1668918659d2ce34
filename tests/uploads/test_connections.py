"""The places for parts: as many as allowed, first come, first served, and none is lost to a cancellation."""

from __future__ import annotations

import asyncio
import errno
from contextlib import AsyncExitStack

import pytest
from aiohttp import ClientConnectionResetError

from asyncsdk.errors import APIConnectionError, APITimeoutError
from asyncsdk.http.body import ChunksBody
from asyncsdk.http.stall import SocketProgress
from asyncsdk.uploads.chunking import BLOCK
from asyncsdk.uploads.pacing.admission import AdmissionQueue
from asyncsdk.uploads.pacing.concurrency import MOST, START, ConnectionCount
from asyncsdk.uploads.pacing.connections import Connections, PartPlace, is_refusal
from asyncsdk.uploads.pacing.measuring import Observation
from asyncsdk.uploads.progress import Meter, SharedThroughput
from tests.waiting import until


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


async def test_an_upload_that_is_cancelled_in_the_line_leaves_its_turn_to_the_next() -> None:
    queue = AdmissionQueue(1, poll=3600)
    under_way = await queue.enter(in_turn=True)
    first, second, third = (asyncio.ensure_future(queue.enter(in_turn=True)) for _ in range(3))
    await asyncio.sleep(0)
    queue.leave(under_way)
    first.cancel()
    slot = await asyncio.wait_for(second, 1)
    third.cancel()
    await asyncio.wait([first, third])
    queue.leave(slot)
    queue.leave(await asyncio.wait_for(queue.enter(in_turn=True), 1))
    assert queue.under_way == 0


def test_a_connection_that_we_end_ourselves_is_not_a_refusal() -> None:
    given_up, lost = APITimeoutError("no byte got through for 30 s"), APIConnectionError("lost")
    given_up.__cause__ = lost.__cause__ = ConnectionResetError(errno.ECONNRESET, "reset")
    assert not is_refusal(given_up)
    assert is_refusal(lost)


def test_a_connection_that_was_lost_before_a_write_is_a_refusal_too() -> None:
    """Aiohttp's own error has no number."""
    lost = APIConnectionError("lost")
    lost.__cause__ = ClientConnectionResetError("Cannot write to closing transport")
    assert is_refusal(lost)


def is_paused_at(place: PartPlace, now: float, *, above: bool) -> bool:
    place.allow(now, above=above)
    return place.is_paused


async def test_a_part_above_the_number_pauses_ten_seconds_at_most_and_then_ends_whatever_the_number() -> None:
    place, body = PartPlace(), ChunksBody([b""], "text/plain")
    place.begin(body)
    place.allow(100.0, above=True)
    sending = asyncio.ensure_future(place.may_send(body, lambda _: None))
    await asyncio.sleep(0)
    seen = [body.watch.idle]
    assert [is_paused_at(place, now, above=True) for now in (109.9, 110.0, 111.0)] == [True, False, False]
    await asyncio.wait_for(sending, 1)
    assert [*seen, body.watch.idle] == [True, False]  # the peer is not to blame for a pause
    assert not is_paused_at(place, 112.0, above=False)
    assert is_paused_at(place, 113.0, above=True)


async def test_between_two_attempts_a_part_above_the_number_pauses_for_as_long_as_it_is_above() -> None:
    """A server that refuses parts would hear of it again; and none gives up what it does not wait for."""
    place, body = PartPlace(), ChunksBody([b""], "text/plain")
    place.begin(body)
    place.end_attempt()
    assert is_paused_at(place, 100.0, above=True)
    assert is_paused_at(place, 1000.0, above=True)
    waiting = asyncio.ensure_future(place.may_begin())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert not is_paused_at(place, 1001.0, above=False)
    await asyncio.wait_for(waiting, 1)


class Counted(ConnectionCount):
    """Has the number that is set, and keeps what it is shown."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.seen = list[Observation]()

    def observe(self, seen: Observation) -> int:
        self.seen.append(seen)
        return self.number


async def small_ones(connections: Connections, answered: int, size: int = 1000) -> None:
    """Let so many be answered, while as many as there are connections are under way."""
    for _ in range(answered):
        async with connections.place() as place:
            place.was_answered = True
    for _ in range(START):
        (await connections.queue.enter(in_turn=False)).begin(Meter("", size), 1 << 23)


async def test_each_round_of_small_files_that_was_answered_doubles_the_number_of_a_new_line() -> None:
    connections, seen = Connections(SharedThroughput(), AdmissionQueue(MOST)), list[int]()
    await small_ones(connections, 0)
    for _ in range(5):
        connections.expect(1000)
        seen.append(connections.limit)
        await small_ones(connections, START)
    assert seen == [START, 2 * START, MOST, MOST, MOST]


async def test_the_rounds_go_on_while_this_side_is_busy() -> None:
    connections = Connections(SharedThroughput(), AdmissionQueue(MOST))
    connections.count.observe(Observation(seconds=0.25, acked=1, in_use=START, held_back=0.5, loop_busy=0.9))
    await small_ones(connections, START)
    connections.expect(1000)
    assert connections.limit == 2 * START


async def test_a_small_file_among_large_ones_opens_nothing() -> None:
    connections = Connections(SharedThroughput(), AdmissionQueue(MOST))
    await small_ones(connections, START, size=1 << 24)
    connections.expect(1000)
    assert connections.limit == START


async def test_one_that_is_refused_ends_the_rounds_at_once_and_for_good() -> None:
    connections = Connections(SharedThroughput(), AdmissionQueue(MOST))
    await small_ones(connections, START)
    connections.expect(1000)
    async with connections.place():
        lost = APIConnectionError("lost")
        lost.__cause__ = ConnectionResetError(errno.ECONNRESET, "reset")
        connections.failed(lost)
        assert connections.limit == START
    await small_ones(connections, MOST)
    connections.expect(1000)
    assert connections.limit == connections.count.best == START


def learning(number: int) -> tuple[Connections, Counted]:
    count = Counted(number)
    return Connections(SharedThroughput(), AdmissionQueue(MOST), None, count), count


def reset() -> APIConnectionError:
    lost = APIConnectionError("lost")
    lost.__cause__ = ConnectionResetError(errno.ECONNRESET, "reset")
    return lost


async def test_a_refused_attempt_that_began_with_a_higher_number_says_nothing_about_the_lower_one() -> None:
    connections, count = learning(5)

    async def part(then: asyncio.Event) -> None:
        async with connections.place():
            await connections.may_begin()
            await then.wait()
            connections.failed(reset())

    now, later = asyncio.Event(), asyncio.Event()
    parts = [asyncio.ensure_future(part(now if number else later)) for number in range(5)]
    await asyncio.sleep(0)
    now.set()
    await until(lambda: count.seen and count.seen[-1].refused)
    count.number = 4
    later.set()
    await asyncio.gather(*parts)
    windows = len(count.seen)
    await until(lambda: len(count.seen) > windows)
    assert [window.refused for window in count.seen if window.refused] == [4]


async def test_a_connection_that_is_lost_in_a_pause_is_not_a_refusal_and_the_next_pauses_are_shorter() -> None:
    """A server or proxy that is not as patient as most has ended what was silent."""
    connections, count = learning(5)
    async with AsyncExitStack() as stack:
        for _ in range(4):
            await connections.enter()
        place = await stack.enter_async_context(connections.place())
        place.begin(ChunksBody([b""], "text/plain"))
        count.number = 4
        await asyncio.sleep(0.3)
        seen = [place.is_paused]
        connections.failed(reset())
        place.begin(ChunksBody([b""], "text/plain"))
        for seconds in (0.3, 0.9):  # a second is the least
            await asyncio.sleep(seconds)
            seen.append(place.is_paused)
    assert seen == [True, True, False]
    assert [window.refused for window in count.seen] == [0] * len(count.seen)


async def test_where_the_timer_fails_the_parts_that_pause_go_on_all_the_same() -> None:
    class Broken(Counted):
        def observe(self, seen: Observation) -> int:
            super().observe(seen)
            raise RuntimeError

    count, failures = Broken(5), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
    connections = Connections(SharedThroughput(), AdmissionQueue(MOST), None, count)
    places = [await connections.enter() for _ in range(5)]
    count.number = 4
    seen = list[bool]()
    for seconds, number in ((0.6, 5), (0.3, 5)):
        await asyncio.sleep(seconds)
        seen.append(places[-1].is_paused)
        count.number = number
    assert seen == [True, False]
    assert [type(failure) for failure in failures] == [RuntimeError] * len(count.seen)


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
