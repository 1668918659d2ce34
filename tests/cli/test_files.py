"""`asyncsdk files`: what is stored on the server."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncsdk.server import Fault, LocalServer
from tests.cli.support import MakeFile, Run, Start

MIB = 1 << 20


@pytest.fixture
def stored(run: Run, make_file: MakeFile) -> Callable[..., str]:
    """Store a file; returns its id."""

    def store(name: str = "train.jsonl", size: int = 1000, purpose: str = "batch") -> str:
        return run("upload", make_file(size, name, size), "--purpose", purpose, "--quiet").out.strip()

    return store


def test_all_files_are_listed_newest_first_or_as_asked(run: Run, stored: Callable[..., str]) -> None:
    old, new = stored("a", 1001, "vision"), stored("b", 1002, "vision")
    other = stored("c", 1003, "assistants")
    heading, *lines = run("files", "list").out.splitlines()
    assert heading.split() == ["ID", "SIZE", "CREATED", "PURPOSE", "NAME"]
    assert lines[0].split()[0] == other
    assert lines[0].endswith("assistants    c")
    assert "1.0 kB" in lines[0]
    assert run("files", "list", "--purpose", "vision", "--quiet").out.split() == [new, old]
    assert run("files", "list", "--purpose", "vision", "--order", "asc", "--quiet").out.split() == [old, new]
    assert [told["id"] for told in run("files", "list", "--limit", "2", "--json").records] == [other, new]


def test_a_list_goes_on_over_pages(run: Run, server: LocalServer, stored: Callable[..., str]) -> None:
    stored("a", 2001)
    page = {"object": "list", "data": [{"id": "file-first"}], "has_more": True, "last_id": "file-first"}
    last = {"object": "list", "data": [{"id": "file-last"}], "has_more": False}
    server.inject(
        Fault("files.list", "answer", status=200, body=page),
        Fault("files.list", "answer", status=200, body=last, nth=2),
    )
    assert run("files", "list").out.split()[5:] == ["file-first", "file-last"]
    server.clear_faults()


def test_one_is_shown(run: Run, stored: Callable[..., str]) -> None:
    name = stored()
    ran = run("files", "show", name)
    assert ran.code == 0
    assert {f"id: {name}", "bytes: 1000", "filename: train.jsonl", "purpose: batch"} <= set(ran.out.splitlines())
    [told] = run("files", "show", name, "--json").records
    assert (told["id"], told["object"]) == (name, "file")


def test_times_are_shown_as_a_clock_shows_them(run: Run, stored: Callable[..., str]) -> None:
    shown = run("files", "show", stored()).out
    assert re.search(r"^created_at: (\w{3} \d\d, )?\d\d:\d\d$", shown, re.MULTILINE)


def test_where_there_are_none_that_is_said(run: Run) -> None:
    ran = run("files", "list", "--purpose", "fine_tune")
    assert (ran.code, ran.out, ran.err) == (0, "", "no files for the purpose 'fine_tune'.\n")


def test_what_the_server_says_is_told_without_the_name_of_the_request(run: Run) -> None:
    ran = run("files", "show", "file-none")
    assert ran.err.startswith("error: the server responded 404: No such File object: file-none")
    assert "{" not in ran.err


def test_the_content_goes_to_standard_output_as_it_is(start: Start, stored: Callable[..., str], tmp_path: Path) -> None:
    name = stored(size=3 * MIB)
    process = start("files", "content", name, text=False)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
    assert out == (tmp_path / "train.jsonl").read_bytes()


def test_a_reader_that_has_enough_is_no_failure(start: Start, stored: Callable[..., str]) -> None:
    name = stored(size=3 * MIB)
    process = start("files", "content", name, text=False)
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")


def test_a_list_that_nobody_reads_to_its_end_is_no_failure(start: Start, stored: Callable[..., str]) -> None:
    stored()
    reading, writing = os.pipe()
    os.close(reading)
    process = start("files", "list", stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")


def test_the_content_is_saved_whole_in_place_of_what_was_there(
    run: Run, stored: Callable[..., str], tmp_path: Path
) -> None:
    name = stored()
    (tmp_path / "out.bin").write_bytes(b"old")
    ran = run("files", "content", name, "--out", "out.bin")
    assert (ran.code, ran.out) == (0, f"{name}: 1.0 kB saved as out.bin\n")
    assert (tmp_path / "out.bin").read_bytes() == (tmp_path / "train.jsonl").read_bytes()
    [told] = run("files", "content", name, "--out", "new/out.bin", "--json").records
    assert told == {"id": name, "out": "new/out.bin", "bytes": 1000}


def test_content_that_cant_be_saved_is_said(run: Run, stored: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    ran = run("files", "content", stored(), "--out", "folder")
    assert ran.code == 1
    assert ran.err == "error: folder: Is a directory\n"
    assert not list(tmp_path.glob(".folder*"))


def test_content_that_the_server_does_not_give_is_said(run: Run, stored: Callable[..., str]) -> None:
    ran = run("files", "content", stored(purpose="assistants"))
    assert (ran.code, ran.out) == (1, "")
    assert "Not allowed to download" in ran.err


def test_one_is_deleted_and_then_not_there(run: Run, stored: Callable[..., str]) -> None:
    name = stored()
    ran = run("files", "delete", name)
    assert (ran.code, ran.out) == (0, f"{name}: deleted\n")
    gone = run("files", "show", name)
    assert gone.code == 1
    assert "404" in gone.err


def test_one_that_the_server_keeps_after_all_is_exit_1(
    run: Run, server: LocalServer, stored: Callable[..., str]
) -> None:
    name = stored()
    server.inject(Fault("files.delete", "answer", status=200, body={"id": name, "object": "file", "deleted": False}))
    ran = run("files", "delete", name, "--json")
    assert (ran.code, ran.records) == (1, [{"id": name, "object": "file", "deleted": False}])
