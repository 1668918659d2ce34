"""Whatever the sequence of faults, kills, edits and calls: the right file once, or a typed error to go on from."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from asyncsdk import retry
from asyncsdk.uploads import completing
from tests.faults.any_sequence import AnySequence


def test_any_sequence_ends_in_the_right_file_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(completing, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(completing, "LOOK_INTERVAL", 0.005)
    run_state_machine_as_test(
        AnySequence,
        settings=settings(
            max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
