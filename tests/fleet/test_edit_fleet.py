"""The short form of `python -m tests.faults editfleet`: machines that share one ledger of edits."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from tests.fleet.run import EditFleet, lead_edits

SHORT = EditFleet(
    edits=120, processes=3, concurrency=4, killed=1, stopped=1, restarts=1, away=0.5, lease=2.0, images_per_minute=2400
)

pytestmark = pytest.mark.usefixtures("needs_postgres")


async def test_no_edit_is_made_twice_and_none_is_lost_though_processes_and_the_database_fail(tmp_path: Path) -> None:
    row = await lead_edits(tmp_path, SHORT, seed=20261129)
    assert row.violations == [], row.figures


async def test_a_server_that_knows_each_edit_by_its_key_leaves_none_uncertain(tmp_path: Path) -> None:
    keyed = evolve(SHORT, header="Idempotency-Key", lost=10, killed=2, processes=4)
    row = await lead_edits(tmp_path, keyed, seed=20261130)
    assert row.violations == [], row.figures
    assert (row.figures["done"], row.figures["twice"]) == ("120", "0")
