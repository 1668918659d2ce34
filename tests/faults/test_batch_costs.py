"""A limit in dollars for edits in batches holds over kills: the short form of the fault suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.batch_costs import FAR, NEAR, STEPS, die_within_a_limit, kill_within_a_limit
from tests.postgres.server import PostgresServer


@pytest.mark.parametrize("step", STEPS)
async def test_a_run_that_dies_at_a_step_and_goes_on_stays_within_its_limit(tmp_path: Path, step: str) -> None:
    row = await die_within_a_limit(tmp_path, steps=(step,))
    assert row.violations == []
    assert row.cases == 1


@pytest.mark.parametrize("step", ["after creating", "after created", "after end done"])
async def test_so_it_does_over_a_database(
    tmp_path: Path, postgres_server: PostgresServer, database: str, database_url: str, step: str
) -> None:
    def forget() -> None:
        postgres_server.sql("drop schema asyncsdk cascade", database=database)

    row = await die_within_a_limit(tmp_path, steps=(step,), database=database_url, forget=forget)
    assert row.violations == []


@pytest.mark.parametrize("is_shared", [False, True])
async def test_copies_that_are_killed_again_and_again_stay_within_their_limit(
    tmp_path: Path, database_url: str, *, is_shared: bool
) -> None:
    place, fields = (database_url, NEAR) if is_shared else (None, FAR)
    row = await kill_within_a_limit(tmp_path, 60, seed=4, kills=4, size=8, database=place, fields=fields)
    assert row.violations == []
    assert row.cases
