"""`edit-many` over a damaged ledger: reported on standard error, and stopped before anything is paid."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncsdk.server import LocalServer
from tests.cli.support import Run
from tests.stories.pictures import photo

COMMAND = ("edit-many", "a.png", "b.png", "--prompt", "x", "--model", "gpt-image-2", "--out", "out")


@pytest.fixture(autouse=True)
def damaged(run: Run) -> Path:
    """The ledger's file after a run of two edits, with a byte of its third line changed."""
    for name, size in (("a.png", (16, 16)), ("b.png", (16, 32))):
        photo(Path(name), size)
    assert run(*COMMAND).code == 0
    [path] = Path("out/.asyncsdk/ledger").iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"t":"', b'"t":"X', 1)
    path.write_bytes(b"".join(lines))
    return path


def test_a_run_stops_and_names_the_file_and_the_way_on(run: Run, server: LocalServer, damaged: Path) -> None:
    for _ in range(2):
        ran = run(*COMMAND)
        assert ran.code == 2
        assert f"{damaged}: 1 damaged line (line 3;" in ran.err
        assert "may have been paid, and would be paid again. Nothing was sent." in ran.err
        assert "the same command with --accept-damage goes on" in ran.err
    assert server.edits.edits == 2


def test_a_dry_run_reports_it_and_goes_on(run: Run, server: LocalServer, damaged: Path) -> None:
    ran = run(*COMMAND, "--dry-run")
    assert ran.code == 0
    assert f"warning: {damaged}: 1 damaged line (line 3;" in ran.err
    assert "a run stops at it without --accept-damage" in ran.err
    [record] = run(*COMMAND, "--dry-run", "--json").records
    assert len(record["damage"]) == 1
    assert server.edits.edits == 2


def test_with_consent_it_goes_on_once_and_the_next_run_finds_nothing_to_report(
    run: Run, server: LocalServer, damaged: Path
) -> None:
    ran = run(*COMMAND, "--accept-damage")
    assert f"warning: {damaged}: 1 damaged line (line 3;" in ran.err
    assert "may be paid again" in ran.err
    again = run(*COMMAND)
    assert "damaged" not in again.err
    assert damaged.with_name(f"{damaged.name}.damaged").exists()
