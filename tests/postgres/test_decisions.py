"""What a lease allows, which errors pass and for how long they are waited for, without a database."""

from __future__ import annotations

import pytest

from asyncsdk.postgres.faults import (
    FIRST_PATIENCE,
    PATIENCE,
    STARTING_PATIENCE,
    VERSION,
    Facts,
    Passing,
    Trouble,
    fault,
    not_fit,
    passing,
    pause_after,
)
from asyncsdk.postgres.lease import LeaseTerms, Renewal, is_gone, is_good, is_steady, may_take_lapsed, until_renewal

TERMS = LeaseTerms()


def test_a_holder_begins_nothing_once_two_thirds_of_its_lease_went_by() -> None:
    assert not is_good(None, 0, TERMS)
    assert is_good(Renewal(100.0, 0), 139.9, TERMS)
    assert not is_good(Renewal(100.0, 0), 140.0, TERMS)


def test_a_lease_is_renewed_three_times_while_it_lasts() -> None:
    assert until_renewal(None, 5.0, TERMS) == 0
    assert until_renewal(Renewal(100.0, 0), 105.0, TERMS) == 15
    assert until_renewal(Renewal(100.0, 0), 500.0, TERMS) == 0


def test_a_lease_that_could_not_be_renewed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="a lease of 60 s needs to be renewed every 20 s or so"):
        LeaseTerms(renew_every=30.0)


def test_a_lease_that_would_look_like_one_from_before_the_clock_was_set_back_is_refused() -> None:
    assert LeaseTerms(lease=300.0).lease == 300
    with pytest.raises(ValueError, match="a lease lasts for 300 s at most, not 600"):
        LeaseTerms(lease=600.0)


@pytest.mark.parametrize(
    ("elapsed", "clock", "steady"),
    [
        (20, 20, True),
        (30, 35, True),  # a short outage, in which no lease lapses that is renewed after it
        (31, 31, False),  # a longer one, or a sleep
        (20, 3620, False),  # the database's clock was set
        (20, -3600, False),
        (20, 41, False),
    ],
)
def test_an_outage_a_sleep_and_a_clock_that_is_set_break_the_renewals(
    elapsed: float, clock: float, *, steady: bool
) -> None:
    assert is_steady(Renewal(100.0, 5000.0), Renewal(100.0 + elapsed, 5000.0 + clock), TERMS) is steady
    assert not is_steady(None, Renewal(100.0, 5000.0), TERMS)


def test_what_lapsed_is_taken_only_after_one_lease_of_steady_renewals() -> None:
    assert not may_take_lapsed(None, 1000.0, TERMS)
    assert not may_take_lapsed(100.0, 159.9, TERMS)
    assert may_take_lapsed(100.0, 160.0, TERMS)


@pytest.mark.parametrize(
    ("machine", "here", "lives", "gone"),
    [("a", "a", False, True), ("a", "a", True, False), ("a", "b", False, False), ("", "", False, False)],
)
def test_only_a_process_of_this_machine_is_known_to_be_gone(
    machine: str, here: str, *, lives: bool, gone: bool
) -> None:
    assert is_gone(machine, here, lives=lives) is gone


@pytest.mark.parametrize(
    ("trouble", "at_first", "later"),
    [
        (Trouble("40P01"), Passing.AT_ONCE, Passing.AT_ONCE),
        (Trouble("40001"), Passing.AT_ONCE, Passing.AT_ONCE),
        (Trouble("40003"), Passing.AT_ONCE, Passing.AT_ONCE),
        (Trouble("57014"), Passing.SOON, Passing.SOON),
        (Trouble("55P03"), Passing.SOON, Passing.SOON),
        (Trouble("57P03"), Passing.SOON, Passing.SOON),
        (Trouble("53300"), Passing.SOON, Passing.SOON),
        (Trouble("57P01"), Passing.AWAY, Passing.AWAY),
        (Trouble("08006"), Passing.AWAY, Passing.AWAY),
        (Trouble(kind="refused"), Passing.AWAY, Passing.AWAY),
        (Trouble(kind="silent"), Passing.AWAY, Passing.AWAY),
        (Trouble("25006"), Passing.NEVER, Passing.AWAY),
        (Trouble("08P01"), Passing.NEVER, Passing.AWAY),
        (Trouble(kind="not postgres"), Passing.NEVER, Passing.AWAY),
        (Trouble("28P01"), Passing.NEVER, Passing.NEVER),
        (Trouble("53100"), Passing.NEVER, Passing.NEVER),
        (Trouble("42501"), Passing.NEVER, Passing.NEVER),
        (Trouble(kind="settings"), Passing.NEVER, Passing.NEVER),
        (Trouble(kind="certificate"), Passing.NEVER, Passing.NEVER),
    ],
)
def test_which_errors_pass(trouble: Trouble, at_first: Passing, later: Passing) -> None:
    assert passing(trouble, has_worked=False) is at_first
    assert passing(trouble, has_worked=True) is later


@pytest.mark.parametrize(
    ("how", "has_worked", "limit"),
    [
        (Passing.AWAY, False, FIRST_PATIENCE),
        (Passing.SOON, False, STARTING_PATIENCE),
        (Passing.AWAY, True, PATIENCE),
        (Passing.AT_ONCE, True, PATIENCE),
    ],
)
def test_a_wrong_address_fails_in_seconds_and_an_outage_is_waited_out(
    how: Passing, limit: float, *, has_worked: bool
) -> None:
    before = pause_after(how, 3, limit - 0.1, has_worked=has_worked, patience=PATIENCE)
    assert before is not None
    assert 0 < before <= 5
    assert pause_after(how, 3, limit, has_worked=has_worked, patience=PATIENCE) is None
    assert pause_after(Passing.NEVER, 1, 0, has_worked=has_worked, patience=PATIENCE) is None


def test_a_server_that_may_lose_commits_is_not_trusted_to_write() -> None:
    good = Facts(150000, "on", is_read_only=False, version=VERSION)
    assert not_fit(good, writes=True) is None
    off = not_fit(Facts(150000, "off", is_read_only=False, version=VERSION), writes=True)
    assert off is not None
    assert "synchronous_commit is off" in off.reason
    assert not_fit(Facts(150000, "off", is_read_only=True, version=None), writes=False) is None
    old = not_fit(Facts(110000, "on", is_read_only=False, version=None), writes=False)
    assert old is not None
    assert "older than PostgreSQL 12" in old.reason


def test_a_servers_own_message_is_shown_and_so_is_what_is_not_known() -> None:
    shown = fault(Trouble("XX001", "could not read block 7"))
    assert shown.reason == "the database refused (XX001): could not read block 7"
    assert fault(Trouble("53100", "could not extend file")).reason.startswith("it has no room or memory left: could")
    assert fault(Trouble()).reason == "the database refused"
