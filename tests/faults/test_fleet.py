"""The short form of `python -m tests.faults fleet`: four processes, a bucket, two kills, one that is late."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.fleet import Fleet, lead
from tests.faults.support import MIB
from tests.postgres.server import NoPostgresError, binaries, unprivileged

SHORT = Fleet(files=8, size=3 * MIB, part_size=MIB // 2, lease=2.0, rate=3.0 * MIB)


async def test_a_fleet_makes_each_upload_once_though_two_die_and_one_is_late(tmp_path: Path) -> None:
    pytest.importorskip("asyncpg")
    try:
        binaries()
        unprivileged()
    except NoPostgresError as error:
        pytest.skip(f"no Postgres: {error}")
    row = await lead(tmp_path, SHORT, seed=20261129)
    assert row.violations == []
