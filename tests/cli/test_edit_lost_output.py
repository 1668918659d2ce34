"""Edits whose results can't be told: what is paid is kept, and the run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncsdk.server import LocalServer
from tests.cli.support import Start


@pytest.fixture(autouse=True)
def jobs(tmp_path: Path, otter: Path) -> None:
    rows = [{"id": f"job{number}", "image": "otter.png", "prompt": f"beret {number}"} for number in range(8)]
    (tmp_path / "jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_a_full_disk_under_standard_output_stops_no_edit(start: Start, server: LocalServer) -> None:
    with Path("/dev/full").open("w") as full:
        process = start("edit-many", "jobs.jsonl", "--out", "out", "--json", "--progress", "none", stdout=full)
        _, err = process.communicate(timeout=60)
    assert err.count("standard output takes no more (No space left on device)") == 1
    assert "8 done." in err
    assert process.returncode == 1
    assert len(list(Path("out").glob("*.png"))) == 8
    assert server.edits.edits == 8


def test_one_edit_under_a_full_standard_output_is_saved(start: Start) -> None:
    with Path("/dev/full").open("w") as full:
        process = start("edit", "otter.png", "--prompt", "a beret", "--out", "out", stdout=full)
        _, err = process.communicate(timeout=60)
    assert "standard output takes no more" in err
    assert process.returncode == 1
    assert Path("out/otter.png").exists()
