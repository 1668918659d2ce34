"""A line that may be paid (`"status": "uncertain"`), given to another --out: it is not sent without a word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Run
from tests.stories.pictures import photo

ELSEWHERE = ("edit-many", "out/failed.jsonl", "--out", "other", "--json")


@pytest.fixture(autouse=True)
def lost(run: Run, server: LocalServer) -> None:
    """Of three edits one is lost, one fails, and both are in `failed.jsonl`."""
    rows = []
    for seed, name in enumerate(("lost", "failed", "done"), 1):
        photo(Path(f"{name}.png"), (16, 16), seed=seed)
        rows.append({"id": name, "image": f"{name}.png", "prompt": "x", "model": "gpt-image-2"})
    Path("jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    server.inject(Fault("edit", "reset", nth=1, at="done"), Fault("edit", "answer", nth=2, status=404))
    assert run("edit-many", "jobs.jsonl", "--out", "out", "--concurrency", "1").code == 3
    server.clear_faults()
    assert server.edits.edits == 2


def test_it_is_not_sent_ends_uncertain_and_says_why(run: Run, server: LocalServer) -> None:
    for _ in range(2):
        ran = run(*ELSEWHERE)
        assert (ran.code, server.edits.edits) == (3, 3)
        statuses = {record["id"]: record["status"] for record in ran.records}
        assert (statuses["lost"], statuses["failed"]) in {("uncertain", "done"), ("uncertain", "skipped")}
        assert "lost: uncertain: another run sent it, and it may be paid; the ledger here does not know" in ran.err
        assert "To send the 1 again (may be paid twice): add --only uncertain --on-uncertain retry" in ran.err
        assert json.loads(Path("other/failed.jsonl").read_text())["status"] == "uncertain"


def test_it_is_sent_where_the_user_asks_for_it(run: Run, server: LocalServer) -> None:
    ran = run(*ELSEWHERE, "--on-uncertain", "retry")
    assert (ran.code, server.edits.edits) == (0, 4)
    assert run(*ELSEWHERE).code == 0, "the ledger knows it by now, and decides"
    assert server.edits.edits == 4


def test_a_dry_run_counts_it(run: Run) -> None:
    assert run("edit-many", "out/failed.jsonl", "--out", "other", "--dry-run").out.startswith("1 to send, 1 uncertain.")


def test_the_ledger_that_knows_the_edit_decides(run: Run, server: LocalServer) -> None:
    Path("out/failed.jsonl").rename("left.jsonl")
    done = run("edit-many", "jobs.jsonl", "--out", "out", "--on-uncertain", "retry")
    assert (done.code, server.edits.edits) == (0, 4)
    again = run("edit-many", "left.jsonl", "--out", "out")
    assert (again.code, server.edits.edits, again.err) == (0, 4, "2 done before.\n")


def test_only_failed_does_not_ask_about_it(run: Run, server: LocalServer) -> None:
    ran = run(*ELSEWHERE, "--only", "uncertain")
    assert ([record["id"] for record in ran.records], server.edits.edits) == (["lost"], 2)
