"""Whatever the sequence of faults, kills, edits and calls: the right file once, or a typed error to go on from."""

from __future__ import annotations

import random

import pytest

from tests.faults.any_sequence import search


@pytest.mark.parametrize("_turn", range(4))
def test_any_sequence_ends_in_the_right_file_once(_turn: int) -> None:
    row = search(3, seed=random.getrandbits(32), steps=15)
    assert row.violations == []
    assert row.cases > 3  # or nothing was called
