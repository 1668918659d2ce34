"""What of a folder is edited, refused, or left out: each file is an outcome or is counted, and nothing is silent."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from asyncsdk.cli import app
from asyncsdk.cli.edits import dry_run, edit_many
from asyncsdk.cli.signals import Stop
from asyncsdk.images.editor import ImageEditor
from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Run, Start
from tests.stories.pictures import heic, photo

COMMAND = ("edit-many", "photos", "--prompt", "x", "--model", "gpt-image-2", "--out", "out")
FOREIGN = {"scan.TIF": "TIFF", "old.bmp": "BMP", "anim.gif": "GIF"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """One of each kind."""
    folder = tmp_path / "photos"
    folder.mkdir()
    picture = photo(folder / "a.png", (16, 16))
    for name, kind in FOREIGN.items():
        with Image.open(picture) as opened:
            opened.save(folder / name, kind)
    (folder / "a.dng").write_bytes((folder / "scan.TIF").read_bytes())
    (folder / "logo.svg").write_text("<svg/>")
    (folder / "b.cr3").write_bytes(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom")
    return folder


def statuses(records: list[dict[str, object]]) -> dict[object, object]:
    return {record["id"]: record["status"] for record in records}


def test_each_picture_is_an_outcome_and_what_is_not_taken_is_refused_with_a_hint(
    run: Run, photos: Path, server: LocalServer
) -> None:
    ran = run(*COMMAND, "--json", "--gallery", "gallery.html")
    refused = {"a-dng": "TIFF", "anim": "GIF", "b": "camera raw", "logo": "SVG", "old": "BMP", "scan": "TIFF"}
    assert statuses(ran.records) == {"a": "done"} | dict.fromkeys(refused, "refused")
    for record in ran.records:
        if record["id"] in refused:
            message = record["error"]["message"]
            assert refused[record["id"]] in message
            assert "convert it" in message
    assert (ran.code, server.edits.edits) == (3, 1)
    assert "1 done, 6 refused (6 before sending). Details: out/failed.jsonl\n" in ran.err
    left = [json.loads(line)["id"] for line in Path("out/failed.jsonl").read_text().splitlines()]
    assert sorted(left) == sorted(refused)
    page = Path("gallery.html").read_text()
    assert page.count("<article") == 7
    assert page.count("browsers do not show") == 3
    assert "scan.TIF: browsers do not show TIF" in page
    assert Path("out/a.png").exists(), "a picture keeps its name beside its raw form"


def test_heic_is_edited_where_it_can_be_converted_and_the_page_says_that_browsers_do_not_show_it(
    run: Run, tmp_path: Path, server: LocalServer
) -> None:
    (tmp_path / "photos").mkdir()
    heic(tmp_path / "photos" / "IMG_1.HEIC")
    ran = run(*COMMAND, "--json", "--gallery", "gallery.html")
    assert (ran.code, [record["files"] for record in ran.records]) == (0, [["out/IMG_1.png"]])
    assert "IMG_1.HEIC: browsers do not show HEIC" in Path("gallery.html").read_text()
    again = run(*COMMAND)
    assert (again.code, again.err, server.edits.edits) == (0, "1 done before.\n", 1)


def test_heic_is_refused_with_what_to_install_where_it_can_not(
    run: Run, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    heic(tmp_path / "photos" / "IMG_1.HEIC")
    environment.setitem(sys.modules, "pillow_heif", None)
    ran = run(*COMMAND)
    assert ran.code == 2
    assert "IMG_1: refused: image: IMG_1.HEIC is HEIC inside: pip install pillow-heif, or convert it" in ran.err
    dry = run(*COMMAND, "--dry-run")
    assert (dry.code, dry.out) == (3, "0 to send, 1 refused (1 HEIC).\n")


def test_what_is_not_a_picture_is_left_out_and_counted_to_the_end(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    photo(tmp_path / "photos" / "a.png", (16, 16))
    for name in ("notes.txt", "movie.mp4", "Thumbs.db", "desktop.ini", "a.xmp"):
        (tmp_path / "photos" / name).touch()
    ran = run(*COMMAND, "--progress", "json")
    assert ran.code == 0
    assert ran.err.startswith("Left out: 5 files that are not pictures: photos/Thumbs.db, photos/a.xmp, ")
    assert ran.err.endswith("\n  Left out: 5 files that are not pictures.\n")
    dry = run(*COMMAND, "--dry-run")
    assert (dry.code, dry.out.splitlines()[-1]) == (0, "Left out: 5 files that are not pictures.")
    assert run(*COMMAND, "--dry-run", "--json").records[-1]["not_pictures"] == 5


def test_while_nothing_ends_the_time_left_does_not_grow(run: Run, tmp_path: Path, server: LocalServer) -> None:
    (tmp_path / "photos").mkdir()
    for name in "abcd":
        photo(tmp_path / "photos" / f"{name}.png", (16, 16))
    server.inject(Fault("edit", "stall", "before", nth=2, seconds=3.5))
    ran = run(*COMMAND, "-c", "1", "--progress", "json")
    records = [json.loads(line) for line in ran.err.splitlines() if line.startswith("{")]
    paused = [record for record in records if record["counts"] == {"done": 1}]
    assert ran.code == 0
    assert len(paused) > 1
    assert len({record["left"] for record in paused}) == 1
    assert all("last_end" not in record for record in records)


def test_a_dry_run_looks_at_all_that_a_run_refuses(run: Run, tmp_path: Path, server: LocalServer) -> None:
    (tmp_path / "photos").mkdir()
    whole = photo(tmp_path / "whole.jpg", (64, 64)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[:-200])
    heic(tmp_path / "cut.heic").write_bytes(heic(tmp_path / "cut.heic").read_bytes()[:-20])
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(51_000_000)
    rows: list[dict[str, object]] = [
        {"image": "whole.jpg", "id": "fine"},
        {"image": "cut.jpg", "id": "cut"},
        {"image": "cut.heic", "id": "cut-heic"},
        {"image": "large.png", "id": "large"},
        {"image": "missing.jpg", "id": "missing"},
        {"image": "whole.jpg", "id": "../out-of-here"},
        {"image": "whole.jpg", "id": "fine", "prompt": "y"},
        {"image": "whole.jpg", "id": "shape", "model": "dall-e-2"},
        {"image": "whole.jpg", "id": "mask", "mask": "whole.jpg"},
        {"image": "whole.jpg", "id": "field", "n": 11},
    ]
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps({"prompt": "x"} | row) + "\n" for row in rows))
    command = ("edit-many", "jobs.jsonl", "--out", "out")
    dry = run(*command, "--dry-run")
    assert dry.code == 3
    assert dry.out.splitlines()[0] == (
        "1 to send, 9 refused (2 damaged, 1 too large, 1 missing, 1 with an id that leads out of the directory, "
        "1 with a name that is not free, 1 of a wrong shape, 1 wrong mask, 1 wrong field)."
    )
    ran = run(*command, "--json")
    assert Counter(record["status"] for record in ran.records) == {"refused": 9, "done": 1}
    refused = {line for line in ran.err.splitlines() if ": refused: " in line}
    assert {line for line in dry.err.splitlines() if ": refused: " in line} == refused
    assert server.edits.edits == 1


def test_a_dry_run_shows_how_far_it_is_where_it_takes_long(
    run: Run, photos: Path, environment: pytest.MonkeyPatch
) -> None:
    plan = ImageEditor.plan

    async def slow(*arguments: object, **options: object) -> object:
        import anyio

        found = await plan(*arguments, **options)  # type: ignore[arg-type]  # passed on
        await anyio.sleep(1.2)
        return found

    environment.setattr(ImageEditor, "plan", slow)
    ran = run(*COMMAND, "--dry-run", "--progress", "json")
    assert '{"checked": 7, "total": 7}' in ran.err.splitlines()
    assert list(dry_run.CheckingView(lambda: 1200, 5000).lines()) == ["1,200 of 5,000 checked"]


class Terminal:
    """A person who answers no."""

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return "n\n"


def test_after_a_kill_it_is_asked_how_many_are_really_sent(
    run: Run, photos: Path, environment: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        photo(photos / f"p{number}.png", (16, 16), seed=number + 2)
    environment.setattr(edit_many, "ASK_ABOVE", 2)
    run(*COMMAND, "--max-edits", "2", "--concurrency", "1")
    environment.setattr(edit_many.sys, "stdin", Terminal())  # type: ignore[attr-defined]  # it is imported there
    ran = run(*COMMAND)
    assert (ran.code, run(*COMMAND, "--dry-run").out.startswith("3 to send, 2 done before")) == (2, True)
    assert "3 edits will be sent and paid. Not sent: 2 done before, 6 refused (" in ran.err
    assert ran.err.endswith("\n  Continue? [y/N] \nNothing was sent.\n")
    environment.setattr(edit_many, "ASK_ABOVE", 3)
    assert run(*COMMAND).code == 3, "three are not more than three: nobody is asked"
    environment.setattr(edit_many, "ASK_ABOVE", 2)
    assert "[y/N]" not in run(*COMMAND).err, "nothing is left to be sent"


@pytest.mark.parametrize("options", [("--yes",), ()])
def test_pictures_are_not_read_for_a_question_that_is_not_asked(
    run: Run, photos: Path, environment: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    run(*COMMAND)
    environment.setattr(edit_many, "ASK_ABOVE", 1 if options else 100)
    environment.setattr(edit_many.sys, "stdin", Terminal())  # type: ignore[attr-defined]  # it is imported there
    environment.setattr(ImageEditor, "plan", None)
    assert run(*COMMAND, *options).code == 3


def test_where_nothing_was_done_before_not_thousands_of_pictures_are_read_to_ask(
    run: Run, photos: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setattr(edit_many, "ASK_ABOVE", 2)
    environment.setattr(edit_many, "CHECKED_ANYWAY", 6)
    environment.setattr(edit_many.sys, "stdin", Terminal())  # type: ignore[attr-defined]  # it is imported there
    environment.setattr(ImageEditor, "plan", None)
    ran = run(*COMMAND)
    assert "Up to 7 edits will be sent and paid. Continue? [y/N]" in ran.err


def test_a_folder_that_is_given_twice_is_one_line_and_no_failure(run: Run, server: LocalServer) -> None:
    Path("two").mkdir()
    for seed in range(7):
        photo(Path("two", f"p{seed}.png"), (16, 16), seed=seed)
    Path("two/notes.txt").touch()
    ran = run("edit-many", "two", "two", *COMMAND[2:])
    assert (ran.code, server.edits.edits) == (0, 7)
    named = ", ".join(f"two/p{seed}.png" for seed in range(5))
    assert ran.err.splitlines()[:2] == [
        f"Given twice: 7 pictures, each of which is sent once: {named} and 2 more",
        "Left out: 1 file that is not a picture: two/notes.txt",
    ]


def test_an_empty_file_is_empty_and_an_open_one_may_be_at_its_end(run: Run) -> None:
    Path("empty.jpg").touch()
    ran = run("edit-many", "empty.jpg", *COMMAND[2:])
    assert "empty: refused: image: empty.jpg is empty. Nothing was sent.\n" in ran.err


def test_the_advice_on_what_may_be_charged_is_said_once(run: Run, server: LocalServer) -> None:
    Path("two").mkdir()
    for seed in range(2):
        photo(Path("two", f"p{seed}.png"), (16, 16), seed=seed)
    server.inject(Fault("edit", "reset", at="done", every=1))
    ran = run("edit-many", "two", *COMMAND[2:], "--concurrency", "1")
    assert (ran.code, server.edits.edits) == (3, 2)
    assert ran.err.count("usage page") == 1
    assert ran.err.count("\n") == 5, ran.err
    assert "Look at the account's usage page" in Path("out/failed.jsonl").read_text()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_the_question_says_that_nothing_was_sent(start: Start, server: LocalServer, signum: int) -> None:
    Path("two").mkdir()
    for seed in range(11):
        photo(Path("two", f"p{seed}.png"), (16, 16), seed=seed)
    ours, theirs = pty.openpty()
    process = start("edit-many", "two", *COMMAND[2:], "-n", "10", "--progress", "none", stdin=theirs)
    assert process.stderr is not None
    assert process.stderr.readline() == "11 edits, 110 pictures, will be sent and paid.\n"
    assert process.stderr.readline().startswith("  It costs about $")
    assert process.stderr.readline().startswith("  Give --size and --quality for a narrower range")
    assert process.stderr.readline() == "  Continue? [y/N] \n"
    process.send_signal(signum)
    assert process.wait(timeout=20) == 128 + signum
    assert process.stderr.read() == "Nothing was sent.\n"
    os.close(theirs)
    os.close(ours)
    assert server.edits.edits == 0


def test_after_an_interruption_the_summary_counts_as_the_question_did(
    environment: pytest.MonkeyPatch, server: LocalServer, stop: Stop, capfd: pytest.CaptureFixture[str], run: Run
) -> None:
    Path("two").mkdir()
    for seed in range(6):
        photo(Path("two", f"p{seed}.png"), (16, 16), seed=seed)
    assert run("edit-many", "two/p1.png", "two/p5.png", *COMMAND[2:]).code == 0
    environment.setattr(edit_many, "ASK_ABOVE", 2)
    environment.setattr(edit_many, "can_ask", lambda _: True)
    environment.setattr(edit_many.sys, "stdin", io.StringIO("y\n"))  # type: ignore[attr-defined]  # it is imported there
    server.inject(Fault("edit", "stall", at="after", nth=2, seconds=2.0))

    def interrupt() -> None:
        while server.calls["edit"] < 4:
            time.sleep(0.005)
        stop.arrive(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert app.run(["edit-many", "two", *COMMAND[2:], "--concurrency", "1"], stop) == 130
    thread.join()
    said = capfd.readouterr().err
    assert "4 edits will be sent and paid. Not sent: 2 done before.\n  It costs about $" in said
    assert "\n  Continue? [y/N] " in said
    assert (server.edits.edits, "\n2 done, 2 done before.\n" in said) == (4, True), said
    assert "  2 not sent: the same command goes on." in said
