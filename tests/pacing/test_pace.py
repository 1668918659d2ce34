"""The pace is even, is learned from what the server says or does, slows once per episode and recovers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from asyncsdk.errors import ConfigurationError
from asyncsdk.ratelimit import (
    DECREASE,
    INPUT_IMAGES,
    LATE_SECONDS,
    LONGEST_PAUSE,
    MARGIN,
    RECOVERY_SECONDS,
    Permit,
    RateLimit,
    Refusal,
)

LIMIT_60 = Refusal(limit=60.0, delay=1.0)


def take(pace: RateLimit, now: float, times: int, *, every: float = 0.0, accept: bool = True) -> list[Permit]:
    """Admit single images, whatever the pace says, and have the server take them."""
    permits = [pace.admit(1, now + number * every) for number in range(times)]
    for permit in permits if accept else ():
        pace.accepted(permit)
    return permits


def learned(now: float = 0.0) -> RateLimit:
    """A pace that was told of sixty images a minute, in an episode that was over a second later."""
    pace = RateLimit(INPUT_IMAGES)
    pace.refused(pace.admit(1, now), LIMIT_60, now)
    return pace


def test_nothing_is_held_back_before_the_first_429() -> None:
    pace = RateLimit(INPUT_IMAGES)
    take(pace, 0.0, 10_000)
    assert pace.wait(10, 0.0) == 0
    assert pace.rate(0.0) is None


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "fast", True])
def test_a_rate_is_a_number_above_nought(rate: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"is not a number above 0\. Nothing was sent"):
        RateLimit(INPUT_IMAGES, rate)


def test_what_is_given_is_spread_evenly() -> None:
    pace = RateLimit(INPUT_IMAGES, 60)
    assert pace.wait(1, 0.0) == 0
    now, gone = 0.0, []
    for _ in range(100):
        now += pace.wait(1, now)
        pace.admit(1, now)
        gone.append(now)
    pauses = [after - before for before, after in pairwise(gone[1:])]
    assert all(pause == pytest.approx(1 / MARGIN, abs=LATE_SECONDS) for pause in pauses)
    assert now == pytest.approx(99 / MARGIN, abs=2 * LATE_SECONDS)
    assert pace.rate(0.0) == 60 * MARGIN


def test_images_wait_for_the_share_of_those_before_them() -> None:
    pace = RateLimit(INPUT_IMAGES, 60)
    pace.admit(10, 0.0)
    assert 10 - LATE_SECONDS < pace.wait(1, 0.0) < 10.5


def test_a_late_turn_is_made_up_for_and_a_long_rest_is_not() -> None:
    pace = RateLimit(INPUT_IMAGES, 600)
    pace.admit(1, 0.0)
    pace.admit(1, 0.2)  # it might have gone 0.1 s before
    assert pace.wait(1, 0.2) < 0.01
    pace.admit(1, 30.0)
    at_once = 0
    while pace.wait(1, 30.0) == 0:
        pace.admit(1, 30.0)
        at_once += 1
    assert at_once <= 3


def test_a_minute_holds_no_more_than_is_given_however_the_items_fall_into_it() -> None:
    pace = RateLimit(INPUT_IMAGES, 25)
    pace.admit(10, 0.0)
    pace.admit(10, 25.0)
    assert 60 <= 50 + pace.wait(10, 50.0) <= 61.3


def test_an_item_above_the_limit_hangs_nobody() -> None:
    pace = RateLimit(INPUT_IMAGES, 5)
    pace.admit(1, 0.0)
    wait = pace.wait(10, 0.0)
    assert wait <= 61.3
    pace.admit(10, wait)
    assert pace.wait(1, wait) < 10 * 60 / 5 / MARGIN + 0.1


def test_an_item_that_can_never_pass_costs_the_others_no_time_and_teaches_the_limit() -> None:
    pace = RateLimit(INPUT_IMAGES, 5)
    before = pace.wait(1, 0.0)
    pace.refused(pace.admit(10, 0.0), Refusal(limit=5.0, delay=12.0), 0.1)
    assert pace.wait(1, 0.1) == before == 0
    told = RateLimit(INPUT_IMAGES)
    told.refused(told.admit(10, 0.0), Refusal(limit=5.0), 0.1)
    assert told.rate(0.1) == 5 * MARGIN


def test_all_wait_as_long_as_the_server_says_and_then_go_at_the_rate_it_told() -> None:
    pace = learned()
    assert pace.wait(1, 0.0) == 1.0
    assert pace.rate(1.0) == 60 * MARGIN
    pace.admit(1, 1.0)
    pace.admit(1, 1.0)
    assert pace.wait(1, 1.0) == pytest.approx(2 / MARGIN - LATE_SECONDS)


def test_what_was_sent_before_a_delay_was_told_is_in_the_delay() -> None:
    pace = RateLimit(INPUT_IMAGES)
    *_, last = take(pace, 0.0, 100)
    pace.refused(last, LIMIT_60, 5.0)
    assert pace.wait(1, 5.0) == 1.0


def test_where_no_delay_is_told_the_last_minute_counts() -> None:
    pace = RateLimit(INPUT_IMAGES)
    *_, last = take(pace, 0.0, 100)
    pace.refused(last, Refusal(limit=60.0), 5.0)
    assert 60 <= 5 + pace.wait(1, 5.0) <= 61.3


def test_a_delay_that_proves_too_short_makes_the_last_minute_count_and_slows_nothing() -> None:
    pace = RateLimit(INPUT_IMAGES)
    *_, last = take(pace, 0.0, 100)
    pace.refused(last, LIMIT_60, 5.0)
    pace.refused(pace.admit(1, 6.0), LIMIT_60, 6.1)
    assert 60 <= 6.1 + pace.wait(1, 6.1) <= 61.3
    assert pace.rate(6.1) == 60 * MARGIN


def test_what_was_on_its_way_when_the_hold_began_slows_nothing_further() -> None:
    pace = RateLimit(INPUT_IMAGES)
    permits = take(pace, 0.0, 16, accept=False)
    pace.refused(permits[0], Refusal(limit=None, delay=None), 0.5)
    rates = {pace.rate(0.6)}
    for permit in permits[1:]:
        pace.refused(permit, Refusal(limit=None, delay=0.3), 0.6)
        rates.add(pace.rate(0.6))
    assert len(rates) == 1
    assert pace.wait(1, 0.6) == pytest.approx(0.3)


def crowded(pace: RateLimit, now: float) -> float:
    """Somebody else uses the limit too: of those let go in the next 20 s every other is refused. When it is over."""
    while now < 20:
        now += pace.wait(1, now)
        pace.accepted(pace.admit(1, now))
        now += pace.wait(1, now)
        pace.refused(pace.admit(1, now), LIMIT_60, now)
    return now


def test_a_limit_that_others_share_is_gone_below_and_come_back_to() -> None:
    pace = learned()
    now = crowded(pace, 1.0)
    slow = pace.rate(now)
    assert slow is not None
    assert slow < 0.8 * 60
    later = [pace.rate(now + seconds) or 0 for seconds in range(0, 400, 20)]
    assert later == sorted(later)
    assert later[2] < 60 * MARGIN == later[-1]


def test_few_refusals_among_many_hold_and_slow_nothing() -> None:
    pace = learned()
    now = 1.0
    for turn in range(100):
        now += pace.wait(1, now)
        permit = pace.admit(1, now)
        pace.accepted(permit) if turn % 10 else pace.refused(permit, LIMIT_60, now)
    assert pace.rate(now) == 60 * MARGIN


def refused_without_a_word(now: float = 10.0, last: Refusal = Refusal()) -> RateLimit:  # noqa: B008 - is frozen
    """No limit is known; of 300 images in ten seconds a third was refused."""
    pace = RateLimit(INPUT_IMAGES)
    taken, refused = take(pace, 0.0, 200, every=0.04), take(pace, 8.0, 100, accept=False)
    for permit in refused[:99]:
        pace.refused(permit, Refusal(), 8.0)
    pace.accepted(taken[-1])
    pace.accepted(pace.admit(1, 9.5))
    pace.refused(pace.admit(1, now), last, now)
    return pace


def test_where_nothing_is_told_it_falls_below_what_passed() -> None:
    rate = refused_without_a_word().rate(10.0)
    assert rate == pytest.approx(DECREASE * 200 * 60 / 10, rel=0.02)


@pytest.mark.parametrize("sent_at", [9.8, None])  # a process of a pool reports it late, or all did in time
def test_neither_the_hold_nor_what_is_refused_in_it_makes_it_slower_again(sent_at: float | None) -> None:
    pace = refused_without_a_word(last=Refusal(delay=50.0))
    slow, before = pace.rate(60.0), Permit(1, 9.9, pace.episode - 1, 0.0)
    if sent_at is not None:
        pace.count(Permit(1, sent_at, pace.episode - 1, 0.0), 11.0)
    for _ in range(15):
        pace.refused(before, Refusal(delay=0.1), 11.0)
    now = 60.0
    for _ in range(4):
        now += pace.wait(1, now)
        pace.accepted(pace.admit(1, now))
    pace.refused(pace.admit(1, now), Refusal(delay=0.1), now)
    assert slow is not None
    assert (pace.rate(now) or 0) >= slow


def test_it_comes_back_to_where_it_was_refused_and_goes_beyond_as_long_as_nothing_is() -> None:
    pace = refused_without_a_word()
    since = 10.0 + pace.wait(1, 10.0)
    low = pace.rate(since) or 0
    assert (pace.rate(since + RECOVERY_SECONDS) or 0) == pytest.approx(low / DECREASE)
    assert (pace.rate(since + 5 * RECOVERY_SECONDS) or 0) > 5 * low


def test_the_pause_grows_as_long_as_nothing_passes() -> None:
    pace, now, pauses = RateLimit(INPUT_IMAGES), 0.0, []
    take(pace, 0.0, 16)
    for _ in range(12):
        pace.refused(pace.admit(1, now), Refusal(), now)
        pauses.append(pace.wait(1, now))
        now += pauses[-1]
    assert pauses[:4] == pytest.approx([0.25, 0.5, 1.0, 2.0], rel=0.3)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE)


def test_without_a_word_and_with_nothing_taken_it_does_not_come_all_at_once_again() -> None:
    pace = RateLimit(INPUT_IMAGES)
    take(pace, 0.0, 16)
    pace.refused(pace.admit(1, 0.0), Refusal(), 0.1)
    assert pace.rate(0.1) is None
    pace.refused(pace.admit(1, 0.4), Refusal(), 0.5)
    assert pace.rate(0.5) is not None


def test_a_longer_pause_that_the_server_asks_for_is_kept() -> None:
    pace = RateLimit(INPUT_IMAGES)
    pace.refused(pace.admit(1, 0.0), Refusal(delay=300.0), 0.0)
    assert pace.wait(1, 0.0) == 300.0


@pytest.mark.parametrize(("told", "rate"), [(250.0, 60.0), (30.0, 30.0)])
def test_what_is_given_stays_the_most_and_a_lower_limit_is_taken(told: float, rate: float) -> None:
    pace = RateLimit(INPUT_IMAGES, 60)
    pace.refused(pace.admit(1, 0.0), Refusal(limit=told, delay=1.0), 0.0)
    assert pace.rate(1.0) == rate * MARGIN


def test_a_limit_that_was_raised_is_taken() -> None:
    pace = learned()
    pace.refused(pace.admit(1, 5.0), Refusal(limit=250.0, delay=1.0), 5.0)
    assert pace.rate(6.0) == 250 * MARGIN
