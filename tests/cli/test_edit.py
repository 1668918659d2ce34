"""`asyncsdk edit`: one picture, and what may be wrong with it before and after it is paid."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from asyncsdk import files
from asyncsdk.cli import app
from asyncsdk.cli.edits.refusals import named
from asyncsdk.cli.signals import Stop
from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Run
from tests.stories.pictures import changed, mask, photo

HOLE = (64, 32, 192, 96)


@pytest.fixture
def paid(server: LocalServer) -> int:
    """How many edits had been paid when the test began."""
    return server.edits.edits


def test_the_masked_region_changes_and_nothing_else(run: Run, tmp_path: Path) -> None:
    photo(tmp_path / "otter.png")
    mask(tmp_path / "mask.png", HOLE)
    ran = run(
        "edit", "otter.png", "--prompt", "a beret", "--mask", "mask.png", "--model", "gpt-image-2", "--out", "out"
    )
    assert ran.code == 0, ran.err
    assert re.fullmatch(r"out/otter\.png, \d+ tokens, \$0\.\d+\n", ran.out)
    assert ran.err == ""
    assert changed(tmp_path / "otter.png", tmp_path / "out" / "otter.png") == HOLE


def test_fields_reach_the_server_and_several_pictures_are_saved(run: Run, tmp_path: Path) -> None:
    photo(tmp_path / "otter.png")
    fields = ["--n", 2, "--size", "1024x1024", "--output-format", "jpeg", "--output-compression", 50, "--user", "me"]
    ran = run("edit", "otter.png", "--prompt", "x", "--model", "gpt-image-2", *fields, "--out", "out", "--json")
    [record] = ran.records
    assert (record["id"], record["status"], record["error"]) == ("otter", "done", None)
    assert record["files"] == ["out/otter.jpg", "out/otter.1.jpg"]
    assert record["usage"]["total_tokens"] > 0
    for file in record["files"]:
        with Image.open(file) as picture:
            assert (picture.format, picture.size) == ("JPEG", (1024, 1024))


def test_of_an_svg_is_said_that_it_may_be_a_program(run: Run, tmp_path: Path) -> None:
    photo(tmp_path / "otter.png")
    fields = ["--prompt", "x", "--model", "gpt-image-2", "--output-format", "svg", "--svg", '{"model": "x"}']
    ran = run("edit", "otter.png", *fields, "--out", "out", "--json")
    assert (ran.code, ran.records[0]["files"]) == (0, ["out/otter.svg"])
    assert "out/otter.svg is an SVG, which may contain a program" in ran.err
    (tmp_path / "many").mkdir()
    for name in "abc":
        photo(tmp_path / "many" / f"{name}.png")
    ran = run("edit-many", "many", *fields, "--out", "new", "--quiet")
    assert ran.code == 0
    assert ran.err.count("is an SVG") == 1


def test_a_stream_comes_to_the_same(run: Run, tmp_path: Path) -> None:
    photo(tmp_path / "otter.png")
    ran = run("edit", "otter.png", "--prompt", "x", "--model", "gpt-image-2", "--stream", "--partial-images", "2",
              "--out", "new.png", "--quiet")  # fmt: skip
    assert (ran.code, ran.out) == (0, "new.png\n"), ran.err
    assert {path.name for path in tmp_path.glob("*.png")} == {"otter.png", "new.png"}


def test_fields_that_we_do_not_know_reach_the_server_which_refuses_them(run: Run, tmp_path: Path) -> None:
    photo(tmp_path / "otter.png")
    ran = run("edit", "otter.png", "--prompt", "x", "--out", "out", "--extra", '{"colour": "red"}', "--json")
    assert ran.code == 1
    [record] = ran.records
    assert (record["status"], record["error"]["status_code"]) == ("refused", 400)
    assert "colour" in ran.err
    for odd in ("red", "[1]", "{odd"):
        bad = run("edit", "otter.png", "--prompt", "x", "--out", "out", "--extra", odd)
        assert (bad.code, "Nothing was sent" in bad.err) == (2, True)


def test_references_make_one_picture_of_several(run: Run, tmp_path: Path, server: LocalServer, paid: int) -> None:
    photo(tmp_path / "shoe.png")
    photo(tmp_path / "logo.png", seed=2)
    ran = run("edit", "shoe.png", "--reference", "logo.png", "--prompt", "x", "--model", "gpt-image-2", "--out", "out")
    assert (ran.code, server.edits.edits - paid) == (0, 1), ran.err
    assert ran.out.startswith("out/shoe.png")


def test_several_pictures_are_refused_for_they_would_make_one(run: Run, server: LocalServer, paid: int) -> None:
    pictures = [f"photos/{number}.jpg" for number in range(214)]
    ran = run("edit", *pictures, "--prompt", "x", "--out", "out/", "--json")
    assert (ran.code, server.edits.edits) == (2, paid)
    assert ran.err == (
        "error: 214 pictures given, but `edit` edits one. To edit each on its own: "
        'asyncsdk edit-many photos/*.jpg --prompt "…" --out out/\n'
        "  To combine them: asyncsdk edit photos/0.jpg --reference photos/1.jpg …\n"
        "  Nothing was sent, nothing was paid.\n"
    )
    assert [record["status"] for record in ran.records] == ["refused"]


@pytest.mark.parametrize(
    ("images", "shown"),
    [
        (["a.png", "b c.png"], "a.png 'b c.png'"),
        (["a.png", "b.png", "c.png", "d.png"], "*.png"),
        (["my photos/a.png", *["my photos/b.png"] * 3], "'my photos/'*.png"),
        (["a.png", "b.png", "c.png", "x/d.jpg"], "a.png b.png c.png …"),
    ],
)
def test_pictures_are_named_as_they_were_typed(images: list[str], shown: str) -> None:
    assert named(images) == shown


def test_a_name_that_some_file_system_refuses_is_encoded_in_what_is_saved(run: Run, tmp_path: Path) -> None:
    photo(tmp_path / "what: now?.png", (16, 16))
    ran = run("edit", "what: now?.png", "--prompt", "x", "--model", "gpt-image-2", "--out", "out")
    assert ran.code == 0, ran.err
    assert (tmp_path / "out" / "what%3A now%3F.png").exists()


def test_what_is_there_is_not_overwritten_unless_asked_and_nothing_is_paid(
    run: Run, tmp_path: Path, server: LocalServer, paid: int
) -> None:
    source = photo(tmp_path / "otter.png")
    before = source.read_bytes()
    for out in (".", "otter.png"):
        ran = run("edit", "otter.png", "--prompt", "x", "--out", out)
        assert (ran.code, server.edits.edits) == (2, paid)
        assert ran.err.startswith("error: otter.png already exists. ")
        assert source.read_bytes() == before
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "otter.1.jpg").touch()
    assert "out/otter.1.jpg already exists" in run("edit", "otter.png", "--prompt", "x", "--n", "2", "--out", "out").err
    done = run("edit", "otter.png", "--prompt", "x", "--out", "otter.png", "--overwrite", "--model", "gpt-image-2")
    assert (done.code, server.edits.edits) == (0, paid + 1)
    assert source.read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["missing.png"], "missing.png does not exist"),
        (["notes.png"], "notes.png is not a PNG, JPEG or WebP picture"),
        (["avif.png"], "avif.png is AVIF inside, convert it to PNG, JPEG or WebP"),
        (["heic.png"], "heic.png can't be used: the HEIC is cut off or damaged"),
        (["otter.png", "--n", "11"], "--n 11 is not a whole number from 1 to 10"),
        (["otter.png", "--model", "dall-e-2", "--size", "1x1"], "--size 1x1 is not a size that dall-e-2 takes"),
        (["otter.png", "--mask", "otter.png"], "has no transparency: only its transparent parts are edited"),
        ([], "IMAGE is missing"),
    ],
)
def test_what_is_not_taken_is_refused_before_it_is_paid(
    run: Run, server: LocalServer, paid: int, arguments: list[str], why: str
) -> None:
    photo(Path("otter.png"))
    Path("notes.png").write_text("no picture")
    Path("avif.png").write_bytes(b"\0\0\0\x18ftypavif")
    Path("heic.png").write_bytes(b"\0\0\0\x18ftypheic")
    ran = run("edit", *arguments, "--prompt", "x", "--out", "out", "--json")
    assert (ran.code, server.edits.edits) == (2, paid)
    assert why in ran.err
    assert "Nothing was sent" in ran.err
    if arguments:
        assert [record["status"] for record in ran.records] == ["refused"]


def test_a_place_where_nothing_can_be_saved_is_refused_before_it_is_paid(
    run: Run, tmp_path: Path, server: LocalServer, paid: int
) -> None:
    photo(tmp_path / "otter.png")
    (tmp_path / "file").touch()
    ran = run("edit", "otter.png", "--prompt", "x", "--out", "file/deep")
    assert (ran.code, server.edits.edits) == (2, paid)
    assert "can't save in file/deep" in ran.err


def test_pictures_that_are_paid_and_can_not_be_saved_are_saved_elsewhere(
    run: Run, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "otter.png")
    (tmp_path / "elsewhere").mkdir()
    environment.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    save = files.save

    async def fails_in_out(path: Path, *arguments: Any, **named: Any) -> OSError | None:
        if path.parent.name == "out":
            raise OSError("no room")
        return await save(path, *arguments, **named)

    environment.setattr(files, "save", fails_in_out)
    ran = run("edit", "otter.png", "--prompt", "x", "--out", "out", "--json", "--model", "gpt-image-2")
    assert ran.code == 3
    [file] = ran.records[0]["files"]
    assert Path(file).is_relative_to(tmp_path / "elsewhere")
    with Image.open(file) as picture:
        picture.load()
    assert "could not be saved in out (no room); they are saved elsewhere" in ran.err


def test_an_answer_that_is_lost_is_exit_3_for_it_may_have_been_paid(
    run: Run, tmp_path: Path, server: LocalServer, paid: int
) -> None:
    photo(tmp_path / "otter.png")
    server.inject(Fault("edit", "reset", at="done"))
    ran = run("edit", "otter.png", "--prompt", "x", "--out", "out", "--json", "--model", "gpt-image-2")
    assert (ran.code, server.edits.edits) == (3, paid + 1)
    assert (ran.records[0]["status"], ran.records[0]["error"]["type"]) == ("uncertain", "ChargeUnknownError")
    assert "may be paid twice" in ran.err


def test_a_wrong_key_is_exit_1_and_none_is_exit_2(
    run: Run, tmp_path: Path, server: LocalServer, environment: pytest.MonkeyPatch
) -> None:
    photo(tmp_path / "otter.png")
    server.inject(Fault("edit", "answer", status=401))
    assert run("edit", "otter.png", "--prompt", "x", "--out", "out").code == 1
    environment.delenv("OPENAI_API_KEY")
    assert run("edit", "otter.png", "--prompt", "x", "--out", "out").code == 2


def test_a_signal_says_that_it_may_have_been_paid(
    tmp_path: Path, server: LocalServer, capfd: pytest.CaptureFixture[str], stop: Stop
) -> None:
    photo(tmp_path / "otter.png")
    server.inject(Fault("edit", "stall", at="after"))
    before = server.calls.get("edit", 0)

    def interrupt() -> None:
        while server.calls.get("edit", 0) == before:
            time.sleep(0.01)
        stop.arrive(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    code = app.run(["edit", "otter.png", "--prompt", "x", "--out", "out"], stop)
    thread.join()
    assert code == 130
    assert "may have been paid" in capfd.readouterr().err


def test_its_help_promises_no_ledger(run: Run) -> None:
    told = " ".join(run("edit", "--help").out.split())
    assert "Only edit-many keeps a ledger of what was paid: the same edit again is sent, and paid, again." in told
    codes = " ".join(run("help", "exit-codes").out.split())
    assert "After a signal it may be, and only edit-many keeps a record of that." in codes


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives a directory to any group")
def test_a_directory_that_it_makes_serves_many_edits_too_where_a_group_writes_by_default(
    run: Run, tmp_path: Path
) -> None:
    photo(tmp_path / "otter.png")
    photo(tmp_path / "seal.png")
    os.chown(tmp_path, -1, 100)
    tmp_path.chmod(0o2755)  # what is made in it has its group
    before = os.umask(0o002)
    try:
        fields = ["--prompt", "x", "--model", "gpt-image-2", "--out", "out"]
        assert run("edit", "otter.png", *fields).code == 0
        ran = run("edit-many", "seal.png", *fields)
    finally:
        os.umask(before)
    assert ran.code == 0, ran.err


@pytest.fixture
def slow(environment: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    with LocalServer(edit_seconds=1.3) as server:
        environment.setenv("OPENAI_BASE_URL", server.url)
        yield server


BRIEF = ("edit", "otter.png", "-p", "x", "-m", "gpt-image-2", "-o", "out")


@pytest.mark.usefixtures("slow")
def test_while_it_waits_it_says_so_where_that_is_asked_for_and_nothing_in_a_pipe(run: Run, tmp_path: Path) -> None:
    photo(tmp_path / "otter.png")
    assert run(*BRIEF).err == ""
    ran = run(*BRIEF, "--overwrite", "--progress", "json")
    waited = [json.loads(line)["waiting"] for line in ran.err.splitlines()]
    assert (ran.code, waited) == (0, sorted(waited))
    assert waited[0] > 0.9, "a line each second"


@pytest.mark.usefixtures("slow")
def test_while_it_waits_it_says_so_on_a_terminal(tmp_path: Path) -> None:
    photo(tmp_path / "otter.png")
    ours, theirs = pty.openpty()
    terminal = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-m", "asyncsdk", *BRIEF]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, env=terminal, cwd=tmp_path
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # which is how a terminal ends
        while more := os.read(ours, 65536):
            shown += more
    os.close(ours)
    out, _ = process.communicate()
    assert (process.returncode, out.startswith(b"out/otter.png")) == (0, True)
    assert re.search(r"Waiting for the server to edit otter\.png: 1\.\d s\.", shown.decode())
