"""`asyncsdk edit-many`: jobs from files, directories and pictures; how they end, and what is left for the next run."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from asyncsdk import files
from asyncsdk.cli import app
from asyncsdk.cli.edits import edit_many, page_place
from asyncsdk.cli.signals import Stop
from asyncsdk.images.ledger.file import open_ledger
from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Ran, Run
from tests.stories.pictures import mask, photo

LINE = {"image": "otter.png", "model": "gpt-image-2"}
NO_CREDIT = {"error": {"message": "no", "code": "insufficient_quota"}}
MODERATED = {
    "error": {"message": "no", "type": "image_generation_user_error", "code": "moderation_blocked", "param": None}
}


pytestmark = pytest.mark.usefixtures("otter")


def write_jobs(*jobs: dict[str, Any] | str) -> Path:
    path = Path("jobs.jsonl")
    path.write_text("".join(f"{job if isinstance(job, str) else json.dumps(LINE | job)}\n" for job in jobs))
    return path


def statuses(ran: Ran) -> dict[str, str]:
    return {record["id"]: record["status"] for record in ran.records}


def left() -> dict[str, str]:
    return {row["id"]: row["status"] for row in map(json.loads, Path("out/failed.jsonl").read_text().splitlines())}


def test_each_job_is_done_once_and_the_same_command_sends_nothing(run: Run, server: LocalServer) -> None:
    write_jobs({"id": "a", "prompt": "red"}, {"id": "deep/b", "prompt": "blue", "n": 2})
    ran = run("edit-many", "jobs.jsonl", "--out", "out")
    assert ran.code == 0, ran.err
    lines = sorted(ran.out.splitlines())
    assert re.fullmatch(r"a: out/a\.png, \d+ tokens", lines[0])
    assert re.fullmatch(r"deep/b: out/deep/b\.png, out/deep/b\.1\.png, [\d,]+ tokens", lines[1])
    assert re.match(r"2 done\.\n  3 images, [\d,]+ tokens, in \d\.\d s", ran.err)
    again = run("edit-many", "jobs.jsonl", "--out", "out", "--json")
    assert (again.code, statuses(again)) == (0, {"a": "skipped", "deep/b": "skipped"})
    assert again.err == "2 done before.\n"
    assert server.edits.edits == 2
    assert run("edit-many", "jobs.jsonl", "--out", "out", "--quiet").out == "a\ndeep/b\n"


def test_bad_rows_are_told_with_their_lines_and_the_others_run(run: Run, server: LocalServer) -> None:
    write_jobs("no json", {"id": "a", "prompt": "x"}, {"prompt": "x", "sise": "auto"}, {"id": "../b", "prompt": "y"})
    ran = run("edit-many", "jobs.jsonl", "--out", "out", "--json")
    assert ran.code == 3
    assert statuses(ran) == {"jobs.jsonl:1": "refused", "jobs.jsonl:3": "refused", "a": "done", "../b": "refused"}
    assert "error: jobs.jsonl:1: it is not valid JSON" in ran.err
    assert "error: jobs.jsonl:3: 'sise' is not a field of an edit; did you mean 'size'?" in ran.err
    assert "../b: refused: the id '../b' leads out of the directory" in ran.err
    assert "1 done, 1 refused (1 before sending), 2 malformed. Details: out/failed.jsonl" in ran.err
    assert "The 2 malformed rows listed above can't be sent, and are not in failed.jsonl." in ran.err
    assert left() == {"../b": "refused"}
    assert server.edits.edits == 1


def test_where_no_row_can_be_sent_it_is_exit_2(run: Run, server: LocalServer) -> None:
    write_jobs("no json", {"image": "missing.png", "prompt": "x"})
    assert run("edit-many", "jobs.jsonl", "--out", "out").code == 2
    assert server.calls.get("edit", 0) == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "SOURCE is missing"),
        (["missing.jsonl"], "missing.jsonl: No such file"),
        (["otter.png"], "give --prompt TEXT"),
        (["otter.png", "--prompt", "x", "--max-edits", "0"], "--max-edits 0"),
        (
            ["otter.png", "--prompt", "x", "--concurrency", "0"],
            "--concurrency 0 is not a whole number from 1 to 256. Nothing was sent.",
        ),
        (["otter.png", "--prompt", "x", "--images-per-minute", "0"], "--images-per-minute 0"),
        (["otter.png", "--prompt", "x", "--redo", "missing"], "--redo missing: No such file"),
        (["otter.png", "--prompt", "x", "--gallery", "."], "--gallery . is a directory"),
        (["otter.png", "--prompt", "x", "--grace", "-1"], "--grace -1 is not a number of seconds, 0 or more."),
        (["otter.png", "--prompt", "x", "--grace", "nan"], "--grace nan is not a number of seconds"),
        (["otter.png", "--prompt", "x", "--dry-run", "--max-tokens", "0"], "--max-tokens 0 is not"),
        (["otter.png", "--prompt", "x", "--dry-run", "--concurrency", "0"], "--concurrency 0 is not"),
        (["otter.png", "--prompt", "x", "--dry-run", "--images-per-minute", "0"], "--images-per-minute 0"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    run: Run, server: LocalServer, arguments: list[str], why: str
) -> None:
    ran = run("edit-many", *arguments, "--out", "out")
    assert (ran.code, ran.out, server.calls.get("edit", 0)) == (2, "", 0)
    assert why in ran.err


def test_a_place_that_can_not_be_written_is_refused_before_anything_is_sent(run: Run, server: LocalServer) -> None:
    Path("file").touch()
    ran = run("edit-many", "otter.png", "--prompt", "x", "--out", "file/out")
    assert (ran.code, server.calls.get("edit", 0)) == (2, 0)


def test_a_file_where_the_pictures_should_go_is_no_matter_of_disks(run: Run, server: LocalServer) -> None:
    Path("file").touch()
    ran = run("edit-many", "otter.png", "--prompt", "x", "--out", "file")
    assert (ran.code, server.calls.get("edit", 0)) == (2, 0)
    assert ran.err.endswith("The ledger is kept beside the pictures: name a directory that can be written.\n")


def test_two_rows_of_one_id_are_told_by_their_lines(run: Run) -> None:
    write_jobs({"id": "one", "prompt": "x"}, {"id": "one", "prompt": "y"})
    ran = run("edit-many", "jobs.jsonl", "--out", "out", "--dry-run")
    assert "line 2 has the id 'one', which line 1 has too. Give each its own id" in ran.err


async def test_a_directory_that_another_run_has_is_tried_again_later(run: Run, tmp_path: Path) -> None:
    import asyncio

    async with open_ledger(tmp_path / "out" / ".asyncsdk"):
        ran = await asyncio.to_thread(run, "edit-many", "otter.png", "--prompt", "x", "--out", "out")
    assert ran.code == 75
    assert str(os.getpid()) in ran.err


def test_a_dry_run_needs_no_key_sends_nothing_and_tells_what_would_be(
    run: Run, server: LocalServer, environment: pytest.MonkeyPatch
) -> None:
    write_jobs({"id": "a", "prompt": "x", "n": 3}, "odd", {"id": "b", "prompt": "y", "image": "missing.png"})
    environment.delenv("OPENAI_API_KEY")
    dry = ("edit-many", "jobs.jsonl", "--out", "out", "--dry-run", "--images-per-minute", "3")
    ran = run(*dry)
    assert ran.code == 3
    assert ran.out == (
        "1 to send, 1 refused (1 missing), 1 malformed; about 60 s at 3 images a minute.\n"
        "They count as 3 images against the rate limit: pictures, times n.\n"
        "It costs about $0.00488 to $2.18, as a batch half (prices of 2026-11-29).\n"
        "Give --size and --quality for a narrower range: else all that the server may choose counts.\n"
    )
    assert "jobs.jsonl:2: it is not valid JSON" in ran.err
    assert "missing.png does not exist" in ran.err
    assert [record for record in run(*dry, "--json").records if "to_send" in record] == [
        {"to_send": 1, "done": 0, "uncertain": 0, "refused": 0, "problems": 2, "input_images": 3, "minutes": 1.0}
        | {"reasons": {"missing": 1}, "not_pictures": 0, "results": 0, "damage": [], "held_back": 0, "pictures": 3}
        | {"with_other_fields": 0, "equal": 0, "named_in_redo": 0, "unknown_in_redo": [], "replaced": 0, "batched": 0}
        | {"cost": {"low": 0.004884, "high": 2.173509}, "batch_cost": {"low": 0.002442, "high": 1.0867545}}
        | {"left_to_server": ["size", "quality"], "unpriced": 0, "unpriced_models": [], "prices": "2026-11-29"}
    ]
    assert server.calls.get("edit", 0) == 0
    assert not Path("out").exists()


def test_refused_failed_and_uncertain_ones_are_told_apart_and_can_be_sent_again(run: Run, server: LocalServer) -> None:
    write_jobs(*({"id": name, "prompt": name} for name in ("blocked", "lost", "gone", "fine")))
    server.inject(
        Fault("edit", "answer", nth=1, status=400, body=MODERATED),
        Fault("edit", "reset", nth=2, at="done"),
        Fault("edit", "answer", nth=3, status=404),
    )
    one_by_one = ("edit-many", "jobs.jsonl", "--out", "out", "--concurrency", "1", "--json")
    ran = run(*one_by_one)
    assert ran.code == 3
    assert statuses(ran) == {"blocked": "refused", "lost": "uncertain", "gone": "failed", "fine": "done"}
    errors = {record["id"]: record["error"] for record in ran.records}
    assert (errors["blocked"]["code"], errors["blocked"]["retryable"]) == ("moderation_blocked", False)
    assert (errors["lost"]["type"], errors["gone"]["status_code"]) == ("ChargeUnknownError", 404)
    assert "1 done, 1 refused (1 moderation), 1 failed, 1 uncertain (sent, no usable response). Details: " in ran.err
    assert "The same command does not send the 1 uncertain. To send the 1 again (may be paid twice): add" in ran.err
    assert left() == {"blocked": "refused", "lost": "uncertain", "gone": "failed"}
    only = run(*one_by_one, "--only", "uncertain", "--on-uncertain", "retry")
    assert (only.code, statuses(only)) == (0, {"lost": "done"})
    assert left() == {"blocked": "refused", "gone": "failed"}
    rerun = run(*one_by_one)
    assert statuses(rerun) == {"blocked": "refused", "lost": "skipped", "gone": "done", "fine": "skipped"}
    assert left() == {"blocked": "refused"}
    from_left = run("edit-many", "out/failed.jsonl", "--out", "out", "--only", "refused", "--json")
    assert (from_left.code, statuses(from_left)) == (0, {"blocked": "done"})
    assert not Path("out/failed.jsonl").exists()


def test_rejects_of_a_gallery_are_made_again_and_the_page_shows_all(run: Run, server: LocalServer) -> None:
    write_jobs(*({"id": name, "prompt": name} for name in ("a", "b")))
    command = ("edit-many", "jobs.jsonl", "--out", "out", "--gallery", "pages/gallery.html", "--json")
    first = run(*command)
    assert (first.code, "Gallery: pages/gallery.html\n" in first.err) == (0, True)
    page = Path("pages/gallery.html").read_text()
    assert page.count("<article") == 2
    time.sleep(0.01)
    Path("rejects.jsonl").write_text('{"id": "b", "item": null}\n{"id": "nobody"}\n')
    os.utime("rejects.jsonl", times=(time.time(), time.time()))  # a file system is behind by a tick of the kernel
    again = run(*command, "--redo", "rejects.jsonl")
    assert statuses(again) == {"a": "skipped", "b": "done"}
    assert "--redo names 1 id that no row has: nobody" in again.err
    assert server.edits.by_prompt == {"a": 1, "b": 2}
    assert Path("pages/gallery.html").read_text().count("<article") == 2
    assert list(Path("out/.asyncsdk/replaced").iterdir())
    third = run(*command, "--redo", "rejects.jsonl")
    assert statuses(third)["b"] == "skipped"
    kept = "1 edit named in rejects.jsonl was done since that was saved, and not sent again. Save the file again"
    assert kept in third.err


def test_a_limit_that_was_set_is_exit_4_and_says_how_many_are_left(run: Run, server: LocalServer) -> None:
    write_jobs(*({"id": f"j{number}", "prompt": f"p{number}"} for number in range(5)))
    ran = run("edit-many", "jobs.jsonl", "--out", "out", "--max-edits", "2", "--concurrency", "1")
    assert (ran.code, server.edits.edits) == (4, 2)
    assert "3 not sent: with a higher limit the same command goes on." in ran.err
    told = "error: --max-edits 2 is reached: 2 edits were sent so far, earlier runs included. Nothing more was sent."
    assert ran.err.splitlines()[-1] == told, "how to go on is said once"
    again = run("edit-many", "jobs.jsonl", "--out", "out", "--max-edits", "2")
    assert (again.code, again.err.splitlines()[-1]) == (4, told)
    assert run("edit-many", "jobs.jsonl", "--out", "out").code == 0


def test_tokens_that_edits_in_flight_use_beyond_the_limit_are_told_and_are_exit_4(
    run: Run, server: LocalServer
) -> None:
    write_jobs(*({"id": f"j{number}", "prompt": f"p{number}"} for number in range(2)))
    ran = run("edit-many", "jobs.jsonl", "--out", "out", "--max-tokens", "1", "--concurrency", "1", "--json")
    used = ran.records[0]["usage"]["total_tokens"]
    assert (ran.code, server.edits.edits) == (4, 1)
    told = f"error: --max-tokens 1 is exceeded by edits that were in flight: {used:,} tokens were used in all."
    assert ran.err.splitlines()[-1].startswith(told)
    assert f"1 image, {used:,} tokens" in ran.err
    last = run("edit-many", "jobs.jsonl", "--out", "out", "--max-tokens", str(used + 1), "--json")
    assert (last.code, server.edits.edits) == (0, 2), "nothing is left to be sent"
    assert re.fullmatch(
        rf"note: --max-tokens {used + 1} is exceeded by edits that were in flight: [\d,]+ tokens were used in all\. "
        r"Nothing was left to send\.",
        last.err.splitlines()[-1],
    )
    assert run("edit-many", "jobs.jsonl", "--out", "out", "--max-tokens", "1").code == 0, "nothing was wanted"
    most = run("edit-many", "jobs.jsonl", "--out", "out", "--max-edits", "2")
    assert (most.code, most.err.splitlines()[-1]) == (
        0,
        "note: --max-edits 2 is reached: 2 edits were sent so far, earlier runs included. Nothing was left to send.",
    )


def test_a_paid_picture_that_is_gone_is_exit_3_and_says_how_it_is_made_again(run: Run, server: LocalServer) -> None:
    write_jobs({"id": "a", "prompt": "x"}, {"id": "b", "prompt": "y"})
    command = ("edit-many", "jobs.jsonl", "--out", "out")
    assert run(*command).code == 0
    Path("out/a.png").unlink()
    ran = run(*command)
    assert (ran.code, server.edits.edits) == (3, 2)
    assert "a: paid, but its file is gone or empty: out/a.png. Put the file back, or name the id in redo" in ran.err
    assert "1 done before, 1 paid, but pictures are gone. Details: out/failed.jsonl" in ran.err
    assert "To send the 1 missing again, and pay again: add --redo FILE" in ran.err
    dry = run(*command, "--dry-run", "--json")
    assert (dry.code, dry.records[-1]["problems"], dry.records[0]["status"]) == (3, 1, "skipped")
    time.sleep(0.01)
    again = run(*command, "--redo", "out/failed.jsonl", "--json")
    assert (again.code, statuses(again)) == (0, {"a": "done", "b": "skipped"})


@pytest.mark.parametrize(
    ("fault", "code", "last"),
    [
        (Fault("edit", "answer", status=401), 1, "  Set the right key in OPENAI_API_KEY "),
        (Fault("edit", "answer", status=429, body=NO_CREDIT), 1, "error: "),
        (Fault("edit", "reset", at="done"), 3, "  The edit was sent"),
    ],
)
def test_what_stops_all_is_told_at_the_end(run: Run, server: LocalServer, fault: Fault, code: int, last: str) -> None:
    write_jobs(*({"id": f"j{number}", "prompt": f"p{number}"} for number in range(3)))
    server.inject(fault)
    ran = run("edit-many", "jobs.jsonl", "--out", "out", "--concurrency", "1", "--on-uncertain", "stop")
    assert ran.code == code
    mended = "once the error below is fixed, " if code == 1 else ""
    assert f"2 not sent: {mended}the same command goes on." in ran.err
    assert ran.err.splitlines()[-1].startswith(last)


def test_a_server_that_is_not_there_is_exit_75(run: Run, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert run("edit-many", "otter.png", "--prompt", "x", "--out", "out").code == 75


def test_defaults_hold_for_rows_that_leave_them_open_and_a_mask_is_where_the_user_is(
    run: Run, server: LocalServer, tmp_path: Path
) -> None:
    (tmp_path / "jobs").mkdir()
    photo(tmp_path / "jobs" / "a.png", (16, 16), seed=2)
    mask(tmp_path / "mask.png", (0, 0, 8, 8), (16, 16))
    (tmp_path / "jobs" / "jobs.csv").write_text("image;prompt;n\na.png;;2\na.png;own;\n")
    ran = run("edit-many", "jobs/jobs.csv", "jobs", "--prompt", "x", "--mask", "mask.png", "--model", "gpt-image-2",
              "--out", "out", "--json")  # fmt: skip
    assert (ran.code, statuses(ran)) == (0, {"2": "done", "3": "done", "a": "done"}), ran.err
    assert server.edits.by_prompt == {"x": 2, "own": 1}


def test_many_on_a_terminal_are_not_sent_where_the_answer_is_no(
    run: Run, server: LocalServer, environment: pytest.MonkeyPatch
) -> None:
    environment.setattr(edit_many, "can_ask", lambda _: True)
    environment.setattr(edit_many, "ASK_ABOVE", 0)
    environment.setattr(edit_many.sys, "stdin", io.StringIO("\n"))  # type: ignore[attr-defined]  # it is imported there
    assert run("edit-many", "otter.png", "--prompt", "x", "--out", "out").code == 2
    assert server.calls.get("edit", 0) == 0


def test_what_can_not_be_written_down_at_the_end_is_said_and_stops_nothing(
    run: Run, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    write_jobs({"id": "a", "prompt": "x"}, {"id": "../b", "prompt": "y"})
    (tmp_path / "out" / "failed.jsonl").mkdir(parents=True)
    (tmp_path / "file").touch()
    environment.setattr(page_place, "_check_file", lambda _: None)  # the disk was fine when it was looked at
    ran = run("edit-many", "jobs.jsonl", "--out", "out", "--gallery", "file/gallery.html", "--json")
    assert (ran.code, statuses(ran)["a"]) == (3, "done")
    assert "error: the list of what failed could not be written" in ran.err
    assert "error: the gallery file/gallery.html could not be written: Not a directory\n" in ran.err
    assert "1 done, 1 refused" in ran.err


def test_a_gallery_that_can_not_be_written_is_exit_1_where_all_else_is_done(
    run: Run, environment: pytest.MonkeyPatch
) -> None:
    write_jobs({"id": "a", "prompt": "x"})
    Path("file").touch()
    environment.setattr(page_place, "_check_file", lambda _: None)  # the disk was fine when it was looked at
    ran = run("edit-many", "jobs.jsonl", "--out", "out", "--gallery", "file/gallery.html")
    assert (ran.code, Path("out/a.png").exists()) == (1, True)
    assert "error: the gallery file/gallery.html could not be written: Not a directory\n1 done.\n" in ran.err


@pytest.fixture
def interrupted(server: LocalServer, stop: Stop) -> Callable[..., int]:
    """Run `edit-many` two at once, send it so many signals when both are in flight, and return its exit code."""

    def interrupt(signals: int) -> None:
        while server.calls.get("edit", 0) < 2:
            time.sleep(0.005)
        for _ in range(signals):
            stop.arrive(signal.SIGTERM)
            time.sleep(0.1)

    def run(*arguments: str, signals: int) -> int:
        thread = threading.Thread(target=interrupt, args=[signals])
        thread.start()
        code = app.run(["edit-many", "jobs.jsonl", "--out", "out", "--json", "--concurrency", "2", *arguments], stop)
        thread.join()
        return code

    return run


@pytest.mark.parametrize(("signals", "options"), [(2, []), (1, ["--grace", "0.2"])])
def test_edits_that_are_left_are_uncertain_and_written_down(
    server: LocalServer,
    capfd: pytest.CaptureFixture[str],
    interrupted: Callable[..., int],
    signals: int,
    options: list[str],
) -> None:
    write_jobs(*({"id": f"j{number}", "prompt": f"p{number}"} for number in range(5)))
    server.inject(Fault("edit", "stall", at="after", every=1))
    assert interrupted("--gallery", "gallery.html", *options, signals=signals) == 143
    out, err = capfd.readouterr()
    assert Counter(json.loads(line)["status"] for line in out.splitlines()) == {"uncertain": 2}
    assert "Stopping: nothing new is sent. 2 edits in flight" in err
    assert "2 uncertain (sent, no usable response). Details: out/failed.jsonl" in err
    assert "The same command does not send the 2 uncertain. To send the 2 again" in err
    assert "3 not sent: the same command goes on." in err
    assert len(left()) == 2
    assert Path("gallery.html").read_text().count("<article") == 2


def test_what_was_turned_away_before_a_signal_failed_and_is_said_so(
    server: LocalServer, capfd: pytest.CaptureFixture[str], interrupted: Callable[..., int], run: Run
) -> None:
    write_jobs(*({"id": f"j{number}", "prompt": f"p{number}"} for number in range(5)))
    server.inject(Fault("edit", "answer", status=429, every=1))
    assert interrupted(signals=1) == 143
    err = capfd.readouterr().err
    assert "2 failed. Details: out/failed.jsonl\n" in err
    assert "3 not sent: the same command goes on." in err
    assert "Nothing was paid for the 2 that failed: the same command sends them again." in err
    assert len(left()) == 2
    assert "failed: 2\n" in run("ledger", "show", "out").out
    assert run("ledger", "failed", "out").out.count(": failed: ") == 2  # each with its reason


def test_a_signal_lets_what_is_in_flight_come_home(
    server: LocalServer, capfd: pytest.CaptureFixture[str], interrupted: Callable[..., int]
) -> None:
    write_jobs(*({"id": f"j{number}", "prompt": f"p{number}"} for number in range(5)))
    server.inject(Fault("edit", "stall", at="after", every=1, seconds=1.0))
    assert interrupted(signals=1) == 143
    out, err = capfd.readouterr()
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["done", "done"]
    assert "3 not sent" in err


@pytest.mark.parametrize("mode", ["lines", "json", "bar", "none"])
def test_progress_is_on_standard_error_alone(run: Run, mode: str) -> None:
    ran = run(
        "edit-many",
        "otter.png",
        "--prompt",
        "x",
        "--model",
        "gpt-image-2",
        "--out",
        "out",
        "--progress",
        mode,
        "--json",
    )
    assert (ran.code, len(ran.records)) == (0, 1)


def test_what_is_paid_and_does_not_fit_on_the_disk_is_saved_elsewhere(
    run: Run, server: LocalServer, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    save = files.save

    async def fails_in_out(path: Path, *arguments: Any, **named: Any) -> OSError | None:
        if path.suffix == ".png" and path.parent.name == "out":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return await save(path, *arguments, **named)

    (tmp_path / "elsewhere").mkdir()
    environment.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    environment.setattr(files, "save", fails_in_out)
    write_jobs({"id": "a", "prompt": "red"})
    ran = run("edit-many", "jobs.jsonl", "--out", "out", "--json")
    assert (ran.code, statuses(ran)) == (3, {"a": "uncertain"})
    [file] = (tmp_path / "elsewhere").rglob("a.png")
    assert f"a: its pictures are saved elsewhere: {file}" in ran.err
    with Image.open(file) as picture:
        picture.load()
