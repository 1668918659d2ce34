"""`asyncsdk edit-many --batch`: edits at half the price, awaited or left and collected later."""

from __future__ import annotations

import io
import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from attrs import evolve
from rich.console import Console

from asyncsdk.cli.edits.bar import RunView
from asyncsdk.cli.edits.batches import MOST_SHOWN, batch_lines, seconds_left, stopping
from asyncsdk.cli.edits.moment import Moment, moving
from asyncsdk.cli.gallery.card import MEANINGS
from asyncsdk.images.batch.progress import BatchProgress
from asyncsdk.images.outcome import Status
from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Run, Start
from tests.stories.pictures import photo

PICTURES = 5
MANY = ("edit-many", "photos", "-o", "out", "-p", "a hat", "-m", "gpt-image-2")
NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(PICTURES):
        photo(folder / f"p{number}.png", (64, 64), seed=number)
    return folder


@pytest.fixture
def slow(server: LocalServer) -> LocalServer:
    """Its batches take long enough to be left there."""
    server._batches.seconds = 3  # noqa: SLF001
    return server


def saved() -> set[str]:
    return {path.name for path in Path("out").glob("*.png")}


ALL = {f"p{number}.png" for number in range(PICTURES)}


def batches_in(server: LocalServer) -> list[str]:
    return [batch.status for batch in server.batches]


def test_edits_go_in_batches_once_and_nothing_of_ours_stays_on_the_server(run: Run, server: LocalServer) -> None:
    ran = run(*MANY, "--batch", "--batch-size", "2", "--poll", "1s")
    assert ran.code == 0, ran.err
    assert saved() == ALL
    assert len(server.batches) == 3
    assert "5 done.\n  5 images, " in ran.err
    assert "edit" not in server.calls
    assert run("files", "list").out == ""
    again = run(*MANY, "--batch")
    assert (again.code, again.err, len(server.batches)) == (0, "5 done before.\n", 3)


def test_what_is_left_with_the_server_is_collected_by_the_same_command(run: Run, slow: LocalServer) -> None:
    ran = run(*MANY, "--batch", "--detach", "--json")
    assert ran.code == 75
    assert Counter(record["status"] for record in ran.records) == {"batched": 5}
    assert ran.err == (
        "5 in batches.\n  The 5 in batches are with the server, which has up to a day: the same command goes on and "
        "saves what is done. Results are there for 7 days at least.\n"
    )
    assert not Path("out/failed.jsonl").exists()
    assert run(*MANY, "--batch", "--detach").code == 75
    assert len(slow.batches) == 1
    finish(slow)
    collected = run(*MANY, "--batch", "--poll", "1s")
    assert (collected.code, saved()) == (0, ALL)
    assert len(slow.batches) == 1


def test_a_direct_run_leaves_alone_what_is_in_a_batch(run: Run, slow: LocalServer) -> None:
    run(*MANY, "--batch", "--detach")
    assert run(*MANY, "--dry-run").out.startswith("0 to send, 5 in batches.")
    ran = run(*MANY)
    assert ran.code == 75
    assert "edit" not in slow.calls
    assert "The 5 in batches are with the server, which has up to a day: this command with --batch goes on" in ran.err


def test_what_is_reached_by_what_is_in_batches_is_a_limit_only_once_these_have_ended(
    run: Run, slow: LocalServer
) -> None:
    limited = (*MANY, "--batch", "--max-edits", "3", "--poll", "1s")
    left = run(*limited, "--detach")
    assert (left.code, Counter(batches_in(slow))) == (75, Counter(validating=1))
    assert "3 in batches.\n" in left.err
    assert "error: --max-edits 3 is reached" in left.err
    assert run(*limited).code == 4
    assert (len(saved()), len(slow.batches)) == (3, 1)


def test_what_would_be_sent_says_how_many_batches(run: Run, calls: Callable[[], int]) -> None:
    ran = run(*MANY, "--batch", "--batch-size", "2", "--dry-run")
    assert re.fullmatch(
        r"5 to send\.\nThey make at most 3 batches, for half the price\. Each picture is uploaded once before; "
        r"the server then has a day for them\.\n"
        r"It costs about \$0\.00\d+ to \$\d\.\d+ in batches, twice that directly \(prices of \d{4}-\d\d-\d\d\)\.\n"
        r"Give --size and --quality for a narrower range: else all that the server may choose counts\.\n",
        ran.out,
    )
    assert calls() == 0
    planned = json.loads(run(*MANY, "--batch", "--batch-size", "2", "--dry-run", "--json").out)
    assert (planned["batches"], planned["unbatchable"]) == (3, {})
    assert run(*MANY, "--batch", "--poll", "1s").code == 0
    assert run(*MANY, "--batch", "--dry-run").out == "0 to send, 5 done before.\nNothing new goes into batches.\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--detach",), "--detach: for edits in batches. Add --batch, or leave it out."),
        (
            ("--batch-size", "3", "--keep-files"),
            "--batch-size, --keep-files: for edits in batches. Add --batch, or leave",
        ),
        (("--batch", "--images-per-minute", "5"), "--images-per-minute: edits in batches have a rate of their own"),
        (("--batch", "--batch-size", "60000"), "--batch-size 60000 is not a whole number from 1 to 50,000."),
        (("--batch", "--poll", "0.1s"), "--poll takes whole seconds, and 1s is the shortest."),
    ],
)
def test_options_that_go_together_in_no_way_are_refused_before_anything_is_sent(
    run: Run, calls: Callable[[], int], options: tuple[str, ...], said: str
) -> None:
    ran = run(*MANY, *options)
    assert ran.code == 2
    assert f"error: {said}" in ran.err
    assert "Nothing was sent." in ran.err
    assert calls() == 0


def test_rows_that_batches_do_not_take_are_refused_and_the_others_go(run: Run, server: LocalServer) -> None:
    rows: list[dict[str, Any]] = [
        {"image": "photos/p0.png", "id": "fine", "model": "gpt-image-2"},
        {"image": "photos/p1.png", "id": "another", "model": "gpt-image-1.5"},
        {"image": "photos/p2.png", "id": "no-model"},
        {"image": "photos/p3.png", "id": "old", "model": "dall-e-2"},
    ]
    Path("jobs.jsonl").write_text("".join(f"{json.dumps({'prompt': 'a hat'} | row)}\n" for row in rows))
    planned = run("edit-many", "jobs.jsonl", "-o", "out", "--batch", "--dry-run")
    assert planned.code == 3
    assert planned.out.startswith("2 to send, 2 refused (2 not for a batch).\nThey make at most 2 batches, for half")
    assert planned.out.endswith(
        "\n1 can't be in a batch, and is refused: model: the edits of a batch need one: all in a file have the same."
        "\n1 can't be in a batch, and is refused: model: batches do not take dall-e-2. Send this edit directly.\n"
    )
    assert "no-model: refused: model: the edits of a batch need one" in planned.err
    ran = run("edit-many", "jobs.jsonl", "-o", "out", "--batch", "--json", "--poll", "1s")
    assert ran.code == 3
    assert {record["id"]: record["status"] for record in ran.records} == {
        "fine": "done",
        "another": "done",
        "no-model": "refused",
        "old": "refused",
    }
    assert "2 done, 2 refused (2 before sending). Details: out/failed.jsonl" in ran.err
    assert len(server.batches) == 2


def test_the_gallery_shows_them_as_those_of_direct_runs(run: Run) -> None:
    assert run(*MANY, "--batch", "--poll", "1s", "--gallery", "page.html").code == 0
    page = Path("page.html").read_text()
    assert all(f"out/{name}" in page and f"photos/{name}" in page for name in ALL)


def test_the_gallery_shows_what_is_in_batches(run: Run, slow: LocalServer) -> None:
    ran = run(*MANY, "--batch", "--detach", "--gallery", "page.html", "--json")
    assert (ran.code, len(slow.batches)) == (75, 1)
    page = Path("page.html").read_text()
    assert page.count("In a batch</") >= PICTURES
    assert "The same command goes on and collects it." in page
    assert "same call" not in page + ran.out + ran.err
    assert set(MEANINGS) == set(get_args(Status))


def test_a_refusal_of_moderation_in_a_line_is_said_as_that_of_a_direct_edit(run: Run, server: LocalServer) -> None:
    refusal = {"error": {"message": "no", "type": "image_generation_user_error", "code": "moderation_blocked"}}
    server.inject(Fault("batches.line", "answer", status=400, body=refusal))
    ran = run(*MANY, "--batch", "--poll", "1s")
    assert ran.code == 3
    assert "4 done, 1 refused (1 moderation)." in ran.err


def test_an_interrupt_leaves_batches_with_the_server_and_says_so(start: Start, run: Run, slow: LocalServer) -> None:
    program = start(*MANY, "--batch", "--progress", "lines")
    wait_for(lambda: batches_in(slow) == ["in_progress"])
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=30)
    assert program.returncode == 130
    assert "Stopping: nothing new is sent. 1 batch goes on at the server: the same command collects" in err
    assert "5 in batches.\n" in err
    finish(slow)
    assert run(*MANY, "--batch").code == 0
    assert (saved(), len(slow.batches)) == (ALL, 1)


def test_an_interrupt_before_the_first_batch_sends_nothing_that_is_paid(
    start: Start, run: Run, server: LocalServer
) -> None:
    server.inject(Fault("files.create", "stall", seconds=1.5, nth=PICTURES))
    program = start(*MANY, "--batch", "--progress", "lines")
    wait_for(lambda: server.calls.get("files.create") == PICTURES)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=30)
    assert program.returncode == 130
    assert err.startswith("Stopping: nothing new is sent.\n")
    assert "no edit was sent.\n  5 not sent: the same command goes on.\n" in err
    assert not server.batches
    assert run(*MANY, "--batch", "--detach").code == 75
    assert len(server.batches) == 1
    # the pictures that were there stayed: the one under way, and the requests, are new
    assert server.calls["files.create"] <= PICTURES + 2
    assert "files.delete" not in server.calls


def test_the_message_after_ctrl_c_names_what_goes_on_and_what_is_still_saved() -> None:
    going = [batch(1, "in_progress"), batch(2, "reading")]
    assert stopping(going[:1], 120) == (
        "Stopping: nothing new is sent. 1 batch goes on at the server: the same command collects what is done there."
    )
    assert stopping(going, 120) == (
        "Stopping: nothing new is sent. 2 batches go on at the server: the same command collects what is done there. "
        "Results that are being read are still saved, up to 120 s. Ctrl-C again stops at once: the same command then "
        "reads them again."
    )


def test_what_is_uploaded_and_in_no_batch_yet_is_counted_and_then_no_end_is_named() -> None:
    going = (batch(1, "in_progress", completed=1, expected_end=NOW + 60),)
    moment = Moment(counts=Counter(done=4), total=2000, in_flight=500, taken=1304, batches=going, batches_left=600.0)
    assert moving(moment) == "4 of 2,000: 4 done; 500 in batches, 800 for the next one"
    assert moving(evolve(moment, total=504, taken=504)) == "4 of 504: 4 done; 500 in batches, 10 min left"


def test_each_batch_under_way_has_a_line_in_its_own_words() -> None:
    batches = [
        batch(1, "ended", completed=500),
        batch(2, "sending"),
        batch(3, "validating"),
        batch(4, "in_progress", completed=400, failed=12, expected_end=NOW + 1500),
        batch(5, "finalizing", completed=500),
        batch(6, "reading", completed=500, recorded=31),
        batch(7, "waiting", reason="token_limit_exceeded"),
    ]
    assert batch_lines(batches, now=NOW) == [
        "batch 2: 500 edits, being sent",
        "batch 3: 500 edits, being checked by the server",
        "batch 4: 412 of 500, 12 failed, 25 min left",
        "batch 5: 500 of 500, results are being written",
        "batch 6: 31 of 500 saved",
        "batch 7: 500 edits, waiting: token_limit_exceeded",
    ]
    more = [batch(number, "validating") for number in range(1, MOST_SHOWN + 3)]
    assert batch_lines(more, now=NOW)[-1] == "2 more batches under way"


def test_the_time_left_is_that_of_the_last_batch_once_each_has_one() -> None:
    first, last = batch(1, "in_progress", expected_end=NOW + 60), batch(2, "in_progress", expected_end=NOW + 600)
    assert seconds_left([first, last, batch(3, "reading")], now=NOW) == 600
    assert seconds_left([first, batch(2, "validating")], now=NOW) is None
    assert seconds_left([], now=NOW) is None


def test_progress_in_json_has_the_numbers_of_each_batch() -> None:
    shown = batch(4, "in_progress", completed=400, failed=12)
    (record,) = RunView(lambda: Moment(total=500, in_flight=500, batches=(shown,))).records()
    assert record["batches"][0] | {"number": 4, "step": "in_progress", "completed": 400} == record["batches"][0]
    assert json.dumps(record)


@pytest.mark.parametrize("width", [60, 100, 160])
def test_the_bars_of_batches_fit_the_terminal(width: int) -> None:
    going = [batch(number, "in_progress", completed=number, expected_end=time.time() + 90) for number in range(8)]
    queued = batch(8, "waiting", reason="Enqueued token limit reached for gpt-image-2 in organization org-1. " * 3)
    batches = (queued, *going)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    view = RunView(lambda: Moment(counts=Counter(done=4), total=4504, in_flight=4500, batches=batches))
    console.print(view.frame(width))
    lines = screen.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    assert len([line for line in lines if re.match(r"batch \d .*\d of 500", line)]) == MOST_SHOWN - 1
    assert re.fullmatch(r"batch 8 {8,}500 edits, waiting: Enqueued .*…", lines[3])
    assert "3 more batches under way" in lines[-1]


def batch(number: int, step: Any, **fields: Any) -> BatchProgress:
    return BatchProgress(number=number, model="gpt-image-2", step=step, edits=500, batch_id="batch_1", **fields)


def finish(server: LocalServer) -> None:
    wait_for(lambda: set(batches_in(server)) == {"completed"})


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
