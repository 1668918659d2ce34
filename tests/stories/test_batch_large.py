"""A large output file: it is read, decoded and saved in little memory, whatever its size."""

from __future__ import annotations

from pathlib import Path

from tests.faults.large_output import read_large_output


async def test_the_memory_does_not_grow_with_the_output(tmp_path: Path) -> None:
    small = await read_large_output(tmp_path / "small", lines=10, size=1_000_000)
    large = await read_large_output(tmp_path / "large", lines=120, size=1_000_000)
    assert (small["done"], large["done"]) == (10, 120)
    assert large["peak"] < small["peak"] + 16 * 2**20  # of 160 MB


async def test_a_line_that_is_kept_as_it_came_is_written_as_it_comes(tmp_path: Path) -> None:
    small = await read_large_output(tmp_path / "small", lines=1, size=1_000_000, is_broken=True)
    large = await read_large_output(tmp_path / "large", lines=1, size=100_000_000, is_broken=True)
    assert (small["uncertain"], large["uncertain"]) == (1, 1)
    assert large["peak"] < small["peak"] + 16 * 2**20  # of 133 MB
