"""What is asked before many edits are sent, and what a dry run says: pictures, limits, other fields, equal rows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.cli.edits import edit_many
from asyncsdk.images.editor import ImageEditor
from asyncsdk.server import LocalServer
from tests.cli.support import Run
from tests.stories.pictures import photo

COST, GO_ON = "  It costs …", "  Continue? [y/N] "
NARROW = "  Give --size and --quality for a narrower range: else all that the server may choose counts."
COMMAND = ("edit-many", "photos", "--model", "gpt-image-2", "--out", "out", "--prompt")


class Terminal:
    """A person who answers no."""

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return "n\n"


@pytest.fixture(autouse=True)
def photos(environment: pytest.MonkeyPatch) -> None:
    Path("photos").mkdir()
    for number in range(4):
        photo(Path("photos", f"p{number}.png"), (16, 16), seed=number)
    environment.setattr(edit_many, "ASK_ABOVE", 3)


@pytest.fixture
def ask(run: Run, server: LocalServer, environment: pytest.MonkeyPatch) -> Any:
    """Run a command at a terminal; what was asked, as lines, [] for nothing."""

    def ask(*arguments: str) -> list[str]:
        sent = server.edits.edits
        with environment.context() as patch:
            patch.setattr(edit_many.sys, "stdin", Terminal())  # type: ignore[attr-defined]  # it is imported there
            ran = run(*arguments)
        lines = ran.err.splitlines()
        if "Nothing was sent." not in lines:
            return []
        assert (ran.code, server.edits.edits) == (2, sent)
        return [
            re.sub(r"^  It costs about \$0\.\d+ to \$\d\.\d\d, as a batch half \(.*\)\.$", COST, line)
            for line in lines[: lines.index("Nothing was sent.")]
        ]

    return ask


def test_pictures_count_not_edits(ask: Any, run: Run) -> None:
    assert ask(*COMMAND, "x") == ["4 edits will be sent and paid.", COST, NARROW, GO_ON]
    assert ask(*COMMAND, "x", "--n", "3") == ["4 edits, 12 pictures, will be sent and paid.", COST, NARROW, GO_ON]
    for path in list(Path("photos").iterdir())[2:]:
        path.unlink()
    assert ask(*COMMAND, "x", "-n", "2") == ["2 edits, 4 pictures, will be sent and paid.", COST, NARROW, GO_ON]
    assert ask(*COMMAND, "x") == [], "two pictures are not many"


def test_where_thousands_would_be_read_it_asks_for_the_most_that_is_sent(
    ask: Any, environment: pytest.MonkeyPatch
) -> None:
    environment.setattr(edit_many, "CHECKED_ANYWAY", 3)
    environment.setattr(ImageEditor, "plan", None)
    assert ask(*COMMAND, "x", "-n", "2") == ["Up to 4 edits, 8 pictures, will be sent and paid. Continue? [y/N] "]
    assert ask(*COMMAND, "x", "-n", "2", "--max-edits", "2") == [
        "Up to 2 edits, 4 pictures, will be sent and paid. Continue? [y/N] "
    ]


def test_a_limit_decides_what_is_really_sent(ask: Any, run: Run, server: LocalServer) -> None:
    held = "3 edits, 6 pictures, will be sent and paid (--max-edits 3 holds 1 back)."
    assert ask(*COMMAND, "x", "-n", "2", "--max-edits", "3") == [held, COST, NARROW, GO_ON]
    assert run(*COMMAND, "x", "-n", "2", "--max-edits", "1").code == 4
    assert server.edits.edits == 1
    held = "2 edits, 4 pictures, will be sent and paid (--max-edits 3 holds 1 back). Not sent: 1 done before."
    assert ask(*COMMAND, "x", "-n", "2", "--max-edits", "3") == [held, COST, NARROW, GO_ON]
    assert ask(*COMMAND, "x", "-n", "2", "--max-edits", "1") == [], "nothing is sent"
    dry = run(*COMMAND, "x", "-n", "2", "--max-edits", "3", "--dry-run")
    assert dry.out.startswith("3 to send, of which --max-edits 3 lets 2 be sent, 1 done before.\n")
    assert "They count as 4 images against the rate limit" in dry.out
    assert run(*COMMAND, "x", "-n", "2", "--max-edits", "1", "--dry-run").out.startswith(
        "3 to send, of which --max-edits 1 lets 0 be sent, 1 done before.\n"
    )
    reached = run(*COMMAND, "x", "-n", "2", "--max-tokens", "1", "--dry-run")
    assert reached.out.startswith("3 to send, of which --max-tokens 1 lets 0 be sent")
    assert server.edits.edits == 1


def test_what_can_not_be_sent_and_what_is_left_out_is_named(ask: Any) -> None:
    Path("photos/broken.jpg").write_bytes(b"no picture")
    Path("photos/notes.txt").touch()
    Path("photos/gone.png").symlink_to("nowhere")
    question = ask(*COMMAND, "x")
    first = next(number for number, line in enumerate(question) if line.startswith("4 edits"))
    assert question[first:] == [
        "4 edits will be sent and paid. Not sent: 1 refused (1 not a picture), 1 left out.",
        "  Can't be sent: photos/gone.png, broken (not a picture).",
        "  Left out: 1 file that is not a picture.",
        COST,
        NARROW,
        GO_ON,
    ]


def test_edits_that_were_done_with_another_prompt_are_counted(ask: Any, run: Run, server: LocalServer) -> None:
    assert run(*COMMAND, "x").code == 0
    remark = (
        "4 of these were done before with another prompt or other fields: their pictures will be moved to "
        "out/.asyncsdk/replaced."
    )
    assert ask(*COMMAND, "y") == ["4 edits will be sent and paid.", COST, NARROW, f"  {remark}", GO_ON]
    dry = run(*COMMAND, "y", "--dry-run")
    first, cost, _, *rest = dry.out.splitlines()
    assert (first, cost.startswith("It costs about"), rest[0]) == ("4 to send.", True, remark)
    [record] = run(*COMMAND, "y", "--dry-run", "--json").records
    assert (record["with_other_fields"], server.edits.edits) == (4, 4)
    moved = run(*COMMAND, "y")
    assert (moved.code, moved.err.count("its older picture was moved to")) == (0, 4)


def test_pictures_that_were_replaced_since_are_said_to_be_elsewhere(
    ask: Any, run: Run, server: LocalServer, environment: pytest.MonkeyPatch
) -> None:
    assert [run(*COMMAND, prompt).code for prompt in ("x", "y")] == [0, 0]
    remark = "4 done before (the pictures of 4 of them were replaced since and are in out/.asyncsdk/replaced)"
    again = run(*COMMAND, "x")
    assert (again.code, again.err, server.edits.edits) == (0, f"{remark}.\n", 8)
    assert run(*COMMAND, "x", "--dry-run").out == f"0 to send, {remark}.\n"
    assert run(*COMMAND, "y").err == "4 done before.\n"


def test_rows_that_are_equal_to_another_are_counted(ask: Any, run: Run, server: LocalServer) -> None:
    rows = [{"id": f"r{n}", "image": "photos/p0.png", "prompt": "x", "model": "gpt-image-2"} for n in range(4)]
    Path("jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    command = ("edit-many", "jobs.jsonl", "--out", "out")
    remark = "3 are equal to another: each is sent and paid."
    assert ask(*command) == ["4 edits will be sent and paid.", COST, NARROW, f"  {remark}", GO_ON]
    assert remark in run(*command, "--dry-run").out
    assert run(*command).code == 0
    assert server.edits.edits == 4
