"""Edits in bulk, killed and interrupted at random moments: the short form of `python -m tests.faults.edits`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.edits import Options, edits_in_bulk


@pytest.mark.parametrize("on_uncertain", ["report", "retry"])
async def test_killed_and_interrupted_no_edit_is_paid_twice_and_nothing_is_half_written(
    tmp_path: Path, on_uncertain: str
) -> None:
    row = await edits_in_bulk(tmp_path, Options(60, kills=1, interrupts=1, on_uncertain=on_uncertain, concurrency=4))
    assert row.violations == []
