"""The server's time: told by its answers, carried on by a clock that does not step."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.clock import Clock, boot_time, http_date

DATE, SECONDS = "Sun, 06 Nov 1994 08:49:37 GMT", 784111777.0


class Hand:
    """A clock that moves when it is told to."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


def test_before_the_first_answer_the_local_clock_is_asked() -> None:
    clock = Clock(elapsed=Hand(5), local=Hand(1000))
    assert clock.now() == 1000
    assert clock.seconds_until(1010) == math.inf


def test_after_it_the_servers_date_goes_on_with_elapsed_time_whatever_the_local_clock_does() -> None:
    elapsed, local = Hand(5), Hand(1000)
    clock = Clock(elapsed, local)
    clock.observe(DATE)
    elapsed.seconds += 60
    local.seconds -= 86_400
    assert clock.now() == SECONDS + 60
    assert clock.seconds_until(SECONDS + 100) == 40
    clock.observe(None)
    clock.observe("tomorrow")
    assert clock.now() == SECONDS + 60


def test_the_local_clock_alone_ends_nothing() -> None:
    clock = Clock(elapsed=Hand(0), local=Hand(SECONDS))
    assert not clock.is_past(0)
    assert not clock.may_be_past(0)
    clock.observe(DATE)
    assert not clock.is_past(SECONDS)
    assert clock.is_past(SECONDS - 1)


def test_the_time_of_an_object_is_not_moved_by_any_date_but_a_date_explains_a_refusal() -> None:
    elapsed = Hand(5)
    clock = Clock(elapsed, Hand(1000))
    clock.observe(DATE)
    clock.anchor(SECONDS - 7200)
    clock.observe(DATE)
    elapsed.seconds += 10
    assert clock.now() == SECONDS - 7190
    assert clock.is_past(SECONDS - 7191)
    assert not clock.is_past(SECONDS - 7190)
    assert clock.may_be_past(SECONDS)
    assert not clock.may_be_past(SECONDS + 60)


@pytest.mark.parametrize(
    "text", [DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:37 -0000"]
)
def test_all_three_forms_of_an_http_date_are_gmt(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert http_date(text) == SECONDS
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", [None, "", "soon", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 99999 08:49:37 GMT"])
def test_what_is_no_date_is_none(text: str | None) -> None:
    assert http_date(text) is None


@given(st.text())
def test_no_text_of_a_server_breaks_the_reading(text: str) -> None:
    assert http_date(text) is None or isinstance(http_date(text), float)


def test_elapsed_time_goes_on_while_the_machine_sleeps_where_the_system_can_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = boot_time()
    assert boot_time() >= first
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    assert abs(boot_time() - time.monotonic()) < 1
