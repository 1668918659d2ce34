"""How far an edit is: a table of what may follow what, and what follows from it."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    ChargeUnknownError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
)
from asyncsdk.images.bulk.lifecycle import NEXT, EditLifecycle, Stage
from asyncsdk.images.bulk.policy import OnUncertain

STAGES: tuple[Stage, ...] = get_args(Stage)
BUSY = RateLimitError("busy", status_code=429)
BROKEN = InternalServerError("broken", status_code=500)
DENIED = AuthenticationError("no", status_code=401)
NOT_THERE = APIConnectionError("nobody", sent=False)
CUT = APIConnectionError("cut", sent=True)
LOST = ChargeUnknownError("lost")
NO_ROUTE = NotFoundError("page", status_code=404, body="<html>")


@pytest.mark.parametrize(
    ("stage", "is_under_way", "is_written"),
    [
        ("waiting", False, False),
        ("counted", True, False),
        ("intended", True, True),
        ("sent", True, True),
        ("answered", True, True),
        ("ended", False, False),
    ],
)
def test_what_a_stage_means(stage: Stage, *, is_under_way: bool, is_written: bool) -> None:
    lifecycle = EditLifecycle(stage)
    assert (lifecycle.is_under_way, lifecycle.is_written) == (is_under_way, is_written)


@pytest.mark.parametrize("before", STAGES)
@pytest.mark.parametrize("after", STAGES)
def test_no_stage_follows_that_is_not_in_the_table(before: Stage, after: Stage) -> None:
    if after in NEXT[before]:
        assert EditLifecycle(before).to(after).stage == after
    else:
        with pytest.raises(ValueError, match=f"{after} does not follow {before}"):
            EditLifecycle(before).to(after)


@given(st.lists(st.sampled_from(STAGES), max_size=12))
def test_nothing_is_answered_that_was_not_counted_written_down_and_sent(wanted: list[Stage]) -> None:
    lifecycle, passed = EditLifecycle(), list[Stage]()
    for stage in wanted:
        if stage in NEXT[lifecycle.stage]:
            lifecycle, passed = lifecycle.to(stage), [*passed, stage]
    if "answered" in passed:
        before = passed[: passed.index("answered")]
        assert before[-1] == "sent"
        assert [stage for stage in before if stage != "sent"][-2:] == ["counted", "intended"]


@pytest.mark.parametrize("stage", ["counted", "intended", "sent"])
def test_what_was_lost_is_remembered_whatever_comes_later(stage: Stage) -> None:
    lifecycle = EditLifecycle(stage).failed(LOST)
    assert lifecycle == EditLifecycle("waiting", LOST)
    assert lifecycle.to("counted").to("intended").to("sent").failed(BUSY) == lifecycle
    assert EditLifecycle(stage).failed(BUSY) == EditLifecycle("waiting")


@pytest.mark.parametrize(
    ("error", "lost", "on_uncertain", "again"),
    [
        (BUSY, None, "report", True), (BUSY, LOST, "retry", True), (NOT_THERE, None, "stop", True),
        (BROKEN, None, "retry", True), (CUT, None, "retry", True),
        (BROKEN, LOST, "retry", False), (CUT, LOST, "retry", False),
        (BROKEN, None, "report", False), (CUT, None, "stop", False),
        (DENIED, None, "retry", False), (DENIED, LOST, "retry", False),
    ],
    ids=str,
)  # fmt: skip
def test_what_may_be_paid_is_tried_again_once_and_only_if_wanted(
    error: APIError, lost: ChargeUnknownError | None, on_uncertain: OnUncertain, *, again: bool
) -> None:
    assert EditLifecycle("sent", lost).may_try_again(error, on_uncertain) is again


@pytest.mark.parametrize(
    ("error", "lost", "on_uncertain", "reason"),
    [
        (DENIED, None, "report", DENIED), (DENIED, LOST, "retry", DENIED), (NOT_THERE, LOST, "stop", NOT_THERE),
        (LOST, LOST, "stop", LOST), (LOST, LOST, "report", None), (BUSY, None, "stop", None),
    ],
    ids=str,
)  # fmt: skip
def test_what_ends_a_run(
    error: Exception, lost: ChargeUnknownError | None, on_uncertain: OnUncertain, reason: Exception | None
) -> None:
    assert all(
        EditLifecycle("ended", lost).reason_to_stop(error, on_uncertain, answered=answered) is reason
        for answered in (False, True)
    )


def test_an_address_without_such_a_route_ends_a_run_in_which_nothing_was_done() -> None:
    assert EditLifecycle("ended").reason_to_stop(NO_ROUTE, "report", answered=False) is NO_ROUTE
    assert EditLifecycle("ended").reason_to_stop(NO_ROUTE, "report", answered=True) is None
