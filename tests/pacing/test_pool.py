"""A pool is one limit for many processes: never above it, never idle below it, and all of them hear of a 429."""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections.abc import Callable
from functools import partial

import pytest
from attrs import evolve
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from asyncsdk.ratelimit import INPUT_IMAGES, LATE_SECONDS, MARGIN, Permit, RateLimit, Refusal
from asyncsdk.ratepool import AHEAD, LONGEST_TRUST, PlaceInLine, PoolRow, PoolShare, Reading, slots
from tests.pacing.limited import Bucket, SlidingMinute, says_all
from tests.pacing.pooled import BEGIN, TURNED_AWAY, Fleet, Pool, between, most_ahead, most_in_a_minute

seeds = st.integers(0, 2**32)
PHASES = [Phase.explicit, Phase.generate]  # to look for a smaller fleet takes minutes, and it would be no plainer


def says_limit(limit: float, _: float) -> Refusal:
    return Refusal(limit, None)


def slot_of(place: PlaceInLine) -> Permit | None:
    return place.slot


def read(share: PoolShare, limit: RateLimit, now: float) -> None:
    """Look at the pool, all at once; the database's clock is `now` too."""
    turn = share.take(limit, now, asked=now, took=0.0)
    share.settle(turn, Reading(now, now, now, limit))


def sent_alone(seed: int, given: float, refusals: float, *, begin: float, end: float) -> int:
    """How many a single process sends, of which that part is turned away."""
    chance, limit, sent, now = random.Random(seed), RateLimit(INPUT_IMAGES, given), 0, 0.0
    answers = list[tuple[float, int, Permit]]()
    for number in itertools.count():
        while answers and (len(answers) == 8 or answers[0][0] <= now + limit.wait(1, now)):
            now, _, permit = heapq.heappop(answers)
            if chance.random() < refusals:
                limit.refused(permit, TURNED_AWAY, now)
            else:
                limit.accepted(permit)
        now += limit.wait(1, now)
        if now > end:
            break
        sent += now > begin
        heapq.heappush(answers, (now + chance.uniform(0, 1), number, limit.admit(1, now)))
    return sent


fleets = st.builds(
    Fleet,
    seeds,
    st.integers(10, 600),
    st.integers(1, 8),
    st.integers(1, 10),
    latency=st.floats(0.001, 0.6),
    pauses=st.integers(0, 30),
    cuts=st.integers(0, 10),
    kills=st.integers(0, 10),
    refusals=st.sampled_from([0.0, 0.1, 0.5]),
    refusal=st.builds(Refusal, st.none(), st.sampled_from([None, 0.02, 3.0])),
)


@given(fleets)
@settings(max_examples=5, phases=PHASES)
def test_whatever_fails_no_minute_has_more_than_the_limit_and_3_of_a_hundred_and_one_item(fleet: Fleet) -> None:
    assert fleet.limit is not None
    fleet.run(150)
    assert most_in_a_minute(fleet.sent) <= fleet.limit * 1.03 + fleet.most
    # slots make up for that much, are used late by that much, and the clock is known to within a look that counts
    assert most_ahead(fleet.sent, fleet.limit * MARGIN) <= 2 * LATE_SECONDS + LONGEST_TRUST + 0.02


@pytest.mark.parametrize("seed", range(4))
def test_slots_that_were_missed_or_void_never_come_together(seed: int) -> None:
    turned_away = Refusal(None, 0.5)
    fleet = Fleet(seed, 300, 3, 4, pauses=20, longest_pause=4.0, cuts=10, refusals=0.1, refusal=turned_away)
    fleet.run(60)
    assert most_ahead(fleet.sent, 300 * MARGIN) <= LATE_SECONDS + 2 * fleet.latency + 0.02


@pytest.mark.parametrize(("limit", "processes"), [(None, 4), (30, 4), (300, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_a_429_holds_all_within_a_second_also_one_that_the_database_does_not_answer(
    limit: int | None, processes: int, seed: int
) -> None:
    def server(_: int, now: float) -> float | None:
        return 30.0 - now if 20.0 <= now < 30.0 else None

    fleet = Fleet(seed, limit, processes, at_work=0.1, server=server)
    fleet.run(19.7)
    deaf, *others = fleet.members
    deaf.cut_off_until = 32.0
    fleet.run(40.0)
    first = min(at for each in others for at, _ in each.has_had if at >= 20.0)
    assert between(fleet.sent, first + LONGEST_TRUST + 0.2, 29.99) == 0
    assert between(fleet.sent, 30.0, 40.0) > 0


@given(limit=st.integers(60, 1200), processes=st.integers(1, 8), seed=seeds)
@settings(max_examples=2, phases=PHASES)
def test_it_is_never_idle_while_the_limit_allows(limit: int, processes: int, seed: int) -> None:
    at_work = min(1.0, processes * 8 * 60 / limit / 2)  # so that enough wait
    fleet = Fleet(seed, limit, processes, at_work=at_work)
    fleet.run(90)
    slowest = min(between(fleet.sent, at, at + 60) for at in range(10, 30))
    assert slowest >= 0.97 * limit - 1


def test_a_429_now_and_then_costs_the_pool_next_to_nothing() -> None:
    fleet = Fleet(11, 1200, 8, refusals=0.1)
    fleet.run(80)
    assert between(fleet.sent, 15, 75) >= 0.97 * 1200


def test_below_60_a_minute_429s_now_and_then_cost_a_pool_what_they_cost_one_process() -> None:
    """Of so few a tenth is by chance at times more than is tolerated: the limit slows down, with a pool or without."""
    fleets, alone = [Fleet(seed, 30, 4, refusals=0.1) for seed in range(5)], 0
    for fleet in fleets:
        fleet.run(260)
        alone += sent_alone(fleet.seed, 30, 0.1, begin=20, end=260)
    assert sum(between(fleet.sent, 20, 260) for fleet in fleets) >= 0.96 * alone


@pytest.mark.parametrize(("processes", "latency"), [(3, 0.1), (8, 0.05)])
def test_what_processes_and_round_trips_make_up_to_0_4_s_costs_nothing(processes: int, latency: float) -> None:
    fleet = Fleet(3, 150 * processes, processes, latency=latency)
    fleet.run(60)
    assert between(fleet.sent, 15, 55) >= 0.97 * 100 * processes


@pytest.mark.parametrize("says", [says_all, says_limit])
@given(limit=st.integers(30, 300), processes=st.integers(1, 6), seed=seeds)
@settings(max_examples=2, phases=PHASES)
def test_a_limit_that_a_429_names_is_learned_by_all_from_the_first_one(
    says: Callable[[float, float], Refusal],
    limit: int,
    processes: int,
    seed: int,
) -> None:
    server = Bucket(limit, limit / 4 + 2)
    fleet = Fleet(seed, None, processes, server=server.ask, says=partial(says, limit))
    fleet.run(200)
    assert between(fleet.passed, 80, 200) >= 0.9 * 2 * limit
    assert len(fleet.sent) - len(fleet.passed) <= 0.1 * len(fleet.sent) + processes * 16


# the same examples each time: it held in all of 1,544 others, but one of them was at 0.63
@given(limit=st.integers(30, 200), processes=st.integers(1, 6), seed=seeds)
@example(limit=170, processes=3, seed=48)  # it slows down shortly before a hold of most of a minute
@settings(max_examples=2, phases=PHASES, derandomize=True)
def test_a_limit_that_is_not_named_is_found_together(limit: int, processes: int, seed: int) -> None:
    fleet = Fleet(seed, None, processes, server=SlidingMinute(limit).ask, says=lambda wait: Refusal(None, wait))
    fleet.run(420)
    assert between(fleet.passed, 120, 420) >= 0.6 * limit * 5


def test_a_clock_that_is_set_back_or_forward_hangs_nobody() -> None:
    for step in (-3600.0, 3600.0):
        fleet = Fleet(5, 300, 3)
        fleet.run(70)
        fleet.pool.set_by = step
        fleet.run(200)
        assert between(fleet.sent, 80, 200) >= 0.95 * 2 * 300
        assert between(fleet.sent, 70, 130) <= 300 * 1.03 * (2 if step > 0 else 1) + 1


def test_slots_are_dated_a_second_ahead_at_most_and_one_is_given_in_any_case() -> None:
    limit = RateLimit(INPUT_IMAGES, 60)
    given = slots(limit, [1] * 9, 100.0, lead=0.0, has_some=False)
    assert [slot.at for slot in given] == pytest.approx([100.0, 100.0 + 1 / MARGIN - LATE_SECONDS], abs=0.01)
    assert slots(limit, [1], 100.0, lead=0.0, has_some=True) == []
    [far] = slots(limit, [1, 1], 100.0, lead=0.0, has_some=False)
    assert far.at > 100.0 + AHEAD


def test_a_slot_weighs_as_much_as_its_edit() -> None:
    limit = RateLimit(INPUT_IMAGES, 600)
    first, second = slots(limit, [5, 1, 1, 1, 1], 0.0, lead=0.0, has_some=False)[:2]
    assert second.at - first.at == pytest.approx(0.5 / MARGIN - LATE_SECONDS)


def test_the_first_slot_is_not_before_the_grant_is_known() -> None:
    [slot] = slots(RateLimit(INPUT_IMAGES, 600), [1], 10.0, lead=0.4, has_some=False)
    assert slot.at == 10.4


def test_after_an_outage_slots_are_not_dated_as_far_ahead_as_it_was_long() -> None:
    share, limit = PoolShare(), RateLimit(INPUT_IMAGES, 600)
    place = share.join(1)
    turn = share.take(limit, 100.0, asked=70.0, took=30.0)
    share.settle(turn, Reading(70.0, 100.0, 100.0, limit))
    assert place.slot is not None
    assert place.slot.at <= 100.5
    assert share.until_look(100.0) == 0


def test_a_slot_that_is_missed_by_a_quarter_of_a_second_is_forfeited() -> None:
    share, limit = PoolShare(), RateLimit(INPUT_IMAGES, 600)
    early, late = share.join(1), share.join(1)
    read(share, limit, 10.0)
    assert share.wait(early, 10.2) == 0
    share.use(early)
    assert late.slot is not None
    assert share.wait(late, late.slot.at + LATE_SECONDS + 0.01) == float("inf")
    assert slot_of(late) is None
    before = limit.next_at
    read(share, limit, 10.9)
    assert limit.next_at > before  # its share is gone
    assert limit.sent.count(0.0) == 2


def test_a_slot_does_not_count_once_the_pool_was_not_looked_at_for_a_second() -> None:
    share, limit = PoolShare(), RateLimit(INPUT_IMAGES, 60)
    limit.admit(1, 10.0)
    place = share.join(1)
    read(share, limit, 10.0)
    assert place.slot is not None
    assert share.wait(place, place.slot.at) == 0.0
    assert share.wait(place, 10.0 + LONGEST_TRUST + 0.05) == float("inf")


def test_a_429_in_one_process_voids_what_another_has_for_its_pause() -> None:
    ours, theirs, limit = PoolShare(), PoolShare(), RateLimit(INPUT_IMAGES, 60)
    sent = limit.admit(1, 10.0)
    place = theirs.join(1)
    read(theirs, limit, 10.1)
    ours.refused(sent, Refusal(None, 5.0))
    assert ours.until_look(10.2) == 0
    read(ours, limit, 10.2)
    assert theirs.until_look(10.3) <= 1.0
    read(theirs, limit, 10.9)
    assert place.slot is not None
    assert place.slot.at >= 15.2


def test_a_429_that_slows_nothing_voids_only_what_is_within_its_pause() -> None:
    ours, theirs, limit = PoolShare(), PoolShare(), RateLimit(INPUT_IMAGES, 120)
    sent = limit.admit(1, 10.0)
    soon, later = theirs.join(1), theirs.join(1)
    read(theirs, limit, 10.1)
    assert soon.slot is not None
    assert later.slot is not None
    kept, ends = later.slot, (soon.slot.at + later.slot.at) / 2
    ours.refused(sent, Refusal(None, ends - 10.15))
    read(ours, limit, 10.15)
    read(theirs, limit, 10.2)
    assert later.slot is kept
    assert slot_of(soon) is None
    theirs.use(later)
    read(theirs, limit, kept.at)
    again = slot_of(soon)
    assert again is not None
    assert again.at > kept.at


def test_a_slot_that_is_void_is_not_used_while_that_is_being_written() -> None:
    share, limit = PoolShare(), RateLimit(INPUT_IMAGES, 60)
    sent, place = limit.admit(1, 10.0), share.join(1)
    read(share, limit, 10.1)
    slot = slot_of(place)
    assert slot is not None
    limit.refused(sent, Refusal(None, 5.0), 10.2)
    turn = share.take(limit, 10.5, asked=10.5, took=0.0)
    assert share.wait(place, slot.at) == float("inf")
    share.leave(place)
    share.settle(turn, Reading(10.5, 10.5, 10.5, limit))
    read(share, limit, 11.3)
    assert limit.sent.kept() == []  # each was taken back once


def test_what_was_spaced_by_a_faster_rate_is_void() -> None:
    limit = RateLimit(INPUT_IMAGES, 600)
    slot = limit.admit(1, 10.9, 10.0)
    assert not limit.is_void(slot)
    limit.refused(limit.admit(1, 10.0), Refusal(60.0, 0.1), 10.0)
    assert limit.is_void(slot)


def test_of_two_that_hear_a_429_of_one_episode_the_pool_slows_once() -> None:
    limit = RateLimit(INPUT_IMAGES, 60)
    permits = [limit.admit(1, 10.0) for _ in range(2)]
    for permit in permits:
        share = PoolShare()
        share.refused(permit, Refusal(None, 1.0))
        read(share, limit, 10.5)
    assert limit.episode == 1


def test_an_answer_is_news_only_where_it_proves_something() -> None:
    share, limit = PoolShare(), RateLimit(INPUT_IMAGES, 60)
    old = limit.admit(1, 10.0)
    for second in (11.0, 12.0):
        limit.refused(limit.admit(1, second), Refusal(None, 0.1), second)
    read(share, limit, 13.0)
    share.accepted(old)
    assert share.until_look(13.5) == float("inf")
    share.accepted(limit.admit(1, 14.0))
    assert share.until_look(14.0) == 0
    read(share, limit, 14.0)
    assert limit.is_proved


def test_without_a_limit_nothing_waits_and_what_was_sent_is_reported() -> None:
    share, limit = PoolShare(), RateLimit(INPUT_IMAGES)
    read(share, limit, 10.0)
    assert share.is_free(1, 10.5)
    assert [share.send_now(1, 10.5).at for _ in range(3)] == [10.5] * 3
    assert not share.is_free(1, 11.01)
    read(share, limit, 11.0)
    assert limit.sent.count(0.0) == 3


def test_a_row_is_read_as_it_was_written() -> None:
    pool, chance = Pool(None), random.Random(3)
    row = pool.read(1.0)
    permits = [row.limit.admit(chance.randint(1, 9), BEGIN + chance.uniform(0, 50)) for _ in range(50)]
    row.limit.refused(permits[0], Refusal(60.0, 2.0), BEGIN + 50)
    assert pool.write(row.version, row.columns())
    again = pool.read(51.0)
    assert again.limit == evolve(row.limit, sent=again.limit.sent)  # the order of its slices may differ
    assert again.limit.sent.kept() == row.limit.sent.kept()
    assert not pool.write(row.version, row.columns())


def test_a_hold_of_a_day_takes_no_room_in_the_row() -> None:
    limit = RateLimit(INPUT_IMAGES, 60)
    limit.refused(limit.admit(1, BEGIN), Refusal(None, 86_400.0), BEGIN)
    slots(limit, [1], BEGIN, lead=0.0, has_some=False)
    assert len(json.dumps(PoolRow(limit, 1, 1, BEGIN).columns())) < 600


def test_a_new_run_learns_again_and_still_counts_what_was_sent() -> None:
    limit = RateLimit(INPUT_IMAGES)
    limit.refused(limit.admit(1, BEGIN), Refusal(60.0, 86_400.0), BEGIN)
    limit.admit(3, BEGIN + 1)
    limit.admit(1, BEGIN + 90_000, BEGIN + 1)
    row = PoolRow(limit, 1, 1, BEGIN + 2)
    assert row.joined(1, None) is row
    fresh = row.joined(2, 240.0)
    assert (fresh.run, fresh.limit.given, fresh.limit.reported) == (2, 240.0, float("inf"))
    assert fresh.limit.sent.count(BEGIN - 60) == 3
    assert fresh.limit.wait(1, BEGIN + 2) == 0


@pytest.mark.parametrize(
    ("has", "given", "then"),
    [(None, None, None), (60, 60, 60), (60, None, 60), (None, 60, 60)],
)
def test_a_pool_has_one_limit_in_a_run(has: float | None, given: float | None, then: float | None) -> None:
    row = PoolRow(RateLimit(INPUT_IMAGES, has), 7, 1, BEGIN)
    assert not row.is_anothers(7, given)
    assert row.joined(7, given).limit.given == then


def test_another_limit_in_the_same_run_is_seen() -> None:
    row = PoolRow(RateLimit(INPUT_IMAGES, 60), 7, 1, BEGIN)
    assert row.is_anothers(7, 30)
    assert not row.is_anothers(8, 30)
