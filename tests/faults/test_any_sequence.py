"""Whatever the sequence of faults, cancels, edits and calls: the right file once, or a typed error to go on from."""

from __future__ import annotations

import pytest

from tests.faults.any_sequence import search


@pytest.mark.parametrize("seed", range(4))  # other ones: `python -m tests.faults any --seed S`
def test_any_sequence_ends_in_the_right_file_once(seed: int) -> None:
    row = search(3, seed=seed, steps=15)
    assert row.violations == []
    assert row.cases > 3  # or nothing was called
