"""`asyncsdk files`: what is stored on the server."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from asyncsdk.cli import saving
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
    ran = run("files", "list", "--purpose", "fine-tune")
    assert (ran.code, ran.out, ran.err) == (0, "", "no files for the purpose 'fine-tune'.\n")


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


def test_the_content_is_saved_whole_and_replaces_a_file_only_if_asked(
    run: Run, calls: Callable[[], int], stored: Callable[..., str], tmp_path: Path
) -> None:
    name = stored()
    (tmp_path / "out.bin").write_bytes(b"old")
    before = calls()
    ran = run("files", "content", name, "--out", "out.bin")
    assert (ran.code, ran.out, calls()) == (2, "", before)
    assert ran.err == "error: out.bin already exists. Give another --out, or --overwrite. Nothing was sent.\n"
    assert (tmp_path / "out.bin").read_bytes() == b"old"
    ran = run("files", "content", name, "--out", "out.bin", "--overwrite")
    assert (ran.code, ran.out) == (0, f"{name}: 1.0 kB saved as out.bin\n")
    assert (tmp_path / "out.bin").read_bytes() == (tmp_path / "train.jsonl").read_bytes()
    [told] = run("files", "content", name, "--out", "new.bin", "--json").records
    assert told == {"id": name, "out": "new.bin", "bytes": 1000}


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("folder", "--out folder is a directory: name a file in it. Nothing was sent."),
        ("folder/", "--out folder/ is a directory: name a file in it."),
        ("missing/x", "--out missing/x: missing does not exist. Make that directory first. Nothing was sent."),
        ("good/x", "--out good/x: good is not a directory. Nothing was sent."),
        ("/dev/null", "--out /dev/null is not a regular file. Without --out the content goes to standard output."),
        ("", "--out is empty: name a file."),
        ("-", "--out: a file name is needed, `-` is not taken. Nothing was sent."),
    ],
)
def test_a_place_where_content_cant_be_saved_is_refused_before_it_is_fetched(
    run: Run, calls: Callable[[], int], tmp_path: Path, out: str, said: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "good").touch()
    ran = run("files", "content", "file-1", "--out", out)
    assert (ran.code, ran.out, calls()) == (2, "", 0)
    assert ran.err.startswith(f"error: {said}")
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "good"}


def test_a_disk_that_refuses_content_is_reported_with_the_name_of_the_file(
    run: Run, stored: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name, real = stored(), os.open

    def refuse(path: object, *arguments: Any, **named: Any) -> int:
        if ".asyncsdk-" in os.fspath(cast("str", path)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return real(cast("str", path), *arguments, **named)

    monkeypatch.setattr("asyncsdk.files.os.open", refuse)
    ran = run("files", "content", name, "--out", str(tmp_path / "it"))
    said = f"error: {tmp_path / 'it'}: Read-only file system. Nothing of {name} is left there.\n"
    assert (ran.code, ran.err) == (1, said)


def test_a_full_disk_is_reported_with_the_name_of_the_file_of_which_nothing_is_left(
    run: Run, stored: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = stored()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("asyncsdk.files.disk.write_all", full)
    ran = run("files", "get", name, "-o", "x")
    assert (ran.code, ran.err) == (1, f"error: x: No space left on device. Nothing of {name} is left there.\n")
    assert not (tmp_path / "x").exists()


def test_a_read_only_file_system_is_called_that(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert saving.why_not_writable(tmp_path) == errno.EACCES
    seen = SimpleNamespace(f_flag=os.ST_RDONLY)
    monkeypatch.setattr(os, "statvfs", lambda _: seen)
    assert saving.why_not_writable(tmp_path) == errno.EROFS


def test_content_that_the_server_does_not_give_is_said(run: Run, stored: Callable[..., str]) -> None:
    ran = run("files", "content", stored(purpose="assistants"))
    assert (ran.code, ran.out) == (1, "")
    assert "Not allowed to download" in ran.err


def test_one_is_deleted_and_then_not_there(run: Run, stored: Callable[..., str]) -> None:
    name = stored()
    ran = run("files", "delete", name, "--yes")
    assert (ran.code, ran.out) == (0, f"{name}: deleted\n")
    gone = run("files", "show", name)
    assert gone.code == 1
    assert "404" in gone.err


def test_several_are_deleted_and_each_is_reported(run: Run, server: LocalServer, stored: Callable[..., str]) -> None:
    first, second, third = (stored(name, size) for name, size in (("a", 1000), ("b", 1001), ("c", 1002)))
    ran = run("files", "rm", first, "file-unknown", second, "--yes")
    assert (ran.code, sorted(ran.out.splitlines())) == (3, sorted([f"{first}: deleted", f"{second}: deleted"]))
    assert ran.err.startswith("error: file-unknown: the server responded 404")
    ran = run("files", "delete", "file-unknown", third, third, "--json", "--yes")
    gone, refused = sorted(ran.records, key=lambda record: "error" in record)  # they go together
    assert (refused["id"], refused["deleted"], refused["error"]["status_code"]) == ("file-unknown", False, 404)
    assert gone == {"id": third, "object": "file", "deleted": True}
    assert run("files", "delete", "file-unknown", "file-other", "--yes").code == 1
    assert run("files", "delete").code == 2
    assert not server.files


def test_one_that_the_server_keeps_after_all_is_exit_1(
    run: Run, server: LocalServer, stored: Callable[..., str]
) -> None:
    name = stored()
    server.inject(Fault("files.delete", "answer", status=200, body={"id": name, "object": "file", "deleted": False}))
    ran = run("files", "delete", name, "--json", "--yes")
    [record] = ran.records
    assert (ran.code, record["id"], record["deleted"]) == (1, name, False)
    assert "did not delete" in record["error"]["message"]


def test_a_purpose_that_is_nearly_one_is_warned_of_and_used(run: Run) -> None:
    ran = run("files", "list", "--purpose", "finetune")
    assert ran.code == 0
    assert ran.err.splitlines()[0] == ("warning: purpose 'finetune' is not one that we know; did you mean 'fine-tune'?")
