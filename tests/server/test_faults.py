"""A fault happens in the calls that it is meant for, as often as it should, and says when it did not."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.server.faults import Fault, Faults, fault_to_json, faults_from_json

counts = st.none() | st.integers(1, 6)


def met(fault: Fault, calls: int = 12, route: str = "part") -> list[int]:
    """Which calls, from 1, meet the fault."""
    plan = Faults.of([fault])
    return [call for call in range(1, calls + 1) if plan.meet(route) is fault]


def test_a_fault_meets_the_first_call_once_unless_told_otherwise() -> None:
    assert met(Fault("part", "reset")) == [1]
    assert met(Fault("part", "reset", nth=3)) == [3]
    assert met(Fault("part", "reset", times=2)) == [1, 2]
    assert met(Fault("part", "reset", nth=3, times=2)) == [3, 4]


def test_every_so_many_calls_goes_on_without_end_unless_told_otherwise() -> None:
    assert met(Fault("part", "reset", every=1)) == list(range(1, 13))
    assert met(Fault("part", "reset", every=5)) == [5, 10]
    assert met(Fault("part", "reset", every=5, nth=1)) == [1, 6, 11]
    assert met(Fault("part", "reset", every=5, times=1)) == [5]


def test_a_fault_for_any_route_meets_every_route_and_others_their_own() -> None:
    assert met(Fault("*", "reset", every=1), 2, "files.list") == [1, 2]
    assert met(Fault("part", "reset", every=1), 2, "files.list") == []


@given(counts, counts, counts, st.integers(0, 30))
def test_no_fault_happens_too_often_or_too_early(
    nth: int | None, every: int | None, times: int | None, calls: int
) -> None:
    happened = met(Fault("part", "reset", nth=nth, every=every, times=times), calls)
    assert len(happened) <= (times or (1 if every is None else calls))
    assert all(call >= (nth or every or 1) for call in happened)
    assert all(later - earlier == (every or 1) for earlier, later in pairwise(happened))


def test_of_several_faults_the_first_one_added_happens_and_all_count_the_call() -> None:
    first, second = Fault("part", "reset"), Fault("part", "close", nth=2)
    plan = Faults.of([first, second])
    assert [plan.meet("part") for _ in range(3)] == [first, second, None]


def test_a_fault_is_unmet_until_it_happened_as_often_as_it_should() -> None:
    twice, always = Fault("part", "reset", times=2), Fault("create", "reset", every=2)
    plan = Faults.of([twice, always])
    plan.meet("part")
    plan.meet("create")
    assert plan.unmet() == [twice, always]
    plan.meet("part")
    plan.meet("create")
    assert plan.unmet() == []


def test_cleared_faults_do_not_happen() -> None:
    plan = Faults.of([Fault("part", "reset")])
    plan.clear()
    assert plan.meet("part") is None
    assert plan.unmet() == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"route": "nowhere", "kind": "reset"},
        {"route": "part", "kind": "explode"},
        {"route": "part", "kind": "reset", "at": "never"},
        {"route": "part", "kind": "reset", "nth": 0},
        {"route": "part", "kind": "reset", "every": "2"},
        {"route": "part", "kind": "stall", "seconds": -1},
        {"route": "part", "kind": "answer", "status": 100},
        {"route": "part", "kind": "answer", "status": "500"},
        {"route": "part", "kind": "answer", "headers": {"Retry-After": 1}},
        {"route": "part", "kind": "answer", "at": "answering"},
        {"route": "part", "kind": "slow"},
        {"route": "part", "kind": "reset", "rate": 10},
        {"route": "part", "kind": "reset", "colour": "red"},
        {"kind": "reset"},
        "reset",
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_its_number(arguments: Any) -> None:
    with pytest.raises(ValueError, match="fault 2"):
        faults_from_json([{"route": "part", "kind": "reset"}, arguments])


@pytest.mark.parametrize(
    "fault",
    [
        Fault("part", "reset", "in", nth=2),
        Fault("*", "answer", status=429, headers={"Retry-After": "2"}, body={"error": {"code": "slow_down"}}),
        Fault("complete", "answer", "done", status=502, body="<html>Bad gateway</html>"),
        Fault("files.content", "stall", "answering", seconds=0.5),
        Fault("part", "slow", rate=1000, every=3),
    ],
)
def test_a_fault_survives_its_way_through_json(fault: Fault) -> None:
    text = json.dumps(fault_to_json(fault))
    assert faults_from_json(json.loads(text)) == [fault]
