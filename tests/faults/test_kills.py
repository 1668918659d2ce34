"""Killed at any moment, an upload goes on: the short form of `python -m tests.faults kills streams`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.kills import Sizes, kill_uploads
from tests.faults.support import MIB

SMALL = Sizes(4 * MIB, 20 * MIB, parts=(MIB // 2, MIB), connections=(1, 4))


@pytest.mark.parametrize("seed", range(6))
async def test_ten_kills_cost_no_byte_no_file_and_no_more_than_the_parts_in_flight(tmp_path: Path, seed: int) -> None:
    row = await kill_uploads(tmp_path, 10, sizes=SMALL, seed=seed)
    assert row.cases == 10
    assert row.violations == []


async def test_a_stream_with_a_key_is_read_again_and_only_what_lacks_is_sent(tmp_path: Path) -> None:
    row = await kill_uploads(tmp_path, 20, sizes=SMALL, seed=18, as_streams=True)
    assert row.cases == 20
    assert row.violations == []
