"""Limits stop a run before it costs more than the caller said."""

from __future__ import annotations

from typing import Any

import pytest

from asyncsdk.errors import ConfigurationError, LimitReachedError
from asyncsdk.images.bulk.policy import Limits
from asyncsdk.models import Usage


def test_without_limits_nothing_ends() -> None:
    limits = Limits()
    for _ in range(1000):
        limits.begin()
    limits.spend(Usage(total_tokens=10**9))
    limits.begin()


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(max_edits=1), "max_edits=1 is reached: 1 edit was sent so far, earlier runs included."),
        (Limits(max_tokens=1), "max_tokens=1 is reached: 1 token was used in all."),
        (Limits(max_cost=1_000_000_000), "max_cost=1 is reached: nothing was spent so far."),
    ],
)
def test_what_was_sent_and_spent_is_said_of_one_and_of_none_as_of_many(limits: Limits, said: str) -> None:
    limits.edits = limits.tokens = 1
    assert limits.in_words() == said


def test_as_many_edits_are_begun_as_are_allowed() -> None:
    limits = Limits(max_edits=2)
    limits.begin()
    limits.begin()
    with pytest.raises(
        LimitReachedError, match="max_edits=2 is reached: 2 edits were sent so far, earlier runs included"
    ):
        limits.begin()


def test_what_the_server_refused_makes_room_again() -> None:
    limits = Limits(max_edits=1)
    limits.begin()
    limits.take_back()
    limits.begin()


def test_earlier_runs_count() -> None:
    with pytest.raises(LimitReachedError):
        Limits(max_edits=5).after(edits=5, tokens=0).begin()
    with pytest.raises(LimitReachedError, match="700 tokens were used"):
        Limits(max_tokens=700).after(edits=0, tokens=700).begin()


def test_tokens_stop_the_run_once_they_are_used_up() -> None:
    limits = Limits(max_tokens=100)
    limits.spend(None)
    limits.spend(Usage(total_tokens=99))
    limits.begin()
    limits.spend(Usage(total_tokens=1))
    with pytest.raises(LimitReachedError, match="With a higher limit the same call goes on"):
        limits.begin()


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "5"])
@pytest.mark.parametrize("name", ["max_edits", "max_tokens"])
def test_a_limit_that_is_none_is_refused(name: str, bad: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Limits(**{name: bad})
