"""`asyncsdk demo`: the whole story, with processes that are really killed; and what becomes of a wrong claim."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from asyncsdk.cli.demo import demo, edit_story
from asyncsdk.cli.demo.children import ChildError, UploadChild, address_of, child, clean_environment, progress_of
from asyncsdk.cli.demo.evidence import Evidence, Parts
from asyncsdk.cli.demo.upload_story import DemoPlan, RunObserver, Story
from asyncsdk.errors import ConfigurationError
from asyncsdk.events import Progress, UploadPhase
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads.chunking import BLOCK
from tests.cli.support import MakeFile, Run
from tests.faults.leaving import stopwatch

MIB = 1 << 20
SHOW_CURSOR = "\x1b[?25h"


@pytest.fixture
def stage(tmp_path: Path, environment: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its temporary directory."""
    folder = tmp_path / "stage"
    folder.mkdir()
    environment.setenv("TMPDIR", str(folder))
    return folder


def test_it_plays_its_story_and_leaves_nothing(run: Run, environment: pytest.MonkeyPatch, stage: Path) -> None:
    environment.setattr(demo, "USUAL_SIZE", 6 * MIB)
    environment.setattr("tempfile.tempdir", str(stage))
    ran = run("demo")
    assert ran.code == 0, ran.err
    assert all(line.startswith("random.bin: ") for line in ran.err.splitlines()), ran.err
    lines = [line for line in ran.out.splitlines() if line]
    assert lines[0] == "A file of 6.3 MB, random bytes; its own server on this machine."
    assert lines[1] == "$ asyncsdk upload random.bin --purpose batch"
    assert "killed half-way" in lines[2]
    assert "the same again" in lines[3]
    assert "were there and were kept; the server received the other" in lines[4]
    assert "sha256" in lines[5]
    assert "are uploaded as file-" in lines[6]
    assert (
        lines[7] == '$ asyncsdk edit picture.png --mask mask.png --prompt "a beret" --model gpt-image-2 --out edited/'
    )
    assert re.search(r"saved, for [\d,]+ tokens: the masked region changed, and not one pixel outside it", lines[8])
    assert "asyncsdk upload train.jsonl --purpose fine-tune" in lines[10]
    assert "asyncsdk edit otter.png" in lines[11]
    assert "--model gpt-image-2" in lines[11]  # it is paid: nobody should have to find out which model
    assert list(stage.iterdir()) == []


def test_on_a_terminal_it_shows_bars_and_ctrl_c_ends_it_with_all_its_processes_and_files(
    make_file: MakeFile, stage: Path
) -> None:
    ours, theirs = pty.openpty()
    place = os.ttyname(theirs)
    demo = f"exec {sys.executable} -m asyncsdk demo {make_file(20 * MIB)} <{place} >{place} 2>&1"
    terminal = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(["sh", "-c", demo], start_new_session=True, env=terminal)
    shown = b""
    while "━━━".encode() not in shown:
        shown += os.read(ours, 65536)
    children = {child for child, parent in processes() if parent == process.pid}
    assert len(children) == 2
    with stopwatch() as watch:
        os.write(ours, b"\x03\x03")
        assert process.wait(timeout=20) == 130
        assert watch.seconds < 1
    while select.select([ours], [], [], 0)[0]:  # a terminal gives what it has piece by piece
        shown += os.read(ours, 65536)
    os.close(theirs)
    os.close(ours)
    assert "train.jsonl " in shown.decode()
    assert "Traceback" not in shown.decode()
    assert SHOW_CURSOR in shown.decode()
    assert "Stopped. Everything was in a temporary directory and is deleted." in shown.decode().splitlines()[-1]
    assert not children & {child for child, _ in processes()}
    assert list(stage.iterdir()) == []


def test_what_could_not_be_deleted_is_named(tmp_path: Path) -> None:
    assert demo.stopped(tmp_path) == f"Stopped. Not everything could be deleted in time: {tmp_path}"
    assert demo.stopped(tmp_path / "gone").endswith("is deleted.")


def processes() -> list[tuple[int, int]]:
    """All processes of this machine with their parents."""
    told = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [(int(pid), int(parent)) for pid, parent in (line.split() for line in told.splitlines())]


@pytest.mark.parametrize("size", [4 * MIB, 4 * MIB + 1, 100 * MIB, 256 * MIB, 8 << 30])
def test_at_half_time_many_parts_are_there(size: int) -> None:
    plan = DemoPlan(Path("x"), size)
    parts = -(-size // plan.part_size)
    assert plan.part_size % BLOCK == 0
    assert plan.part_size <= 64 * MIB or size > 2 << 30
    assert plan.connections * 4 <= parts
    assert plan.rate * 4 <= size


def test_a_run_is_killed_once_at_the_bytes_that_were_set_and_not_followed_any_more() -> None:
    shown: list[int] = []
    killed: list[bool] = []
    watch = RunObserver(lambda progress: shown.append(progress.bytes_done), lambda: killed.append(True), 50)
    for done in (0, 49, 51, 60):
        watch.see(Progress(state=UploadPhase.SENDING, source="x", bytes_total=100, bytes_done=done))
    assert shown == [0, 49, 51]
    assert killed == [True]
    assert watch.last is not None
    assert watch.last.bytes_done == 51


STOPPED = Progress(state=UploadPhase.SENDING, source="x", bytes_total=100, bytes_done=60)


@pytest.mark.parametrize(
    ("sent", "resumed", "taken"),
    [(50, 50, 50), (40, 61, 40), (40, 60, 39), (40, 60, 100_000)],
)
def test_a_claim_that_does_not_hold_is_a_failure(sent: int, resumed: int, taken: int) -> None:
    story = Story(DemoPlan(Path("x"), 100), Path(), None, print)  # type: ignore[arg-type]  # no server is asked
    with pytest.raises(ChildError):
        story._check_what_went({"bytes_sent": sent, "bytes_resumed": resumed}, STOPPED, Parts(2, taken))  # noqa: SLF001 - a step by itself: in a whole demo it does not fail


async def test_other_bytes_on_the_server_are_a_failure(make_file: MakeFile) -> None:
    class Liar:
        def sha256_of(self, _: str) -> str:
            return "0" * 64

    story = Story(DemoPlan(make_file(10), 10), Path(), Liar(), print)  # type: ignore[arg-type]  # only this is asked
    with pytest.raises(ChildError, match="the server stored other bytes"):
        await story._check_what_is_stored("file-1")  # noqa: SLF001 - a step by itself: in a whole demo it does not fail


async def test_an_upload_that_fails_is_a_failure_in_its_own_words(
    server: LocalServer, make_file: MakeFile, tmp_path: Path
) -> None:
    story = Story(DemoPlan(make_file(4 * MIB), 4 * MIB), tmp_path, Evidence(server.url), print)
    server.inject(Fault("create", "answer", status=403))
    with pytest.raises(ChildError, match=r"ended before it could be stopped half-way.*403"):
        await story._stop_half_way()  # noqa: SLF001 - a step by itself: in a whole demo it does not fail


async def test_a_second_run_without_a_file_is_a_failure(environment: pytest.MonkeyPatch) -> None:
    async def upload(*_: object, **__: object) -> tuple[RunObserver, UploadChild]:
        return RunObserver(print, print, 0), UploadChild(None, print)  # type: ignore[arg-type]  # it has ended

    environment.setattr(Story, "_upload", upload)
    story = Story(DemoPlan(Path("x"), 1), Path(), None, print)  # type: ignore[arg-type]  # no server is asked
    with pytest.raises(ChildError, match="the second run failed"):
        await story._finish()  # noqa: SLF001 - a step by itself: in a whole demo it does not fail


async def test_without_pillow_the_edit_is_left_out_and_it_says_what_to_install(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setattr(edit_story, "find_spec", lambda _: None)
    await edit_story.play_edit(tmp_path, "http://nowhere", Console(soft_wrap=True).print)
    assert "it needs Pillow: pip install pillow" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


async def test_an_edit_that_fails_is_a_failure_in_its_own_words(server: LocalServer, tmp_path: Path) -> None:
    server.inject(Fault("edit", "answer", status=403))
    with pytest.raises(ChildError, match=r"the edit failed\..*403"):
        await edit_story.play_edit(tmp_path, server.url, print)


async def test_an_edit_of_something_else_is_a_failure(
    server: LocalServer, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setattr(edit_story, "changed", lambda *_: (0, 0, 256, 256))
    with pytest.raises(ChildError, match="something outside the masked region"):
        await edit_story.play_edit(tmp_path, server.url, print)


async def test_a_server_that_does_not_start_is_a_failure_in_its_own_words() -> None:
    async with child("serve", "--port", "99999") as server:
        with pytest.raises(ChildError, match="must be a port"):
            await address_of(server)


def test_the_parts_of_a_run_are_counted_when_none_is_under_way_any_more() -> None:
    parts = [{"route": "part", "status": status, "bytes": 10} for status in (200, None, 500, 200)]
    answers: Iterator[dict[str, Any]] = iter(
        [{"in_flight": {"part": 1}}, {"in_flight": {"part": 0}}, {"requests": parts}]
    )

    class Asked(Evidence):
        def _control(self, _: str) -> dict[str, Any]:
            return next(answers)

    assert Asked("http://x/v1").parts() == Parts(2, 20)


def test_a_story_that_fails_is_exit_1_with_the_childs_words(run: Run, environment: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise ChildError("the second run failed. error: so it is")

    environment.setattr(demo, "_play", fails)
    ran = run("demo")
    assert (ran.code, ran.err) == (1, "error: the second run failed. error: so it is\n")


async def test_without_a_file_it_makes_one_as_large_as_the_disk_allows(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    def free(count: int) -> None:
        environment.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": count}))

    free(10**12)
    assert demo.plan_for(tmp_path).size == 256 * MIB
    free(30 * MIB + 6)
    plan = demo.plan_for(tmp_path)
    await demo._make_noise(plan)  # noqa: SLF001 - a whole demo takes 256 MB
    assert (plan.size, plan.path.stat().st_size) == (5 * MIB + 1, 5 * MIB + 1)
    free(20 * MIB)
    with pytest.raises(ConfigurationError, match="TMPDIR"):
        demo.plan_for(tmp_path)


def test_the_processes_know_nothing_of_the_users_account() -> None:
    theirs = {
        "OPENAI_API_KEY": "sk-real",
        "OPENAI_BASE_URL": "x",
        "AZURE_OPENAI_ENDPOINT": "y",
        "ASYNCSDK_JOURNAL": "z",
    }
    ours = {"OPENAI_API_KEY": "demo", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    assert clean_environment({**theirs, "PATH": "/bin"}) == {"PATH": "/bin", **ours}


@pytest.mark.parametrize("line", [b"error: no\n", b"7\n", b"{}\n", b'{"state": "flying"}\n', b"\xff\n"])
def test_words_are_no_progress(line: bytes) -> None:
    assert progress_of(line) is None
