"""`edit-many --redo FILE`, where FILE is dated ahead of the clock: paid once, and the user is warned."""

from __future__ import annotations

import os
import time
from pathlib import Path

from asyncsdk.server import LocalServer
from tests.cli.support import Run
from tests.stories.pictures import photo

COMMAND = ("edit-many", "a.png", "--prompt", "x", "--model", "gpt-image-2", "--out", "out")


def test_three_runs_pay_once_and_each_warns(run: Run, server: LocalServer) -> None:
    photo(Path("a.png"), (16, 16))
    assert run(*COMMAND).code == 0
    rejects = Path("rejects.jsonl")
    rejects.write_text('{"id": "a"}\n')
    os.utime(rejects, times=(time.time(), time.time() + 7800))
    dry = run(*COMMAND, "--redo", rejects, "--dry-run")
    assert dry.out.startswith("1 to send.")
    for _ in range(3):
        ran = run(*COMMAND, "--redo", rejects)
        assert ran.code == 0
        assert "warning: --redo rejects.jsonl was written 2 h 1" in ran.err
    assert server.edits.edits == 2
