"""Two answers that a gateway crossed are never believed: each file gets its own File, or a typed error."""

from __future__ import annotations

import os

import pytest

from tests.faults.crossing import cross_answers

EXCHANGES = int(os.environ.get("ASYNCSDK_TEST_EXCHANGES", "1200"))


@pytest.mark.parametrize("seed", range(2))  # other ones: `python -m tests.faults crossed --seed S`
async def test_of_two_crossed_answers_none_makes_a_wrong_file(seed: int) -> None:
    row = await cross_answers(EXCHANGES // 2, seed=seed)
    assert row.violations == []
    assert int(row.figures["crossed"].replace(",", "")) > 5  # or nothing was crossed
