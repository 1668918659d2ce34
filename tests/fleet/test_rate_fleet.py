"""Processes that share a rate pool: what one hears, all heed. Long form: `python -m tests.faults ratefleet`."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

from asyncsdk.server import Fault, LocalServer
from tests.faults.table import Row
from tests.fleet.run import EditFleet, FleetRun
from tests.postgres.server import PostgresServer

QUIET = EditFleet(
    edits=50, processes=2, concurrency=4, killed=0, stopped=0, restarts=0, lost=0, busy=0, edit_seconds=0.05
)


async def test_a_429_in_one_of_two_processes_holds_both_within_a_second(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    held = Fault("edit", "answer", status=429, nth=20, headers={"retry-after": "3"})
    row = Row("two processes")
    async with LocalServer(tmp_path / "server", faults=[held], edit_seconds=QUIET.edit_seconds) as server:
        run = FleetRun(tmp_path / "out", QUIET, server, postgres_server, postgres_server.new_database(), row)
        await run.go(random.Random(1))
        run.check()
        run.check_rate()
    assert row.violations == []
    moments = [at for at, _ in run.arrivals]
    assert max(after - before for before, after in pairwise(moments)) > 1.5
