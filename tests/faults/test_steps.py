"""Whichever step a process dies at, the same call goes on: every write, sync, rename and send of a small upload."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.steps import die_at_every_step


@pytest.mark.parametrize("first", range(1, 5))
async def test_dying_at_any_step_costs_no_byte_no_file_and_no_part_that_was_held(tmp_path: Path, first: int) -> None:
    row = await die_at_every_step(tmp_path, torn=False, first=first, stride=4)
    assert row.violations == []
    assert row.cases > 6  # or its steps are not met any more


@pytest.mark.parametrize("first", range(1, 3))
async def test_dying_in_the_middle_of_any_write_costs_no_more(tmp_path: Path, first: int) -> None:
    row = await die_at_every_step(tmp_path, torn=True, first=first, stride=2)
    assert row.violations == []
    assert row.cases > 5
