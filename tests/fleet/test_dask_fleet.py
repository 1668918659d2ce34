"""The short form of `python -m tests.fleet.dask_run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fleet.dask_run import DaskFleet, lead_dask

SHORT = DaskFleet(edits=180, concurrency=3, lease=2.0, edit_seconds=0.4, patience=3.0)

pytestmark = pytest.mark.usefixtures("needs_postgres")


async def test_no_edit_is_made_twice_though_workers_and_the_scheduler_fail(tmp_path: Path) -> None:
    row = await lead_dask(tmp_path, SHORT, seed=20261129)
    assert row.violations == [], row.figures
