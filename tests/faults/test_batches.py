"""A call of edits in batches that dies at any of its steps is gone on with: the short form of the fault suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.batches import die_at_each_step
from tests.postgres.server import PostgresServer

STEPS = [
    "after batches",
    "after POST /files",
    "after uploaded",
    "after batched",
    "before POST /batches",  # what is written down and was never sent can't be known: uncertain, and not sent again
    "after POST /batches",
    "after created",
    "after GET /batches/{batch_id}",
    "after results",
    "after a picture has its name",
    "after end done",
    "after GET /files/{file_id}/content",
    "after closed",
    "after DELETE /files/{file_id}",
    "after removed",
    "after swept",
]


@pytest.mark.parametrize("first", range(2))
async def test_dying_at_any_step_of_a_batch_pays_nothing_twice_and_leaves_nothing(tmp_path: Path, first: int) -> None:
    steps = STEPS[first::2]
    row = await die_at_each_step(tmp_path, steps)
    assert row.violations == []
    assert row.cases == len(steps)


@pytest.mark.parametrize(
    "step", ["after uploaded", "after creating", "after created", "after end done", "after closed"]
)
async def test_dying_at_a_step_over_a_database_pays_nothing_twice(
    tmp_path: Path, postgres_server: PostgresServer, database: str, database_url: str, step: str
) -> None:
    def forget() -> None:
        postgres_server.sql("drop schema asyncsdk cascade", database=database)

    row = await die_at_each_step(tmp_path, [step], database=database_url, forget=forget)
    assert row.violations == []
