"""`--only`: what can't be read, and rows that are not edits, are outside a filter about others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Run
from tests.stories.pictures import photo

COMMAND = ("edit-many", "photos", "jobs.jsonl", "--prompt", "x", "--model", "gpt-image-2", "--out", "out")


@pytest.fixture(autouse=True)
def sources() -> None:
    photo(Path("a.png"), (16, 16), seed=1)
    Path("photos").mkdir()
    photo(Path("photos/b.png"), (16, 16), seed=2)
    Path("photos/broken.jpg").write_bytes(b"no picture")
    Path("photos/gone.png").symlink_to("nowhere")
    Path("jobs.jsonl").write_text('{"image": "a.png"}\nno json\n')


@pytest.mark.parametrize("only", ["uncertain", "failed"])
def test_where_there_is_none_it_is_exit_0_whatever_can_not_be_read(run: Run, server: LocalServer, only: str) -> None:
    assert run(*COMMAND).code == 3
    left = Path("out/failed.jsonl").read_text()
    for options in ((), ("--dry-run",)):
        ran = run(*COMMAND, "--only", only, *options)
        assert (ran.code, server.edits.edits, "broken" in ran.err) == (0, 2, False), ran.err
    assert Path("out/failed.jsonl").read_text() == left, "a run that is not about it does not take it away"


def test_those_that_are_asked_for_are_sent_alone(run: Run, server: LocalServer) -> None:
    server.inject(Fault("edit", "reset", nth=1, at="done"))
    assert run(*COMMAND, "--concurrency", "1").code == 3
    ran = run(*COMMAND, "--only", "uncertain", "--on-uncertain", "retry", "--json")
    assert (ran.code, [record["status"] for record in ran.records]) == (0, ["done"])
    assert server.edits.edits == 3


def test_what_is_refused_is_reported_where_it_is_asked_for(run: Run) -> None:
    run(*COMMAND)
    ran = run(*COMMAND, "--only", "refused", "--json")
    assert {record["id"] for record in ran.records} == {"broken", "jobs.jsonl:2", "photos/gone.png"}
    assert json.loads(Path("out/failed.jsonl").read_text())["id"] == "broken"
