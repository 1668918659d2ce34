"""The short forms of `python -m tests.faults fleet outages`: machines that share a journal, a database that is away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.fleet import Fleet, lead
from tests.faults.outages import go_on_after_outages
from tests.faults.support import MIB

SHORT = Fleet(files=16, size=3 * MIB, part_size=MIB // 2, lease=2.0, rate=3.0 * MIB)

pytestmark = pytest.mark.usefixtures("needs_postgres")


async def test_a_fleet_makes_each_upload_once_though_two_die_and_one_is_late(tmp_path: Path) -> None:
    row = await lead(tmp_path, SHORT, seed=20261129)
    assert row.violations == []


async def test_an_upload_goes_on_elsewhere_after_four_outages_and_a_kill(tmp_path: Path) -> None:
    row = await go_on_after_outages(tmp_path, size=24 * MIB, away=1.0)
    assert row.violations == []
