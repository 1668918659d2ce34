"""A disk that hangs delays neither the end of a call nor that of the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import Client, ImageEditor, SaveError
from asyncsdk.timing import Timing
from tests.faults.leaving import stopwatch
from tests.stories.edits import all_of, jobs
from tests.stories.pictures import photo
from tests.stories.support import timeout_once

READS = {
    "a picture's path": "image, files._read = 'x.png', stuck",
    "an open file": "image = open(os.pipe()[0], 'rb')",
    "the directory of the pictures": "image, files._make_writable = 'x.png', stuck",
    "what is there already": "image, files._existing = 'x.png', stuck",
}
# the stuck thread writes without a lock: one that is held as the interpreter ends would abort it
PROGRAM = """
import asyncio, os, sys, time
from asyncsdk import Client, ImageEdit, ImageEditor, files
def stuck(*_):
    os.write(1, b"stuck\\n")
    time.sleep(60)
{what}
async def main():
    async with Client("sk-test", base_url="http://127.0.0.1:9/v1") as client:
        edits = [ImageEdit(image=image, prompt="x", model="gpt-image-2")]
        try:
            async with asyncio.timeout(0.5), ImageEditor(client).edit_many(edits, out="out") as outcomes:
                async for outcome in outcomes:
                    print(outcome)
        except TimeoutError:
            print("gave up", flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize("what", READS.values(), ids=READS)
def test_a_call_that_is_given_up_ends_with_its_program(tmp_path: Path, what: str) -> None:
    photo(tmp_path / "x.png", (16, 16))
    program = PROGRAM.format(what=what)
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False
    )
    assert ran.stdout.splitlines()[-1] == "gave up", ran.stderr
    assert ran.returncode == 0


STUCK_READING = """
import os, signal, sys, threading, time
from asyncsdk import files
def stuck(*_):
    os.write(1, b"stuck\\n")
    {what}
    time.sleep(60)
files._read = stuck
from asyncsdk.__main__ import main
sys.argv = ["asyncsdk", "edit", "x.png", "--prompt", "x", "--model", "gpt-image-2", "--out", "out"]
sys.exit(main())
"""


def command_stuck_reading(folder: Path, what: str = "pass") -> subprocess.Popen[str]:
    photo(folder / "x.png", (16, 16))
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK_READING.format(what=what)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "PATH": "/bin"}
        | {"PYTHONPATH": ":".join(sys.path)},
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "stuck\n"
    return process


def test_ctrl_c_ends_a_command_whose_picture_can_not_be_read(tmp_path: Path) -> None:
    with command_stuck_reading(tmp_path) as process, stopwatch(process.pid) as watch:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert watch.seconds < 2


def test_a_signal_that_the_system_hands_to_another_thread_ends_a_command_that_only_waits(tmp_path: Path) -> None:
    to_this_thread = "time.sleep(0.5); signal.pthread_kill(threading.get_ident(), signal.SIGINT)"
    with command_stuck_reading(tmp_path, to_this_thread) as process:
        assert process.wait(10) == 130


@pytest.mark.parametrize("timing", [Timing(final_write=0.3)], ids=[""])
@pytest.mark.parametrize("call", ["fdatasync", "link"])
async def test_a_disk_that_hangs_while_a_picture_is_saved_delays_the_end_of_a_call_by_little(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real, go_on, hung = getattr(os, call), threading.Event(), list[str]()

    def hanging(*arguments: Any, **options: Any) -> Any:
        if threading.current_thread().name == "asyncsdk-saving":
            hung.append(call)
            go_on.wait(30)
        return real(*arguments, **options)

    editor, edits = ImageEditor(client), jobs(3)
    try:
        with stopwatch() as watch:
            async with editor.edit_many(edits, out=tmp_path, concurrency=2) as outcomes:
                monkeypatch.setattr(os, call, hanging)
                with pytest.raises(TimeoutError):
                    async with timeout_once(lambda: len(hung) == 2):
                        await all_of(outcomes)
                watch.start()
            assert watch.seconds < 4
    finally:
        go_on.set()
    assert [outcome.status for outcome in outcomes.abandoned] == ["uncertain"] * 2
    for outcome in outcomes.abandoned:
        assert isinstance(outcome.error, SaveError)
        assert (outcome.error.in_memory, outcome.files) == (True, ())
        assert "the disk hangs" in str(outcome.error)
    monkeypatch.undo()
    async with editor.edit_many(edits, out=tmp_path) as outcomes:
        assert sorted([outcome.status async for outcome in outcomes]) == ["done", "uncertain", "uncertain"]
