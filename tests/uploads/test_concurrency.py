"""How many connections are used: the number settles near the best on every line, within its bounds, and politely.

The lines are models (`line_models.py`); the goals are those that the real thing is measured by.
"""

from __future__ import annotations

import itertools
import statistics
from functools import cache
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncsdk.uploads.pacing.concurrency import LEAST, MOST, START, WINDOW_SECONDS, ConnectionCount
from asyncsdk.uploads.pacing.measuring import Observation
from tests.uploads.line_models import MBIT, Controller, Fixed, Simulation, lines

SEEDS = range(5)
FIXED = (4, 8, 16, 32)
GIB = 1 << 30
CALM = [  # whatever chance does, the number ends near the best
    "25 Mbit/s a flow, 80 ms",
    "50 Mbit/s a flow, 150 ms, in clumps",
    "50 Mbit/s a flow, 150 ms, measured",
    "100 Mbit/s a flow, 40 ms, measured",
    "1 % loss, 40 ms, measured",
    "1,000 Mbit/s a flow, 20 ms, measured",
    "1 % loss, like Reno",
    "200 Mbit/s shared",
    "200 Mbit/s shared, bursts of others",
    "10 parts at once",
    "10 parts at once, 200 Mbit/s shared",
    "1 % of the parts refused",
    "loopback",
    "a slow disk",
    "limit_rate",
]
FAR, OTHERS = CALM[0], "200 Mbit/s shared with flows of others"

windows = st.builds(
    Observation,
    seconds=st.floats(allow_nan=True, allow_infinity=True) | st.floats(0.05, 3),
    acked=st.integers(-10, 10**9),
    in_use=st.floats(0, 64) | st.just(float("nan")),
    rtt=st.floats(0, 5) | st.just(float("nan")),
    finished=st.integers(0, 64),
    refused=st.integers(0, 64) | st.just(0),
    held_back=st.floats(allow_nan=True) | st.just(0.0),
    loop_busy=st.floats(allow_nan=True) | st.just(0.0),
)


@cache
def run(name: str, seed: int, number: int | None = None, size: int = 64 * GIB, longest: float = 60.0) -> Simulation:
    control = ConnectionCount() if number is None else Fixed(number)
    return Simulation(lines(seed)[name], control, size, seed, longest).run()


def settled_shares(name: str, start: float = 25.0, end: float = 60.0) -> list[float]:
    """The rate once settled, as shares of what the best fixed number reaches."""
    return [
        run(name, seed, longest=end).rate_between(start, end)
        / max(run(name, seed, number, longest=end).rate_between(start, end) for number in FIXED)
        for seed in SEEDS
    ]


def whole_share(name: str, size: int, seed: int = 0) -> float:
    """The time that the best fixed number takes for an upload, as a share of the time with the default."""
    best = min(run(name, seed, number, size, 3600.0).time for number in FIXED)
    return best / run(name, seed, None, size, 3600.0).time


def window(
    number: int, rate: float, *, refused: int = 0, held_back: float = 0.0, loop_busy: float = 0.0
) -> Observation:
    return Observation(
        seconds=WINDOW_SECONDS,
        acked=int(rate * WINDOW_SECONDS),
        in_use=float(number),
        refused=refused,
        held_back=held_back,
        loop_busy=loop_busy,
    )


@pytest.mark.parametrize("name", CALM)
def test_the_settled_rate_is_near_that_of_the_best_fixed_number(name: str) -> None:
    assert min(settled_shares(name)) >= 0.9


def test_among_flows_of_others_that_come_and_go_it_is_so_in_most_runs() -> None:
    shares = settled_shares(OTHERS, 60, 120)
    assert statistics.median(shares) >= 0.9
    assert min(shares) >= 0.75


@pytest.mark.parametrize("name", [*CALM[:7], CALM[-1]])
def test_a_whole_upload_is_not_much_slower_than_with_the_best_fixed_number(name: str) -> None:
    assert whole_share(name, GIB) >= 0.7
    assert whole_share(name, 4 * GIB) >= 0.9


def test_where_each_flow_is_limited_it_is_far_faster_than_eight() -> None:
    assert run(FAR, 0, 8, GIB, 3600.0).time / run(FAR, 0, None, GIB, 3600.0).time >= 2.2


@pytest.mark.parametrize("name", CALM[:4])
def test_on_a_far_line_all_are_used_within_two_seconds(name: str) -> None:
    assert next(seen.time for seen in run(name, 0).seen if seen.number == MOST) <= 2.5


@pytest.mark.parametrize("changes", [{"rtt": 0.02}, {"held_back": 0.5}, {"loop_busy": 0.95}, {"refused": 1}])
def test_a_rate_that_grows_opens_all_at_once_only_where_the_line_is_far_and_nothing_limits(
    changes: dict[str, Any],
) -> None:
    growing = [evolve(window(START, START * 2e6 * 2**step), rtt=0.05) for step in range(3)]
    far, other = ConnectionCount(), ConnectionCount()
    for seen in growing:
        far.observe(seen)
        other.observe(evolve(seen, **changes))
    assert far.number == MOST
    assert other.number <= START


def test_the_next_upload_begins_with_what_the_last_one_learned() -> None:
    learned = ConnectionCount(run(FAR, 0).seen[-1].best)
    again = Simulation(lines(0)[FAR], learned, GIB).run()
    assert run(FAR, 0, MOST, GIB, 3600.0).time / again.time >= 0.97


def test_bursts_of_others_do_not_drive_the_number_up() -> None:
    ends = [run("200 Mbit/s shared, bursts of others", seed, longest=120.0).seen[-1].best for seed in range(16)]
    assert sum(end >= 27 for end in ends) <= 3
    assert statistics.median(ends) <= START


@pytest.mark.parametrize("name", ["10 parts at once", "10 parts at once, 200 Mbit/s shared"])
def test_a_server_that_refuses_more_than_ten_is_soon_left_in_peace(name: str) -> None:
    for seed in SEEDS:
        long = run(name, seed, longest=300.0)
        assert long.refused_after(30) <= 0.03
        assert long.seen[-1].best <= 10


def test_a_server_that_begins_to_refuse_in_mid_upload_is_followed_and_so_is_one_that_stops() -> None:
    line = evolve(lines(0)[FAR], accepts=lambda time: 10 if 30 < time < 90 else 1000)
    long = Simulation(line, ConnectionCount(), longest=600.0).run()
    assert max(seen.best for seen in long.seen if 60 < seen.time < 90) <= 10
    assert long.seen[-1].best > 10


def test_refusals_in_several_short_tries_of_a_number_add_up() -> None:
    """Of parts that wait longer and longer before they are tried again, each try of more meets one only."""
    control, refused, was = ConnectionCount(10), list[int](), 0
    for _ in range(int(300 / WINDOW_SECONDS)):
        number = control.number
        is_new = number > 10 and number != was
        refused.append(is_new)
        control.observe(evolve(window(number, min(number, 10) * MBIT * 25, refused=is_new), finished=1))
        was = number
    assert sum(refused[len(refused) // 2 :]) <= 4
    assert control.best == 10


def test_refusals_that_have_nothing_to_do_with_the_number_leave_it_high() -> None:
    for seed in SEEDS:
        assert run("1 % of the parts refused", seed).seen[-1].best == MOST


def test_an_outage_teaches_nothing() -> None:
    control = ConnectionCount(MOST)
    for _ in range(100):
        control.observe(window(control.number, control.number * 25 * MBIT))
    control.observe(window(control.number, 25 * MBIT, refused=control.number))
    for _ in range(100):
        control.observe(window(control.number, 0, refused=control.number))
    assert control.best == MOST


def test_a_step_up_whose_connections_begin_slowly_is_given_a_whole_measure() -> None:
    """As on a machine that is busy in that half of a second."""
    control, flow = ConnectionCount(), 25 * MBIT
    while control.number == START:
        control.observe(window(START, START * flow))
    for rate in (5 * flow, 5 * flow, 5 * flow, *[16 * flow] * 10):
        assert control.observe(window(control.number, rate)) > START
    assert control.best == 16


def test_the_time_in_which_all_parts_wait_for_their_answers_is_a_part_of_the_rate() -> None:
    """Small parts on a near line begin together and end together; a second each, of which they are sent in a half."""
    control, size = ConnectionCount(), 1 << 20
    for share in itertools.islice(itertools.cycle((1.5, 0.5, 0.0, 0.0)), 40):
        control.observe(window(control.number, control.number * size * share / WINDOW_SECONDS / 2))
    assert control.best == MOST


def test_the_time_in_which_a_source_gives_nothing_is_not() -> None:
    """Such as a bucket that gives a block a second: more connections would send no more of it."""
    control, seen = ConnectionCount(), list[int]()
    for is_held in itertools.islice(itertools.cycle((True, True, True, False)), 400):
        rate = 0 if is_held else 80e6
        seen.append(control.observe(window(control.number, rate, held_back=1.0 if is_held else 0.0)))
    assert max(seen) == START


@pytest.mark.parametrize("seconds", [1, 8, 60])
def test_the_time_before_the_first_bytes_is_not_a_rate_from_which_another_grows(seconds: int) -> None:
    """Of a far line all would be opened at once, though the line gives what it gives from the beginning."""
    control, steady = ConnectionCount(), evolve(window(START, START * 2e6), rtt=0.05)
    for _ in range(int(seconds / WINDOW_SECONDS)):
        control.observe(evolve(steady, acked=0))
    for _ in range(2):
        assert control.observe(steady) < MOST


@pytest.mark.parametrize("name", ["a slow disk", "limit_rate"])
def test_while_something_else_limits_the_number_never_rises(name: str) -> None:
    for seed in SEEDS:
        assert max(seen.number for seen in run(name, seed).seen) <= START


def test_a_line_that_changes_in_mid_upload_is_followed() -> None:
    better, worse = "a line that gets better", "a line that gets worse"  # both after 40 s
    assert min(settled_shares(better, 65, 90)) >= 0.9
    assert min(settled_shares(worse, 65, 90)) >= 0.9
    assert run(better, 0, longest=90.0).seen[-1].best == MOST
    assert run(worse, 0, longest=90.0).seen[-1].best < MOST


def test_where_connections_above_the_number_do_not_pause_it_settles_too() -> None:
    for name in CALM[:4]:
        line = evolve(lines(0)[name], pauses=False)
        controls: list[Controller] = [ConnectionCount(), *map(Fixed, FIXED)]
        rates = [Simulation(line, control, longest=90.0).run().rate_between(45, 90) for control in controls]
        assert rates[0] >= 0.9 * max(rates[1:])


@pytest.mark.parametrize("name", [*CALM[:4], "10 parts at once"])
def test_where_the_system_still_sends_of_connections_that_pause_it_settles_too(name: str) -> None:
    line = evolve(lines(0)[name], drains=1.0)
    controls: list[Controller] = [ConnectionCount(), *map(Fixed, FIXED)]
    rates = [Simulation(line, control, longest=90.0).run().rate_between(45, 90) for control in controls]
    assert rates[0] >= 0.9 * max(rates[1:])


@given(start=st.integers(-100, 100), seen=st.lists(windows, max_size=200))
def test_whatever_comes_in_the_number_stays_within_its_bounds(start: int, seen: list[Observation]) -> None:
    control = ConnectionCount(start)
    for each in seen:
        assert LEAST <= control.observe(each) == control.number <= MOST
        assert LEAST <= control.best <= MOST


@given(seen=st.lists(st.tuples(windows, st.booleans()), max_size=300))
def test_no_step_up_is_made_on_a_window_in_which_something_else_limited(seen: list[tuple[Observation, bool]]) -> None:
    control = ConnectionCount()
    for each, limited in seen:
        highest = max(control.number, control.best)  # to go back from a try with fewer is not a step up
        shown = evolve(each, held_back=0.5) if limited else each
        if control.observe(evolve(shown, in_use=float(control.number))) > highest:
            assert not shown.is_limited
            assert not shown.refused


@settings(deadline=None)
@given(
    flow=st.floats(2e4, 2e8),
    flows=st.floats(0.5, 100),
    held_back=st.sampled_from([0.0, 0.6]),
    loop_busy=st.sampled_from([0.0, 0.95]),
    start=st.integers(LEAST, MOST),
)
def test_on_a_constant_line_it_settles_near_the_best(
    flow: float, flows: float, held_back: float, loop_busy: float, start: int
) -> None:
    control, limit = ConnectionCount(start), held_back or loop_busy

    def rate(number: int) -> float:
        return min(number, flows) * flow

    for _ in range(int(120 / WINDOW_SECONDS)):
        control.observe(window(control.number, rate(control.number), held_back=held_back, loop_busy=loop_busy))
    assert control.settled
    assert limit or rate(control.best) >= 0.9 * rate(MOST)
    assert not limit or control.best <= start


def test_it_says_that_it_settled_where_there_is_nothing_to_learn() -> None:
    control = ConnectionCount()
    for _ in range(40):
        control.observe(window(2, 1e6))  # a small file: two parts at once
    assert control.settled
    assert control.number == START


def test_a_long_pause_between_uploads_changes_nothing() -> None:
    control = ConnectionCount(16)
    for _ in range(10_000):
        control.observe(Observation(seconds=1.0, acked=0, in_use=0.0))
    assert control.number == control.best == 16


def test_a_window_is_limited_also_where_its_shares_are_not_numbers() -> None:
    assert Observation(seconds=1, acked=1, in_use=1, held_back=float("nan")).is_limited
    assert not Observation(seconds=1, acked=1, in_use=1).is_limited
