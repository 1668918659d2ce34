"""Edits in bulk, killed and interrupted at random moments: the short form of `python -m tests.faults.edits`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.edits import Options, edits_in_bulk
from tests.faults.edits_troubles import TROUBLES


@pytest.mark.parametrize(("on_uncertain", "interrupts"), [("report", 1), ("retry", 0)])
async def test_killed_and_interrupted_no_edit_is_paid_twice_and_nothing_is_half_written(
    tmp_path: Path, on_uncertain: str, interrupts: int
) -> None:
    options = Options(30, 1, interrupts, on_uncertain=on_uncertain, concurrency=4, browser=False)
    row = await edits_in_bulk(tmp_path, options)
    assert row.violations == []


async def test_whatever_becomes_of_its_disk_what_is_paid_is_somewhere_that_is_named(tmp_path: Path) -> None:
    options = Options(40, 0, 0, troubles=len(TROUBLES) // 2, concurrency=4, seed=4, browser=False)
    row = await edits_in_bulk(tmp_path, options)
    assert row.violations == []
