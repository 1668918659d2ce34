"""What a person reads about an upload."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest
from attrs import evolve, fields

from asyncsdk import errors
from asyncsdk.cli.options import Connection, UploadOptions
from asyncsdk.cli.output import printable
from asyncsdk.cli.uploads import messages
from asyncsdk.events import Progress, UploadPhase
from asyncsdk.models import File, Upload
from asyncsdk.uploads.job import UploadResult

NOW = 1_795_360_260.0  # 2026-11-22 15:11 UTC
GB = 10**9


def progress(**fields: Any) -> Progress:
    usual: dict[str, Any] = {
        "state": UploadPhase.SENDING,
        "source": "train.jsonl",
        "bytes_total": 5 * GB,
        "bytes_done": 3_100_000_000,
        "rate": 1_225_000.0,
        "eta": 1551.0,
        "upload_id": "upload_1",
        "expires_at": int(NOW) + 31 * 60,
    }
    return Progress(**(usual | fields))


def result(**fields: Any) -> UploadResult:
    usual: dict[str, Any] = {
        "upload": Upload(id="upload_1"),
        "file": File(id="file-1"),
        "md5": "0" * 32,
        "bytes_sent": 5 * GB,
        "bytes_resumed": 0,
        "reused": False,
        "seconds": 400.0,
        "sending_seconds": 250.0,
    }
    return UploadResult(**(usual | fields))


def stopped(shown: Progress, **options: Any) -> str:
    return messages.stopped("train.jsonl", shown, now=NOW, zone=UTC, **options)


def test_a_stopped_upload_tells_how_far_it_came_until_when_it_keeps_and_what_is_left() -> None:
    assert stopped(progress(), reason="no connection") == (
        "train.jsonl: stopped at 3.1 of 5.0 GB, no connection. What is sent is kept until 15:42 (31 min).\n"
        "  The same command goes on: 1.9 GB, about 26 min at 1.2 MB/s."
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"upload_id": None, "bytes_done": 0, "bytes_sent": 0},
            "stopped before anything was sent. The same command starts it.",
        ),
        (
            {"upload_id": None, "bytes_done": 0, "bytes_sent": 5 * GB},
            "stopped before its response came. The same command looks for its file, and sends it again where",
        ),
        (
            {"bytes_done": 0},
            "stopped before any part of it was confirmed. The same command sends all of it, and makes no second file.",
        ),
        ({"rate": 0.0}, "The same command goes on: 1.9 GB."),
        ({"bytes_done": 5 * GB}, "everything is sent, and only has to be completed."),
        (
            {"rate": 500_000.0},
            "about 1 h 4 min at 500 kB/s. That is longer than the server keeps it: use a faster connection.",
        ),
        (
            {"expires_at": int(NOW) - 1},
            "the server has deleted what was sent. The same command starts again from the beginning.",
        ),
        ({"expires_at": None}, "stopped at 3.1 of 5.0 GB.\n  The same command goes on"),
        (
            {"state": UploadPhase.WAITING, "note": "process 7 on box is sending this file"},
            "stopped waiting; process 7 on box",
        ),
        ({"state": UploadPhase.WAITING}, "stopped waiting; another process is sending it."),
    ],
)
def test_a_stopped_upload_tells_what_is_special_about_it(fields: dict[str, Any], said: str) -> None:
    assert said in stopped(progress(**fields))


def test_where_the_same_command_would_not_go_on_it_does_not_say_so() -> None:
    text = stopped(progress(), instead="The journal is in memory only: the same command starts from the beginning.")
    assert text == (
        "train.jsonl: stopped at 3.1 of 5.0 GB.\n"
        "  The journal is in memory only: the same command starts from the beginning."
    )


def failed(error: errors.AsyncSDKError, shown: Progress | None) -> str:
    error.progress, error.bytes_done = shown, 0 if shown is None else shown.bytes_done
    return messages.failed("a/train.jsonl", error, now=NOW)


def asks_to_wait(seconds: float) -> errors.RateLimitError:
    error = errors.RateLimitError("slower", status_code=429)
    error.retry_after = seconds
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.APIConnectionError("reset"), "no connection"),
        (errors.APITimeoutError("slow"), "no response"),
        (errors.RateLimitError("slower", status_code=429), "too many requests for now (429)"),
        (asks_to_wait(299.2), "too many requests for now (429), and the server asks to wait 300 s"),
        (errors.InternalServerError("oops", status_code=503), "the server failed (503)"),
    ],
)
def test_a_failure_that_can_go_on_reads_as_a_stop_with_its_reason(error: errors.AsyncSDKError, reason: str) -> None:
    assert failed(error, progress()).startswith(
        f"a/train.jsonl: stopped at 3.1 of 5.0 GB, {reason}. What is sent is kept"
    )


def test_a_failure_after_which_nothing_is_kept_promises_no_bytes() -> None:
    error = errors.APIConnectionError("reset")
    error.progress, error.advice = progress(), "Repeat the call: it starts again."
    said = messages.failed("a/train.jsonl", error, now=NOW)
    assert said == "error: a/train.jsonl: reset\n  Repeat the command: it starts again."


def test_a_failure_before_the_upload_began_says_why_and_that_it_may_be_tried_again() -> None:
    error = errors.APIConnectionError("can't connect to 127.0.0.1:1 (Connection refused). Nothing was sent.")
    said = "error: a/train.jsonl: can't connect to 127.0.0.1:1 (Connection refused). Nothing was sent.\n"
    for shown in (None, progress(upload_id=None)):
        assert failed(error, shown) == f"{said}  The same command tries again."


@pytest.mark.parametrize("error", [errors.AuthenticationError("wrong key", status_code=401), errors.UploadError("odd")])
def test_a_failure_that_repeating_would_not_help_is_told_as_it_is(error: errors.AsyncSDKError) -> None:
    assert failed(error, progress()) == f"error: a/train.jsonl: {error}"


def test_a_failure_that_needs_mending_says_what_is_kept_until_then() -> None:
    error = errors.AuthenticationError("wrong key", status_code=401)
    error.advice = "Once that is mended, it goes on."
    assert failed(error, progress()) == "error: a/train.jsonl: wrong key\n  Once that is mended, it goes on."
    error.progress = progress()
    afresh = messages.failed("a", error, now=NOW, instead="The same command starts again from the beginning.")
    assert afresh == "error: a: wrong key\n  The same command starts again from the beginning."


def test_a_failure_that_names_its_file_is_not_named_twice() -> None:
    assert failed(errors.SourceError("a/train.jsonl is empty."), None) == "error: a/train.jsonl is empty."


def test_a_finished_upload_tells_its_id_size_time_and_pace() -> None:
    assert messages.done("t.jsonl", result()) == "t.jsonl: file-1, 5.0 GB, in 5 min (20 MB/s)"
    resumed = messages.done("t.jsonl", result(bytes_sent=GB, bytes_resumed=4 * GB, sending_seconds=8.0))
    assert resumed == "t.jsonl: file-1, 5.0 GB, 4.0 GB of it by earlier runs, in 8.0 s (125 MB/s)"
    before = result(reused=True, bytes_sent=0)
    assert messages.done("t", before) == "t: file-1, uploaded before; nothing was sent"
    called = "t: file-1, uploaded before; nothing was sent; its name on the server is old.jsonl"
    assert messages.done("t", before, "old.jsonl") == called
    assert messages.done("t", result(), "old").endswith("); its name on the server is old")
    assert messages.done("t", result(bytes_sent=0, sending_seconds=0.0)).endswith(", in 7 min")


def test_of_a_few_bytes_no_rate_is_told() -> None:
    assert messages.done("t", result(bytes_sent=8, sending_seconds=0.2)) == "t: file-1, 8 bytes, in 0.2 s"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "t: 3.1 of 5.0 GB, 62%, 1.2 MB/s, 26 min left"),
        ({"bytes_in_flight": 400_000_000}, "t: 3.5 of 5.0 GB, 70%, 1.2 MB/s, 26 min left"),
        ({"eta": None}, "t: 3.1 of 5.0 GB, 62%, 1.2 MB/s"),
        ({"rate": 0.0}, "t: 3.1 of 5.0 GB, 62%"),
        ({"state": UploadPhase.CHECKING, "bytes_hashed": 2 * GB}, "t: 2.0 of 5.0 GB, 40%, checking"),
        (
            {"state": UploadPhase.RETRYING, "note": "reset; trying again in 3 s", "bytes_in_flight": 400_000_000},
            "t: 3.1 of 5.0 GB, 62%, reset; trying again in 3 s",
        ),
    ],
)
def test_an_upload_under_way_is_told_on_a_line(fields: dict[str, Any], line: str) -> None:
    assert messages.moving("t", progress(**fields)) == line


def test_what_a_terminal_would_obey_is_shown_as_escapes() -> None:
    assert printable("a\x1b[2Jb\r\ud800é\nc") == "a\\x1b[2Jb\\r\\ud800é\nc"


def test_several_files_come_to_a_last_line() -> None:
    tally = messages.UploadTally()
    tally.add(result(bytes_sent=700_000_000))
    assert tally.line(52) == "1 file, 700 MB in 52 s"
    tally.add(result(bytes_sent=81_000_000, bytes_resumed=GB))
    for _ in range(12):
        tally.add(result(reused=True, bytes_sent=0))
    error = errors.UploadError("odd")
    tally.add(None, error)
    assert tally.line(52) == "15 files, 781 MB in 52 s, 12 of them there before, 1 failed"
    error.progress = progress(bytes_done=60_000_000, bytes_resumed=10_000_000)
    tally.add(None, error)
    assert tally.line(95) == "16 files, 831 MB in 2 min, 12 of them there before, 2 failed"


def test_where_several_processes_share_the_files_the_last_line_says_who_did_what() -> None:
    tally = messages.UploadTally()
    ours = result(bytes_sent=700_000_000)
    tally.add(ours)
    tally.add(evolve(ours, reused=True, by_others=True))  # another link to the same file
    others = evolve(ours, reused=True, by_others=True, file=evolve(ours.file, id="file-others"))
    for _ in range(2):
        tally.add(others)
    tally.add(None, errors.UploadError("odd"))
    assert tally.line(52) == "5 files, 1 of them sent here, 700 MB in 52 s, 2 by others, 1 there before, 1 failed"
    assert messages.done("t", others) == "t: file-others, uploaded meanwhile by another process; nothing was sent"


def test_what_is_tried_again_is_said_in_one_line() -> None:
    said = messages.tried_again("a.bin", errors.JournalError("another process has taken over this upload.\n  Advice."))
    assert said == "a.bin: another process has taken over this upload. It is tried again at the end."


def test_where_nothing_was_sent_the_last_line_says_so() -> None:
    tally = messages.UploadTally()
    for _ in range(2):
        tally.add(result(reused=True, bytes_sent=0))
    assert tally.line(0.1) == "2 files, nothing was sent, 2 of them there before"


@pytest.mark.parametrize(
    ("message", "typed"),
    [
        (
            "limit_rate must be above 0. The same call goes on.",
            "--limit-rate must be above 0. The same command goes on.",
        ),
        ("To send it: call upload.", "To send it: asyncsdk upload."),
        ("the part size must be 1; my_purpose must not", "the part size must be 1; my_purpose must not"),
        (
            "Download it first, or pass the response as a stream.",
            "Download it first, or pipe it: curl URL | asyncsdk upload - --filename NAME.",
        ),
        ("Pass credentials in the environment, or by remote_options=.", "Pass credentials in the environment."),
        ("set A=true, or remote_options={'client_options': {'allow_http': True}}. Nothing", "set A=true. Nothing"),
        ("Write them into the URL, or pass them by remote_options= as a header.", "Write them into the URL."),
        ("If so, resume=False (--no-resume) leaves them behind.", "If so, --no-resume leaves them behind."),
        ('with if_uploaded="again" (--if-uploaded again).', "with --if-uploaded again."),
        ("with concurrency=1 (--concurrency 1).", "with --concurrency 1."),
        ("a call with another key= (--key NAME) sends yours", "a call with another --key NAME sends yours"),
        ("by one request: method='files' (--method files).", "by one request: --method files."),
        ("ftp://h/a?resume=1 (--x) and n=2 (see below)", "ftp://h/a?resume=1 (--x) and n=2 (see below)"),
    ],
)
def test_what_the_library_says_is_said_with_options_and_commands(message: str, typed: str) -> None:
    assert messages.as_typed(message) == typed


def test_the_arguments_that_are_options_are_options() -> None:
    names = {attribute.name for attribute in (*fields(UploadOptions), *fields(Connection))}
    assert set(messages.OPTIONS.split("|")) <= names
