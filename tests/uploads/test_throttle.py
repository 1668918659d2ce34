"""The rate that a caller sets holds over all connections together, evenly."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.uploads.chunking import BLOCK, MIB
from asyncsdk.uploads.pacing.throttle import SMALLEST_SLICE, Throttle


@given(
    rate=st.floats(1e3, 1e9),
    connections=st.integers(1, 64),
    counts=st.lists(st.integers(1, BLOCK), min_size=1, max_size=200),
)
def test_at_no_moment_has_more_gone_than_the_rate_allows(rate: float, connections: int, counts: list[int]) -> None:
    throttle, gone = Throttle(rate), 0
    ready = [0.0] * connections  # when each connection can send again
    for count in counts:
        now = heapq.heappop(ready)
        goes_at = now + throttle.delay(now, count)
        assert gone <= rate * goes_at * (1 + 1e-9) + 1e-3
        gone += count
        heapq.heappush(ready, goes_at)


def test_the_line_is_used_whole_however_many_connections_share_it() -> None:
    throttle, now = Throttle(10 * MIB), 0.0
    for _ in range(200):  # as many as there are slices in ten seconds
        now = max(now, throttle.delay(0.0, BLOCK))
    assert now == pytest.approx(200 * BLOCK / (10 * MIB), abs=0.06)


def test_time_in_which_nothing_was_sent_is_not_made_up_for() -> None:
    throttle = Throttle(1000.0)
    assert throttle.delay(0.0, 1000) == 0.0
    assert throttle.delay(60.0, 1000) == 0.0
    assert throttle.delay(60.0, 1000) == pytest.approx(1.0)


def test_without_a_rate_nothing_waits_and_whole_blocks_go() -> None:
    throttle = Throttle()
    assert throttle.slice == BLOCK
    assert [throttle.delay(0.0, BLOCK) for _ in range(3)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("rate", "size"),
    [(0.5, 1), (10.0, 10), (9e3, SMALLEST_SLICE), (200e3, 10_000), (5 * MIB, 5 * MIB // 20), (1e12, BLOCK)],
)
def test_a_slow_rate_goes_in_slices_of_a_twentieth_of_a_second_at_most_of_a_second(rate: float, size: int) -> None:
    assert Throttle(rate).slice == size
