"""Whatever way a server counts: within a given rate it refuses nothing, and it teaches its limit in few episodes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncsdk.ratelimit import INPUT_IMAGES, LATE_SECONDS, RateLimit, Refusal
from tests.pacing.limited import Bucket, Callers, FixedMinute, Server, SlidingMinute, says_all

TEN_MINUTES = 600.0
ON_THE_WAY = 0.3  # seconds at most
SERVERS = ("sliding", "fixed", "bucket", "small bucket")

Says = Callable[[float, float], Refusal]
limits = st.integers(5, 300)
seeds = st.integers(0, 2**32)


def says_limit(limit: float, _: float) -> Refusal:
    return Refusal(limit, None)


def says_too_short(limit: float, _: float) -> Refusal:
    return Refusal(limit, 60 / limit)


def says_delay(_: float, delay: float) -> Refusal:
    return Refusal(None, delay)


def says_nothing(_: float, __: float) -> Refusal:
    return Refusal()


def server(kind: str, limit: float, most: int, chance: random.Random) -> Server:
    """A server of this kind; the small bucket has room for an item and for what can overtake another on the way."""
    if kind == "sliding":
        return SlidingMinute(limit)
    if kind == "fixed":
        return FixedMinute(limit, chance.uniform(0, 60))
    return Bucket(limit, max(limit, most) if kind == "bucket" else most + 2 + limit * (LATE_SECONDS + ON_THE_WAY) / 60)


def callers(pace: RateLimit, kind: str, limit: float, seed: int, *, most: int = 1, says: Says = says_all) -> Callers:
    """Sixteen callers of a server, quick enough to be limited by it alone."""
    chance = random.Random(seed)
    sizes = (chance.randint(1, most) for _ in itertools.count())
    return Callers(
        pace,
        server(kind, limit, most, chance),
        sizes,
        limit,
        says=says,
        chance=chance,
        on_the_way=ON_THE_WAY,
        at_work=min(1.0, 600 / limit),
    )


@pytest.mark.parametrize("kind", SERVERS)
@given(limit=limits, most=st.integers(1, 10), seed=seeds)
@settings(max_examples=3)
def test_at_the_given_rate_nothing_is_refused_and_no_images_are_given_away(
    kind: str, limit: int, most: int, seed: int
) -> None:
    most = min(most, limit)
    run = callers(RateLimit(INPUT_IMAGES, limit), kind, limit, seed, most=most)
    run.run(TEN_MINUTES)
    assert not run.refused
    fits = limit - (most - 1)  # of a minute, when the next item does not fit into what is left of it
    assert run.images(0, TEN_MINUTES) >= 0.9 * fits * TEN_MINUTES / 60


@pytest.mark.parametrize("kind", SERVERS)
@given(limit=limits, seed=seeds)
@settings(max_examples=2)
def test_single_images_reach_95_of_a_hundred_of_the_given_rate(kind: str, limit: int, seed: int) -> None:
    run = callers(RateLimit(INPUT_IMAGES, limit), kind, limit, seed)
    run.run(TEN_MINUTES)
    assert not run.refused
    assert run.images(0, TEN_MINUTES) >= 0.95 * limit * TEN_MINUTES / 60


@pytest.mark.parametrize("says", [says_all, says_limit, says_too_short])
@pytest.mark.parametrize("kind", SERVERS)
@given(limit=limits, seed=seeds)
@settings(max_examples=2)
def test_a_limit_that_is_told_is_learned_in_few_episodes(kind: str, says: Says, limit: int, seed: int) -> None:
    run = callers(RateLimit(INPUT_IMAGES), kind, limit, seed, says=says)
    run.run(120 + TEN_MINUTES)
    assert max(run.refused.values(), default=0) <= run.concurrency
    assert len(run.refused) <= 8
    assert run.images(120, 120 + TEN_MINUTES) >= 0.9 * limit * TEN_MINUTES / 60


@pytest.mark.parametrize("says", [says_delay, says_nothing])
@pytest.mark.parametrize("kind", SERVERS)
@given(limit=st.integers(30, 200), seed=seeds)
@example(limit=36, seed=0)  # what passes is answered after what is refused
@example(limit=131, seed=0)  # it is refused again before anything could be measured
@settings(max_examples=2)
def test_a_limit_that_is_not_told_is_found(kind: str, says: Says, limit: int, seed: int) -> None:
    run = callers(RateLimit(INPUT_IMAGES), kind, limit, seed, says=says)
    run.run(120 + TEN_MINUTES)
    assert max(run.refused.values(), default=0) <= run.concurrency
    assert run.images(120, 120 + TEN_MINUTES) >= 0.6 * limit * TEN_MINUTES / 60


@given(limit=st.integers(20, 200), seed=seeds)
@settings(max_examples=3)
def test_a_limit_that_another_uses_half_of_leaves_the_other_half(limit: int, seed: int) -> None:
    shared = callers(RateLimit(INPUT_IMAGES), "bucket", limit, seed)
    other = callers(RateLimit(INPUT_IMAGES, limit / 2), "bucket", limit, seed + 1)
    other.server = shared.server
    for minute in range(60, 960, 60):
        for second in range(minute - 60, minute):
            shared.run(second)
            other.run(second)
    assert shared.images(300, 900) >= 0.8 * limit / 2 * 10
    assert sum(shared.refused.values()) <= 0.35 * len(shared.passed)
