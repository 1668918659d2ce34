"""Whatever the sequence of faults, kills, edits and calls: the right file once, or a typed error to go on from."""

from __future__ import annotations

import random

from tests.faults.any_sequence import search


def test_any_sequence_ends_in_the_right_file_once() -> None:
    row = search(12, seed=random.getrandbits(32), steps=15)
    assert row.violations == []
    assert row.cases > 20  # or nothing was called
