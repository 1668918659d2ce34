"""Uploads side by side, and what is said of each when a signal ends them all."""

from __future__ import annotations

import asyncio
import json
import signal
from functools import partial

import pytest
from attrs import define

from asyncsdk.cli import app
from asyncsdk.cli.display import NullDisplay
from asyncsdk.cli.options import Output
from asyncsdk.cli.output import Out
from asyncsdk.cli.signals import Stop
from asyncsdk.cli.uploads.transfer import Listener, NamedUpload, Transfer, UploadsView
from asyncsdk.errors import AsyncSDKError, AuthenticationError, InternalServerError
from asyncsdk.events import Progress, UploadPhase
from asyncsdk.uploads.job import UploadResult
from asyncsdk.uploads.journal.memory import MemoryJournal
from asyncsdk.uploads.sharing import SharedList
from tests.cli.support import disarm

NOW = 1_795_360_260.0


async def stuck(done: int, arrive: Stop | None, listener: Listener) -> UploadResult:
    """Come so far, and no further; the last one to come so far lets the signal arrive."""
    listener(
        Progress(
            state=UploadPhase.SENDING,
            source="t",
            bytes_total=100_000_000,
            bytes_done=done,
            upload_id=f"upload_{done}",
            expires_at=int(NOW) + 600,
        )
    )
    if arrive is not None:
        arrive.arrive(signal.SIGTERM)
    await asyncio.sleep(60)
    raise AssertionError("it was to be cancelled")


def test_a_signal_tells_of_each_upload_under_way_and_of_the_number_to_come(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop = Stop(patience=60.0)
    transfer = Transfer(Out(Output(json=True)), NullDisplay(UploadsView({})), stop, lambda: NOW)
    uploads = {
        "a": partial(stuck, 30_000_000, None),
        "b": partial(stuck, 40_000_000, stop),
        **{name: partial(stuck, 0, None) for name in "cde"},
    }
    assert app.finish(transfer.run(uploads, at_once=2), stop) == 143
    disarm(stop)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert lines[0].startswith("a: stopped at 30 of 100 MB. What is sent is kept until ")
    assert lines[1] == "  The same command goes on: 70 MB."
    assert lines[2].startswith("b: stopped at 40 of 100 MB. What is sent is kept until ")
    assert lines[4:] == ["3 files not sent. The same command sends them."]
    told = [json.loads(line) for line in out.splitlines()]
    assert [record["source"] for record in told] == list("abcde")
    assert [record["id"] for record in told] == ["upload_30000000", "upload_40000000", None, None, None]
    assert {record["error"]["type"] for record in told} == {"Interrupted"}
    assert {record["error"]["resumable"] for record in told} == {True}


async def unanswered(stop: Stop, listener: Listener) -> UploadResult:
    """POST /files has all bytes, and no response comes before the signal."""
    listener(
        Progress(state=UploadPhase.SENDING, source="t", bytes_total=1000, bytes_done=0, bytes_sent=1000, upload_id=None)
    )
    stop.arrive(signal.SIGINT)
    await asyncio.sleep(60)
    raise AssertionError("it was to be cancelled")


def test_a_file_that_was_sent_by_one_request_is_not_said_to_be_unsent(capsys: pytest.CaptureFixture[str]) -> None:
    stop = Stop(patience=60.0)
    transfer = Transfer(Out(Output()), NullDisplay(UploadsView({})), stop, lambda: NOW)
    assert app.finish(transfer.run({"a": partial(unanswered, stop)}, at_once=2), stop) == 130
    disarm(stop)
    assert capsys.readouterr().err.splitlines()[0] == (
        "a: stopped before its response came. "
        "The same command looks for its file, and sends it again where there is none."
    )


def test_what_other_processes_send_is_left_to_them(capsys: pytest.CaptureFixture[str]) -> None:
    stop = Stop(patience=60.0)
    display = NullDisplay(UploadsView({"a": 1, "b": 1, "c": 1}))
    transfer = Transfer(Out(Output()), display, stop, lambda: NOW)
    display.view.pass_over("b")
    display.view.pass_over("c")
    assert (
        app.finish(transfer.run({"a": partial(stuck, 0, stop), "b": partial(stuck, 0, None)}, at_once=1), stop) == 143
    )
    disarm(stop)
    assert capsys.readouterr().err.splitlines()[-1] == (
        "1 file is being sent by other processes. The same command waits for it."
    )


@define(eq=False)
class Shared(MemoryJournal):
    """One that other processes write, too."""

    async def held(self, _: object) -> list[str]:
        return []


async def refused(error: AsyncSDKError, _: Listener) -> UploadResult:
    raise error


def test_a_file_that_was_to_be_tried_again_failed_where_another_is_refused_as_all_would_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stop, broken = Stop(patience=60.0), InternalServerError("broken", status_code=500)
    shared: SharedList[NamedUpload] = SharedList(Shared())
    shared.meets_others = True
    transfer = Transfer(Out(Output(json=True)), NullDisplay(UploadsView({})), stop, lambda: NOW, shared=shared)
    uploads = {
        "a": partial(refused, broken),
        "b": partial(refused, AuthenticationError("wrong key", status_code=401)),
        "c": partial(refused, broken),
    }
    app.finish(transfer.run(uploads, at_once=1), stop)
    disarm(stop)
    told = {
        record["source"]: record["error"]["type"] for record in map(json.loads, capsys.readouterr().out.splitlines())
    }
    assert told == {"a": "InternalServerError", "b": "AuthenticationError", "c": "NotSent"}


def test_what_is_tried_again_at_the_end_is_not_under_way_meanwhile() -> None:
    stop, shared, rows = Stop(patience=60.0), SharedList[NamedUpload](Shared()), list[set[str]]()
    shared.meets_others = True
    display = NullDisplay(UploadsView({}))

    async def fails(name: str, listener: Listener) -> UploadResult:
        listener(Progress(state=UploadPhase.SENDING, source=name, bytes_total=9, bytes_done=0, bytes_sent=5))
        rows.append(set(display.view.under_way))
        raise InternalServerError("broken", status_code=500)

    transfer = Transfer(Out(Output(quiet=True)), display, stop, lambda: NOW, shared=shared)
    app.finish(transfer.run({name: partial(fails, name) for name in "ab"}, at_once=1), stop)
    disarm(stop)
    assert rows == [{"a"}, {"b"}, {"a"}, {"b"}]
