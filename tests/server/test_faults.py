"""A fault happens in the calls that it is meant for, as often as planned; unmet ones are reported."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.server.fault_plan import FaultPlan
from asyncsdk.server.faults import Fault, Kind, Moment, RetryForm, Route, fault_to_json, faults_from_json

counts = st.none() | st.integers(1, 6)


def met(fault: Fault, calls: int = 12, route: str = "part") -> list[int]:
    """Which calls, from 1, meet the fault."""
    plan = FaultPlan.of([fault])
    return [call for call in range(1, calls + 1) if met_by(plan, route) is fault]


def met_by(plan: FaultPlan, route: str) -> Fault | None:
    """Make a call to its end; return the fault that it met."""
    meeting = plan.meet(route)
    for planned in meeting:
        planned.happened()
        planned.release()
    return meeting[0].fault if meeting else None


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
    plan = FaultPlan.of([first, second])
    assert [met_by(plan, "part") for _ in range(3)] == [first, second, None]


def test_a_fault_is_unmet_until_it_happened_as_often_as_it_should() -> None:
    twice, always = Fault("part", "reset", times=2), Fault("create", "reset", every=2)
    plan = FaultPlan.of([twice, always])
    met_by(plan, "part")
    met_by(plan, "create")
    assert plan.unmet() == [twice, always]
    met_by(plan, "part")
    met_by(plan, "create")
    assert plan.unmet() == []


def test_a_probability_chooses_the_same_calls_for_the_same_seed_and_others_for_another() -> None:
    by_seed = [met(Fault("part", "reset", probability=0.3, seed=seed), 1000) for seed in (1, 1, 2)]
    assert by_seed[0] == by_seed[1] != by_seed[2]
    assert 200 < len(by_seed[0]) < 400
    assert met(Fault("part", "reset", probability=1), 3) == [1, 2, 3]
    assert len(met(Fault("part", "reset", probability=0.3, times=2), 1000)) == 2


def test_a_call_that_ended_before_its_moment_leaves_its_fault_to_the_next() -> None:
    plan = FaultPlan.of([Fault("part", "reset")])
    [early] = plan.meet("part")
    assert plan.meet("part") == []
    early.release()
    assert plan.unmet() == [early.fault]
    assert met_by(plan, "part") is early.fault
    assert plan.unmet() == []


def test_a_limit_goes_with_another_fault_and_counts_every_call() -> None:
    limit, reset = Fault("part", "limit", per_minute=60), Fault("part", "reset", nth=2)
    plan = FaultPlan.of([reset, limit])
    assert [[planned.fault for planned in plan.meet("part")] for _ in range(2)] == [[limit], [limit, reset]]


def test_cleared_faults_do_not_happen() -> None:
    plan = FaultPlan.of([Fault("part", "reset")])
    plan.clear()
    assert plan.meet("part") == []
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
        {"route": "part", "kind": "reset", "probability": 0},
        {"route": "part", "kind": "reset", "probability": 1.1},
        {"route": "part", "kind": "reset", "probability": 0.5, "every": 2},
        {"route": "part", "kind": "reset", "retry_after": 1},
        {"route": "part", "kind": "reset", "status": 500},
        {"route": "part", "kind": "answer", "status": None},
        {"route": "part", "kind": "answer", "retry_as": "date"},
        {"route": "part", "kind": "reset", "seed": 7},
        {"route": "files.list", "kind": "reset", "at": "in"},
        {"route": "files.content", "kind": "slow", "rate": 1000},
        {"route": "part", "kind": "answer", "retry_after": 1, "retry_as": "years"},
        {"route": "part", "kind": "limit"},
        {"route": "part", "kind": "limit", "per_minute": 0},
        {"route": "part", "kind": "limit", "per_minute": 1, "nth": 2},
        {"route": "part", "kind": "limit", "per_minute": 1, "unit": "input-images"},
        {"route": "edit", "kind": "reset", "unit": "input-images"},
        {"route": "part", "kind": "reset", "per_minute": 1},
        {"route": "part", "kind": "md5"},
        {"route": "part", "kind": "reset", "seconds": 3},
        {"route": "part", "kind": "reset", "body": "never sent"},
        {"route": "part", "kind": "close", "headers": {"X": "never sent"}},
        {"route": "part", "kind": "answer", "headers": {"X": "a\r\nb: c"}},
        {"route": "part", "kind": "answer", "headers": {"a b": "c"}},
        {"route": "part", "kind": "answer", "body": {1, 2}},
        {"kind": "reset"},
        "reset",
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_its_number(arguments: Any) -> None:
    with pytest.raises(ValueError, match="fault 2"):
        faults_from_json([{"route": "part", "kind": "reset"}, arguments])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"route": "partx", "kind": "reset"},
            (
                "fault 1: route must be one of create, part, complete, cancel, files.list, files.create, files.get, "
                "files.delete, files.content, edit, batches.create, batches.get, batches.list, batches.cancel, "
                "batches.line, models.get, *, not 'partx' (did you mean 'part'?)"
            ),
        ),
        ({"route": "part", "kin": "reset"}, "fault 1 has 'kin', which is not one of route, kind, at, nth"),
        ({"route": "part"}, "fault 1 has no kind"),
        ({"route": "parts", "kind": "reset"}, "not 'parts' (did you mean 'part'?)"),
        ({"route": "part", "kind": "rest"}, "not 'rest' (did you mean 'reset'?)"),
        ({"route": "part", "kind": "reset", "tims": 2}, "unit (did you mean 'times'?)"),
        ({"route": "files.get", "kind": "stall", "at": "in"}, "a call of files.get has no body to be in"),
        ({"route": "part", "kind": "reset", "nth": "2"}, "fault 1: nth must be an integer from 1, not '2'"),
        ({"route": "part", "kind": "reset", "times": True}, "fault 1: times must be an integer from 1, not True"),
        ({"route": "part", "kind": "answer", "headers": {"A": 1}}, "must be an object of header names and values"),
    ],
)
def test_what_is_wrong_with_a_fault_is_said_in_words_of_json(arguments: Any, said: str) -> None:
    with pytest.raises(ValueError, match="fault 1") as caught:
        faults_from_json([arguments])
    assert said in str(caught.value)
    assert "validator" not in str(caught.value)
    assert "__init__" not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("part", "reset", "in", nth=2),
        Fault("*", "answer", status=429, headers={"Retry-After": "2"}, body={"error": {"code": "slow_down"}}),
        Fault("complete", "answer", "done", status=502, body="<html>Bad gateway</html>"),
        Fault("files.content", "stall", "answering", seconds=0.5),
        Fault("part", "slow", rate=1000, every=3),
        Fault("part", "reset", "in", probability=0.25, seed=7, times=3),
        Fault("part", "answer", status=429, retry_after=1.5, retry_as="milliseconds"),
        Fault("edit", "limit", per_minute=5, unit="input-images"),
    ],
)
def test_a_fault_survives_its_way_through_json(fault: Fault) -> None:
    text = json.dumps(fault_to_json(fault))
    assert faults_from_json(json.loads(text)) == [fault]


def test_the_faults_of_the_documentation_are_faults_and_of_every_kind() -> None:
    text = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    written = [json.loads(found) for found in re.findall(r"`(\{\"route\".*\})`", text)]
    faults = faults_from_json([*written, *json.loads(re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0])])
    assert {fault.kind for fault in faults} == set(get_args(Kind))
    assert {fault.retry_as for fault in faults} == set(get_args(RetryForm))
    assert all(f"`{name}`" in text for name in (*get_args(Route), *get_args(Moment)))


def test_faults_are_read_from_text_too() -> None:
    text = '[{"route": "part", "kind": "reset"}]'
    assert faults_from_json(text) == faults_from_json(text.encode()) == [Fault("part", "reset")]
    with pytest.raises(ValueError, match=r"'faults.json' is not JSON .*; of a file pass its text, not its name"):
        faults_from_json("faults.json")
    with pytest.raises(ValueError, match="fault 1 is not an object"):
        faults_from_json(["[]"])


def test_how_nth_goes_with_times_and_every_is_as_the_page_says() -> None:
    assert met(Fault("part", "reset", nth=2, times=3)) == [2, 3, 4]
    assert met(Fault("part", "reset", nth=2, every=5)) == [2, 7, 12]
    assert met(Fault("part", "reset", every=5, times=2)) == [5, 10]
