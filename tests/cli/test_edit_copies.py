"""The same command in two processes over one ledger: the progress of the whole, and what each says and ends with."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.images.ledger.progress import LedgerProgress
from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Run, Start
from tests.stories.pictures import png

ROWS = 12


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """One whose edits take a while."""
    with LocalServer(tmp_path_factory.mktemp("server"), edit_seconds=0.4) as running:
        yield running


@pytest.fixture
def command(environment: pytest.MonkeyPatch, database_url: str) -> list[str]:
    environment.setenv("ASYNCSDK_LEDGER", database_url)
    Path("a.png").write_bytes(png())
    rows = [{"image": "a.png", "prompt": f"p{number}", "id": f"row {number}"} for number in range(ROWS)]
    Path("jobs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["edit-many", "jobs.jsonl", "-m", "gpt-image-2", "-o", "out", "--yes", "-c", "2"]


def states(run: Run) -> dict[str, int]:
    return dict(run("ledger", "show", "--json").records[0]["states"])


def ended(copy: subprocess.Popen[Any]) -> tuple[int, str]:
    _, errors = copy.communicate(timeout=60)
    return copy.returncode, errors


def test_each_copy_ends_once_all_rows_have_and_its_code_tells_of_those_of_the_others(
    run: Run, start: Start, server: LocalServer, command: list[str]
) -> None:
    server.inject(Fault("edit", "answer", at="done", status=504))
    copies = [start(*command, "--progress", "none") for _ in range(2)]
    first = ended(copies[0])
    assert states(run) == {"done": ROWS - 1, "uncertain": 1}  # also those of the other one
    second = ended(copies[1])
    assert (first[0], second[0], server.edits.edits) == (3, 3, ROWS)
    for _, errors in (first, second):
        assert "1 uncertain (sent, no usable response). Details: asyncsdk ledger" in errors


def test_a_copy_that_finds_all_done_by_others_ends_well(
    run: Run, start: Start, server: LocalServer, command: list[str]
) -> None:
    assert [ended(start(*command, "--progress", "none"))[0] for _ in range(2)] == [0, 0]
    assert server.edits.edits == ROWS


def test_the_progress_of_a_copy_has_that_of_all(start: Start, server: LocalServer, command: list[str]) -> None:
    server.inject(Fault("edit", "stall", at="after", seconds=6))  # one of them holds an edit, for which the other waits
    copies = [start(*command, "--progress", "json") for _ in range(2)]
    moments = []
    for copy in copies:
        code, errors = ended(copy)
        assert code == 0
        moments += [json.loads(line).get("whole") for line in errors.splitlines() if line.startswith("{")]
    seen = [LedgerProgress(**whole) for whole in moments if whole is not None]
    assert any(each.copies == 2 and each.held and each.done < ROWS for each in seen)
    assert max(each.known for each in seen) <= ROWS


def test_what_a_killed_copy_was_sending_is_uncertain_and_the_other_one_says_so(
    run: Run, start: Start, server: LocalServer, command: list[str]
) -> None:
    server.inject(Fault("edit", "stall", at="after", every=1, times=2))  # both are in flight when it is killed
    killed = start(*command, "--progress", "none")
    while server.calls.get("edit", 0) < 2:
        assert killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    code, errors = ended(start(*command, "--progress", "none"))
    assert code == 3
    found = states(run)
    assert found == {"done": ROWS - 2, "uncertain": 2}
    assert "2 uncertain" in errors
