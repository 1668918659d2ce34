"""The row of an edit that machines share: whatever they do and in whatever order, no edit is sent twice by itself."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asyncsdk.images.ledger import rows
from asyncsdk.images.ledger.rows import ANSWER_LIMIT, EditRow, Ended

HOWS: list[Ended | None] = ["done", "failed", "uncertain", None]
LEASE = 60.0
WHO = st.sampled_from("AB")
CLAIMED = rows.claim(EditRow(), seen=(0, None), new="c", holder="A", now=0.0).row
STARTED = rows.start(CLAIMED, epoch=1, was="c", new="s", now=1.0, is_alive=True).row
UNCERTAIN = rows.lapse(STARTED, may_take=True).row


def test_an_acknowledgement_that_was_lost_is_asked_for_again() -> None:
    again = rows.claim(CLAIMED, seen=(0, None), new="c", holder="A", now=9.0)
    assert (again.row, again.answer, again.counted) == (CLAIMED, "yes", 0)
    assert rows.start(STARTED, epoch=1, was="c", new="s", now=9.0, is_alive=False).answer == "yes"
    back = rows.turn_away(STARTED, epoch=1, was="s", new="t").row
    assert rows.turn_away(back, epoch=1, was="s", new="t").answer == "yes"
    given = rows.give_back(back, epoch=1, was="t", new="g").row
    assert rows.give_back(given, epoch=1, was="t", new="g").counted == 0
    ended = rows.end(STARTED, epoch=1, was="s", new="e", status="failed")
    assert (ended.counted, rows.end(ended.row, epoch=1, was="s", new="e", status="failed").counted) == (-1, 0)


def test_nothing_begins_without_a_lease_that_is_alive() -> None:
    assert rows.start(CLAIMED, epoch=1, was="c", new="s", now=1.0, is_alive=False).answer == "no"


def test_a_start_that_was_delayed_starts_nothing() -> None:
    back = rows.turn_away(STARTED, epoch=1, was="s", new="t").row
    assert rows.start(back, epoch=1, was="c", new="s", now=2.0, is_alive=True).answer == "no"


def test_a_claim_that_lapsed_is_taken_and_the_late_owner_starts_nothing() -> None:
    assert rows.claim(CLAIMED, seen=(1, "c"), new="d", holder="B", now=99.0).answer == "no"
    taken = rows.claim(CLAIMED, seen=(1, "c"), new="d", holder="B", now=99.0, may_take=True)
    assert (taken.row.epoch, taken.counted) == (2, 0)
    assert rows.start(taken.row, epoch=1, was="c", new="s", now=99.0, is_alive=True).answer == "no"


def test_what_lapsed_between_start_and_end_is_uncertain_and_a_late_answer_ends_it() -> None:
    assert (UNCERTAIN.status, UNCERTAIN.phase, UNCERTAIN.epoch) == ("uncertain", None, 1)
    late = rows.end(UNCERTAIN, epoch=1, was="s", new="e", status="done")
    assert (late.row.status, late.answer) == ("done", "yes")


def test_an_uncertain_edit_is_left_alone_until_no_answer_can_come() -> None:
    soon, late = 1 + ANSWER_LIMIT + LEASE - 0.1, 1 + ANSWER_LIMIT + LEASE
    for now, answer in ((soon, "no"), (late, "yes")):
        assert rows.claim(UNCERTAIN, seen=(1, "s"), new="d", holder="B", now=now).answer == answer
    assert rows.release(UNCERTAIN, new="r", now=soon).answer == "no"
    assert rows.release(UNCERTAIN, new="r", now=soon, force=True).answer == "yes"


@pytest.mark.parametrize("phase", [None, "claimed", "started"])
def test_an_answer_to_what_a_person_released_is_kept_and_ends_what_was_not_started(phase: str | None) -> None:
    row = rows.release(UNCERTAIN, new="r", now=0.0, force=True).row
    if phase is not None:
        row = rows.claim(row, seen=(2, "r"), new="d", holder="B", now=9.0).row
    if phase == "started":
        row = rows.start(row, epoch=3, was="d", new="f", now=9.0, is_alive=True).row
    late = rows.end(row, epoch=1, was="s", new="e", status="done")
    assert (late.answer, late.row.late, late.counted) == ("late", ("e",), -1 if phase == "claimed" else 0)
    ended = ("failed", "started", "f") if phase == "started" else ("done", None, "e")
    assert (late.row.status, late.row.phase, late.row.last) == ended
    again = rows.end(late.row, epoch=1, was="s", new="e", status="done")
    assert (again.row, again.answer) == (late.row, "late")
    if phase == "claimed":
        assert rows.start(late.row, epoch=3, was="d", new="f", now=9.0, is_alive=True).answer == "no"


class Fleet(RuleBasedStateMachine):
    """Two processes with one edit: they are paused, their statements get lost or come late, their leases lapse."""

    def __init__(self) -> None:
        super().__init__()
        self.row, self.now, self.sent, self.edits, self.paid = EditRow(), 0.0, 0, 0, 0
        self.tries = map(str, count())
        self.claims: dict[str, tuple[int, str]] = {}
        self.starting: dict[str, str] = {}
        self.flying: dict[str, tuple[int, str]] = {}
        self.until = {"A": 0.0, "B": 0.0}
        self.may_pay = 1

    def _apply(self, change: rows.Changed, *, lost: bool) -> str:
        self.row, self.edits = change.row, self.edits + change.counted
        return "lost" if lost else change.answer

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(who=WHO)
    def renew(self, who: str) -> None:
        self.until[who] = self.now + LEASE

    @rule(who=WHO, lost=st.booleans(), retry=st.booleans())
    def claim(self, *, who: str, lost: bool, retry: bool) -> None:
        if who in self.claims or who in self.flying or self.row.status == "done":
            return
        if self.row.status == "uncertain" and not retry:
            return
        new, seen = next(self.tries), (self.row.epoch, self.row.last)
        lapsed = self.until.get(self.row.holder or "", 0.0) <= self.now
        was_uncertain = self.row.status == "uncertain" and self.row.phase is None
        for again in range(1 + lost):
            change = rows.claim(self.row, seen=seen, new=new, holder=who, now=self.now, may_take=lapsed, lease=LEASE)
            if self._apply(change, lost=lost and not again) == "yes":
                self.claims[who] = change.row.epoch, new
                self.may_pay += was_uncertain

    @precondition(lambda self: self.claims)
    @rule(who=WHO, lost=st.booleans())
    def start(self, *, who: str, lost: bool) -> None:
        if who not in self.claims:
            return
        (epoch, was), new = self.claims.pop(who), next(self.tries)
        is_alive = self.until[who] > self.now
        for again in range(1 + lost):
            change = rows.start(self.row, epoch=epoch, was=was, new=new, now=self.now, is_alive=is_alive)
            if self._apply(change, lost=lost and not again) == "yes":
                self.sent += 1
                self.flying[who] = epoch, new

    @precondition(lambda self: self.flying)
    @rule(who=WHO, how=st.sampled_from(HOWS), lost=st.booleans())
    def answer(self, *, who: str, how: Ended | None, lost: bool) -> None:
        if who not in self.flying:
            return
        (epoch, was), new = self.flying.pop(who), next(self.tries)
        if how is None:  # it dies
            return
        if how == "failed":
            self.sent -= 1
        else:
            self.paid += how == "done"
        for _ in range(1 + lost):
            self._apply(rows.end(self.row, epoch=epoch, was=was, new=new, status=how), lost=False)

    @rule()
    def lapse(self) -> None:
        lapsed = self.until.get(self.row.holder or "", 0.0) <= self.now
        self._apply(rows.lapse(self.row, may_take=lapsed), lost=False)

    @rule()
    def a_person_releases_it(self) -> None:
        change = rows.release(self.row, new=next(self.tries), now=self.now, lease=LEASE, force=True)
        self.may_pay += change.answer == "yes"
        self._apply(change, lost=False)

    @invariant()
    def it_is_sent_no_more_often_than_persons_allowed(self) -> None:
        assert self.sent <= self.may_pay

    @invariant()
    def what_is_paid_is_kept(self) -> None:
        assert self.paid <= (self.row.status == "done") + len(self.row.late) + (self.row.phase is not None)

    @invariant()
    def what_is_or_may_be_paid_counts(self) -> None:
        assert self.edits >= self.sent


TestFleet = Fleet.TestCase
TestFleet.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
