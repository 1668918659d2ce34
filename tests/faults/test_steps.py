"""Whichever step a process dies at, the same call goes on: every write, sync, rename and send of a small upload."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.steps import die_at_every_step


@pytest.mark.parametrize(("torn", "at_least"), [(False, 30), (True, 12)])
async def test_dying_at_any_step_costs_no_byte_no_file_and_no_part_that_was_held(
    tmp_path: Path, *, torn: bool, at_least: int
) -> None:
    row = await die_at_every_step(tmp_path, torn=torn)
    assert row.violations == []
    assert row.cases >= at_least  # or its steps are not met any more
