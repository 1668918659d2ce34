"""The log of the last minute forgets nothing too early, and keeps no more than a few hundred numbers."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.ratelimit import COUNTED_SECONDS, SLICE_SECONDS, Window

steps = st.tuples(st.floats(0, 20), st.integers(1, 10))


@given(st.lists(steps, max_size=60), st.integers(1, 40))
def test_what_goes_when_it_fits_leaves_no_minute_above_the_limit(items: list[tuple[float, int]], limit: int) -> None:
    window, now, gone = Window(), 0.0, list[tuple[float, int]]()
    for pause, images in items:
        images = min(images, limit)  # noqa: PLW2901 - what is above the limit has a test of its own
        now = max(now + pause, window.fits_at(images, limit, -math.inf))
        window.add(images, now)
        gone.append((now, images))
        assert sum(n for at, n in gone if at > now - 60) <= limit


@given(st.lists(steps, min_size=1, max_size=60), st.integers(1, 40))
def test_it_waits_no_longer_than_a_minute_and_little_more(items: list[tuple[float, int]], limit: int) -> None:
    window, now = Window(), 0.0
    for pause, images in items:
        now += pause
        assert window.fits_at(images, limit, -math.inf) <= now + COUNTED_SECONDS + SLICE_SECONDS
        window.add(images, now)


@given(st.lists(steps, max_size=60), st.floats(0, 120))
def test_it_counts_all_that_is_not_older_than_a_minute(items: list[tuple[float, int]], back: float) -> None:
    window, now, gone = Window(), 0.0, list[tuple[float, int]]()
    for pause, images in items:
        now += pause
        window.add(images, now)
        gone.append((now, images))
    since = now - min(back, COUNTED_SECONDS)
    exact = sum(n for at, n in gone if at > since)
    assert exact <= window.count(since) <= sum(n for at, n in gone if at > since - SLICE_SECONDS)


def test_what_is_above_the_limit_fits_once_its_minute_is_empty() -> None:
    window = Window()
    assert window.fits_at(10, 5, -math.inf) == -math.inf
    window.add(1, 0.0)
    assert 60 < window.fits_at(10, 5, -math.inf) < 62


def test_what_was_taken_back_makes_room() -> None:
    window = Window()
    window.add(5, 0.0)
    window.take_back(5, 0.0)
    assert window.fits_at(5, 5, -math.inf) < 0 or window.count(-1.0) == 0
    window.take_back(5, -300.0)  # long forgotten
    assert window.count(-1.0) == 0


def test_what_went_before_is_not_counted_when_it_is_not_asked_for() -> None:
    window = Window()
    window.add(5, 0.0)
    assert window.fits_at(5, 5, 10.0) == -math.inf
    assert window.count(10.0) == 0


def test_it_stays_small_at_any_rate() -> None:
    window = Window()
    for number in range(40_000):
        window.add(1, number / 200)
    assert len(window._slices) <= (COUNTED_SECONDS / SLICE_SECONDS) + 2  # noqa: SLF001 - what it keeps shows nowhere else
    assert window.fits_at(1, math.inf, -math.inf) == -math.inf
