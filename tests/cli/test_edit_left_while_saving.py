"""A signal while pictures that are paid wait for a disk: each is saved elsewhere or said to be lost, and told once."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from asyncsdk import files, retry
from asyncsdk.cli import app
from asyncsdk.cli.edits import rescue
from asyncsdk.cli.signals import Stop
from asyncsdk.errors import SaveError
from asyncsdk.server import Fault, LocalServer
from asyncsdk.threads import DaemonThreadPool, NoThreadError
from tests.cli.support import Ran, Run
from tests.faults.leaving import stopwatch
from tests.stories.edits import PICTURE

ONE = ("edit", "otter.png", "--prompt", "x", "--model", "gpt-image-2", "--out", "out", "--json")
MANY = ("edit-many", "jobs.jsonl", "--out", "out", "--json")
GRACE = (*MANY, "--grace", "0.3")  # one signal, and no second that ends it
WHOLE = {"b64_json": base64.b64encode(PICTURE).decode()}
DAMAGED = {"b64_json": base64.b64encode(b"<html>").decode()}
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(autouse=True)
def jobs(otter: Path, elsewhere: Path) -> None:
    write_jobs(["otter"])


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The disk takes no picture below `out`: which it refused."""
    save_draft, paths = files.Draft.save, list[Path]()

    def fails_in_out(draft: Any, content: bytes, *, overwrite: bool) -> OSError | None:
        if "out" in draft.target.parts and draft.target.suffix in {".png", ".raw"}:
            paths.append(draft.target)
            raise FULL
        return save_draft(draft, content, overwrite=overwrite)

    monkeypatch.setattr(files.Draft, "save", fails_in_out)
    return paths


@pytest.fixture
def no_elsewhere(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """No temporary directory can be made: when it was tried."""
    tries: list[float] = []

    def refuse(**_: object) -> str:
        tries.append(time.monotonic())
        raise FULL

    monkeypatch.setattr(rescue, "mkdtemp", refuse)
    return tries


def write_jobs(names: Sequence[str]) -> None:
    rows = [{"id": name, "image": "otter.png", "prompt": f"as {name}", "model": "gpt-image-2"} for name in names]
    Path("jobs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def answer(server: LocalServer, *items: dict[str, Any]) -> None:
    server.inject(Fault("edit", "answer", status=200, body={"created": 1, "data": list(items)}, every=1))


@pytest.fixture
def leave(stop: Stop, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[Ran, float]]:
    """Run a command, and send it the signals that end it once `is_time`; also how long it took after the last."""

    def leave(command: Sequence[str], is_time: Callable[[], object]) -> tuple[Ran, float]:
        moments: list[float] = []

        def interrupt() -> None:
            deadline = time.monotonic() + 20
            while not is_time() and time.monotonic() < deadline:
                time.sleep(0.02)
            for _ in range(2 if command == MANY else 1):
                time.sleep(0.1)
                moments.append(time.monotonic())
                stop.arrive(signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        code = app.run(list(command), stop)
        ended = time.monotonic()
        thread.join()
        out, err = capfd.readouterr()
        return Ran(int(code), out, err), ended - moments[-1]

    return leave


@pytest.mark.parametrize("command", [ONE, MANY, GRACE])
def test_a_picture_that_waits_for_the_disk_is_saved_elsewhere(
    leave: Any, server: LocalServer, elsewhere: Path, refused: list[Path], command: Sequence[str]
) -> None:
    ran, _ = leave(command, lambda: refused)
    [picture], [record] = elsewhere.rglob("*.png"), ran.records
    assert (ran.code, server.edits.edits) == (130, 1)
    assert (record["status"], record["files"]) == ("uncertain", [str(picture)])
    assert f"Saved elsewhere: {picture}" in ran.err
    assert "in memory" not in ran.err
    assert "error.result" not in ran.err
    assert "may have been paid" not in ran.err  # it is paid


@pytest.mark.parametrize("command", [ONE, MANY, GRACE])
def test_so_is_what_came_in_the_place_of_another_picture(
    leave: Any, server: LocalServer, elsewhere: Path, refused: list[Path], command: Sequence[str]
) -> None:
    answer(server, WHOLE, DAMAGED)
    ran, _ = leave(command, lambda: refused)
    [picture], [raw], [record] = elsewhere.rglob("*.png"), elsewhere.rglob("*.raw"), ran.records
    assert (record["files"], raw.read_bytes()) == ([str(picture)], b"<html>")
    assert record["error"]["raw_files"] == [str(raw)]


@pytest.mark.usefixtures("no_elsewhere")
@pytest.mark.parametrize("command", [ONE, MANY, GRACE])
def test_what_no_disk_takes_is_said_to_be_lost(leave: Any, refused: list[Path], command: Sequence[str]) -> None:
    ran, seconds = leave(command, lambda: refused)
    [record] = ran.records
    assert (ran.code, record["status"], record["files"]) == (130, "uncertain", [])
    assert "What came could not be saved elsewhere either ([Errno 28] No space left on device): it is lost." in ran.err
    assert "make room there, or set TMPDIR to a directory on another disk" in ran.err
    assert "in memory" not in ran.err
    assert seconds < 8


@pytest.mark.usefixtures("impatient", "refused")
def test_an_edit_whose_rescue_is_interrupted_is_reported(
    leave: Any, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, signals, arrive = list[float](), list[int](), Stop.arrive

    def make_slowly(prefix: str) -> str:
        tries.append(time.monotonic())
        while len(signals) < 2:
            time.sleep(0.02)
        time.sleep(0.3)
        return mkdtemp(prefix=prefix)

    def noted(stop: Stop, signum: int) -> None:
        arrive(stop, signum)
        signals.append(signum)

    monkeypatch.setattr(rescue, "mkdtemp", make_slowly)
    monkeypatch.setattr(Stop, "arrive", noted)
    ran, _ = leave(MANY, lambda: tries)
    [record] = ran.records
    assert (ran.code, record["status"]) == (130, "uncertain")
    [file] = record["files"]
    assert Path(file).is_relative_to(elsewhere)
    assert "1 paid and saved elsewhere. Details: out/failed.jsonl" in ran.err
    assert "not sent" not in ran.err


@pytest.mark.usefixtures("refused")
def test_every_edit_is_reported_once_though_the_last_signal_comes_while_they_are_saved_elsewhere(
    leave: Any, no_elsewhere: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FULL_SECONDS", 1.0)
    names = [f"i{number}" for number in range(8)]
    write_jobs(names)
    ran, seconds = leave(MANY, lambda: no_elsewhere)
    assert sorted(record["id"] for record in ran.records) == names
    assert "8 paid but not saved. Details: out/failed.jsonl" in ran.err
    assert len(Path("out/failed.jsonl").read_text().splitlines()) == 8
    assert seconds < 4


def test_where_the_disk_hangs_the_last_words_say_how_many_edits_are_not_reported(
    stop: Stop, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_draft, hangs, goes_on = files.Draft.save, threading.Event(), threading.Event()

    def hanging(draft: Any, content: bytes, *, overwrite: bool) -> OSError | None:
        if draft.target.suffix == ".png":
            hangs.set()
            goes_on.wait(20)
        return save_draft(draft, content, overwrite=overwrite)

    def interrupt() -> None:
        hangs.wait(20)
        for _ in range(2):
            stop.arrive(signal.SIGINT)
            time.sleep(0.1)
        stop.say()  # as when patience ends
        goes_on.set()

    monkeypatch.setattr(files.Draft, "save", hanging)
    thread = threading.Thread(target=interrupt)
    thread.start()
    assert app.run(MANY, stop) == 130
    thread.join()
    assert "1 edit that may be paid could not be reported. The same command reports" in capfd.readouterr().err


@pytest.mark.usefixtures("no_elsewhere", "refused")
def test_edits_wait_for_room_elsewhere_together(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FULL_SECONDS", 0.5)
    write_jobs([f"i{number}" for number in range(8)])
    with stopwatch() as watch:
        ran = run(*MANY)
        assert watch.seconds < 4
    assert (ran.code, len(ran.records)) == (3, 8)
    assert (
        "error: pictures that are paid could not be saved on disk ([Errno 28] No space left on device). Nothing more"
        in ran.err
    )


def test_a_picture_elsewhere_is_not_saved_over_another_edits(
    run: Run, server: LocalServer, elsewhere: Path, refused: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FULL_SECONDS", 0.1)
    write_jobs(["a", "a.1"])
    answer(server, WHOLE, WHOLE)  # one more than was asked for: the name of the second is a.1, too
    ran = run(*MANY, "--concurrency", "2")
    told = [file for record in ran.records for file in record["files"]]
    assert len(set(told)) == 4
    assert sorted(told) == sorted(map(str, elsewhere.rglob("*.png")))


def test_a_picture_that_is_elsewhere_is_not_saved_there_twice(
    run: Run, server: LocalServer, elsewhere: Path, refused: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FULL_SECONDS", 0.0)
    save_draft, failures = files.Draft.save, [FULL]

    def fails_once(draft: Any, content: bytes, *, overwrite: bool) -> OSError | None:
        if elsewhere in draft.target.parents and draft.target.name == "otter.1.png" and failures:
            raise failures.pop()
        return save_draft(draft, content, overwrite=overwrite)

    monkeypatch.setattr(files.Draft, "save", fails_once)
    answer(server, WHOLE, WHOLE)
    [record] = run(*MANY).records
    assert len(record["files"]) == 2
    assert sorted(record["files"]) == sorted(map(str, elsewhere.rglob("*.png")))


async def test_a_thread_that_the_system_does_not_give_is_not_waited_for_while_edits_are_in_flight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(threads: DaemonThreadPool, future: asyncio.Future[Any]) -> None:
        future.set_exception(NoThreadError(errno.EAGAIN, "can't start new thread"))

    monkeypatch.setattr(DaemonThreadPool, "_start_thread", refuse)
    monkeypatch.setattr(files, "_READING", DaemonThreadPool("none", 1))
    with stopwatch() as watch:
        rescued = await rescue.Rescue().save(SaveError("full"), "otter", waits=False)
        assert watch.seconds < 1
    assert isinstance(rescued.failure, NoThreadError)
