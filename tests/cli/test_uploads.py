"""`asyncsdk uploads`: what the journal holds, and what can be done with it."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncsdk.server import Fault, LocalServer
from asyncsdk.wal.line import encode_head
from tests.cli.support import MakeFile, Run, Start

MIB = 1 << 20
Stopped = Callable[..., str]


@pytest.fixture
def stopped(run: Run, server: LocalServer, make_file: MakeFile) -> Stopped:
    """Leave an upload behind that stopped with one of four parts there; returns its id."""

    def stop(name: str = "train.jsonl", seed: int = 1, size: int = 3 * MIB + 1) -> str:
        make_file(size, name, seed)
        server.inject(Fault("part", "answer", status=400, nth=2))
        options = ["--part-size", "1MiB", "--concurrency", "1"]
        assert run("upload", name, "--purpose", "batch", *options).code == 1
        return server.uploads[-1].id

    return stop


@pytest.mark.parametrize("command", [["list"], ["list", "--all"], ["list", "--json"], ["show"]])
def test_a_journal_without_uploads_says_so(run: Run, command: list[str]) -> None:
    ran = run("uploads", *command)
    assert (ran.code, ran.out, ran.err) == (0, "", "no uploads in the journal\n")


@pytest.mark.parametrize("command", ["list", "show", "prune"])
def test_a_journal_that_a_newer_version_wrote_is_not_taken_for_an_empty_one(
    run: Run, tmp_path: Path, command: str
) -> None:
    journal = tmp_path / "journal"
    head = encode_head(at=time.time(), host="web-1", pid=1).partition(b',"c":')[0].replace(b'"v":1', b'"v":2')
    (journal / "small").mkdir(mode=0o700, parents=True)
    (journal / "small" / "new.jsonl").write_bytes(b'%b,"c":"%08x"}\n' % (head, zlib.crc32(head)))
    ran = run("uploads", command)
    assert ran.code == 0
    assert "new.jsonl: version 2 of the journal was written by a newer asyncsdk" in ran.err


@pytest.mark.parametrize("command", ["list", "show"])
def test_where_no_journal_can_be_kept_that_is_said(run: Run, environment: pytest.MonkeyPatch, command: str) -> None:
    environment.delenv("ASYNCSDK_JOURNAL")
    environment.setenv("XDG_STATE_HOME", "/dev/null/state")
    ran = run("uploads", command)
    assert (ran.code, ran.err) == (
        0,
        (
            "no journal can be kept in /dev/null/state/asyncsdk, so no upload is remembered. "
            "Set ASYNCSDK_JOURNAL to a directory that can be written.\n"
        ),
    )


@pytest.mark.parametrize("columns", [60, 80, 100, 160])
def test_on_a_terminal_the_middle_of_a_long_file_name_goes_and_its_id_stays(
    run: Run, stopped: Stopped, environment: pytest.MonkeyPatch, columns: int
) -> None:
    upload = stopped("a" * 80 + "/" + "b" * 80 + ".jsonl")
    [whole] = run("uploads", "list").out.splitlines()[1:]
    environment.setattr("asyncsdk.cli.uploads.uploads.stdout_is_terminal", lambda: True)
    environment.setenv("COLUMNS", str(columns))
    [line] = run("uploads", "list").out.splitlines()[1:]
    assert line.startswith(f"{upload}  pending")
    assert line.endswith(".jsonl")
    assert "…" in line
    assert columns - 1 <= len(line) <= columns < len(whole)
    assert run("uploads", "list", "--json").records[0]["source"].endswith("b.jsonl")


def test_what_is_finished_is_counted_and_listed_with_all_after_what_is_not(
    run: Run, stopped: Stopped, make_file: MakeFile
) -> None:
    for number in range(2):
        make_file(1000, f"done-{number}", number)
        run("upload", f"done-{number}", "--purpose", "batch")
    ran = run("uploads", "list")
    assert (ran.out, ran.err) == ("", "2 completed: --all shows them\n")
    upload = stopped("train.jsonl", 3)
    ran = run("uploads", "list")
    assert ran.out.splitlines()[1].startswith(f"{upload}  pending")
    assert (len(ran.out.splitlines()), ran.err) == (2, "2 completed: --all shows them\n")
    ran = run("uploads", "list", "--all", "--json")
    assert [record["state"] for record in ran.records] == ["pending", "completed", "completed"]
    assert ran.err == ""


def test_the_only_one_under_way_is_shown_and_cancelled_without_its_id(
    run: Run, stopped: Stopped, make_file: MakeFile
) -> None:
    make_file(1000, "done", 2)
    run("upload", "done", "--purpose", "batch")
    upload = stopped()
    assert run("uploads", "show").out.startswith(f"id: {upload}\n")
    assert run("uploads", "cancel").out == f"{upload}: cancelled\n"
    ran = run("uploads", "cancel")
    assert (ran.code, ran.out, ran.err) == (0, "", "no upload is under way: there is nothing to cancel.\n")


def test_of_several_under_way_the_id_is_asked_for(run: Run, stopped: Stopped, server: LocalServer) -> None:
    first, second = stopped("a", 1), stopped("b", 2)
    for command in ("show", "cancel"):
        ran = run("uploads", command)
        assert ran.code == 2
        assert f"2 uploads to {command}: give the ID of one." in ran.err
        assert f"{first}  pending" in ran.err
        assert f"{second}  pending" in ran.err
    assert {upload.status for upload in server.uploads} == {"pending"}


def test_one_whose_file_was_moved_is_resumed_from_there(run: Run, stopped: Stopped, tmp_path: Path) -> None:
    upload = stopped()
    moved = (tmp_path / "train.jsonl").rename(tmp_path / "final.jsonl")
    ran = run("uploads", "resume")
    assert ran.code == 2
    assert (
        f"No such file or directory. Nothing was sent.\n  moved? asyncsdk uploads resume {upload} --from NEWPATH"
        in (ran.err)
    )
    (tmp_path / "other").write_bytes(b"x" * moved.stat().st_size)
    ran = run("uploads", "resume", upload, "--from", "other")
    assert (ran.code, ran.out) == (2, "")
    assert f"other is not the file of {upload}: it contains nothing of what was sent." in ran.err
    assert "it resumes" not in ran.err
    ran = run("uploads", "resume", "--from", moved)
    assert ran.code == 0
    assert ", 1.0 MB of it by earlier runs" in ran.out


@pytest.mark.parametrize("shape", [(), ("--json",)])
def test_a_directory_in_the_place_of_a_file_is_refused_in_the_words_of_the_command_line(
    run: Run, stopped: Stopped, tmp_path: Path, shape: tuple[str, ...]
) -> None:
    upload = stopped()
    (tmp_path / "folder").mkdir()
    ran = run("uploads", "resume", upload, "--from", "folder", *shape)
    assert ran.code == 2
    said = "folder is a directory, not a regular file. `asyncsdk upload` takes directories. Nothing was sent."
    assert said in ran.err
    assert [record["error"]["message"] for record in ran.records] == ([said] if shape else [])
    assert "upload_many" not in ran.out + ran.err


def test_one_whose_file_has_another_size_now_does_not_count_and_what_drops_it_is_said(
    run: Run, stopped: Stopped, server: LocalServer, tmp_path: Path
) -> None:
    old, good = stopped("old", 1), stopped("good", 2)
    with (tmp_path / "old").open("ab") as file:
        file.write(b"more")
    said = (
        f"{old} is not resumed: {tmp_path / 'old'} had 3,145,729 bytes when it began, and has 3,145,733 now.\n"
        f"  To drop it: asyncsdk uploads cancel {old}. "
        f"If its file was moved: asyncsdk uploads resume {old} --from NEWPATH\n"
    )
    ran = run("uploads", "resume", "--progress", "none")
    assert (ran.code, ran.err) == (0, said)
    assert "good: file-" in ran.out
    ran = run("uploads", "resume", "--all")
    assert (ran.code, ran.err) == (0, said + "no upload stopped half-way: there is nothing to resume.\n")
    ran = run("uploads", "resume", old)
    assert ran.code == 2
    assert f"old: old has another size than when {old} began. Nothing was sent.\n" in ran.err
    assert ran.err.endswith(f"asyncsdk upload. To drop what was sent of it before: asyncsdk uploads cancel {old}\n")
    assert run("uploads", "cancel").out == f"{old}: cancelled\n"
    assert next(upload for upload in server.uploads if upload.id == good).status == "completed"


def test_of_several_the_one_that_is_as_large_as_the_moved_file_is_resumed(
    run: Run, stopped: Stopped, tmp_path: Path
) -> None:
    upload = stopped("a", 1)
    stopped("b", 2, 2 * MIB)
    moved = (tmp_path / "a").rename(tmp_path / "c")
    ran = run("uploads", "resume", "--from", moved, "--json")
    assert (ran.code, ran.records[0]["id"]) == (0, upload)


def test_what_stopped_is_listed_and_shown_and_goes_on(
    run: Run, stopped: Stopped, server: LocalServer, tmp_path: Path
) -> None:
    upload = stopped()
    listed = run("uploads", "list")
    assert listed.out.splitlines()[0].split() == ["ID", "STATE", "DONE", "EXPIRES", "PURPOSE", "SERVER", "FILE"]
    assert f"{upload}  pending  1.0 of 3.1 MB  in " in listed.out
    assert run("uploads", "list", "--quiet").out == f"{upload}\n"
    [told] = run("uploads", "show", upload[:12], "--json").records
    assert (told["id"], told["state"], told["bytes_done"], told["pid"]) == (upload, "pending", MIB, None)
    assert "state: pending\n" in run("uploads", "show", told["key"][:8]).out
    [done] = run("uploads", "resume", "--json").records
    assert (done["id"], done["bytes_resumed"], done["bytes_sent"]) == (upload, MIB, 2 * MIB + 1)
    assert done["source"] == str(tmp_path / "train.jsonl")
    [told] = run("uploads", "list", "--all", "--json").records
    assert (told["state"], told["file_id"], told["md5"]) == ("completed", done["file"]["id"], done["md5"])
    ran = run("uploads", "resume")
    assert (ran.code, ran.out, ran.err) == (0, "", "no upload stopped half-way: there is nothing to resume.\n")


def test_of_several_that_stopped_one_or_all_go_on(run: Run, stopped: Stopped) -> None:
    first, second, third = stopped("a", 1), stopped("b", 2), stopped("c", 3)
    refused = run("uploads", "resume")
    assert refused.code == 2
    assert all(upload in refused.err for upload in (first, second, third))
    assert [told["id"] for told in run("uploads", "resume", second, "--json").records] == [second]
    ran = run("uploads", "resume", "--all", "--json")
    assert ran.code == 0
    assert {told["id"] for told in ran.records} == {first, third}


def test_one_whose_file_is_gone_says_so(run: Run, stopped: Stopped, tmp_path: Path) -> None:
    stopped()
    (tmp_path / "train.jsonl").unlink()
    ran = run("uploads", "resume")
    assert ran.code == 2
    assert "train.jsonl: No such file" in ran.err


def test_one_for_another_server_is_refused(run: Run, stopped: Stopped, server: LocalServer) -> None:
    upload = stopped()
    ran = run("uploads", "cancel", upload, "--base-url", server.url.replace("/v1", "/v2"))
    assert ran.code == 2
    assert f"{upload} was started with the base URL {server.url}, but the base URL is now" in ran.err
    assert f"Nothing was sent. Set base_url= (--base-url, OPENAI_BASE_URL) to {server.url}." in ran.err


def test_one_is_cancelled_on_the_server_and_then_settled(run: Run, stopped: Stopped, server: LocalServer) -> None:
    upload = stopped()
    ran = run("uploads", "cancel", upload)
    assert (ran.code, ran.out) == (0, f"{upload}: cancelled\n")
    assert server.uploads[-1].status == "cancelled"
    [told] = run("uploads", "list", "--all", "--json").records
    assert told["state"] == "cancelled"
    again = run("uploads", "resume", upload)
    assert again.code == 2
    assert "is cancelled: there is nothing to resume" in again.err


def test_cancel_tells_the_upload_as_json(run: Run, stopped: Stopped) -> None:
    upload = stopped()
    [told] = run("uploads", "cancel", upload, "--json").records
    assert (told["id"], told["object"], told["status"]) == (upload, "upload", "cancelled")


def test_what_is_being_sent_is_said_with_its_process_and_cant_be_cancelled(
    start: Start, run: Run, make_file: MakeFile, tmp_path: Path
) -> None:
    make_file()
    process = start("upload", "train.jsonl", "--purpose", "batch", "--limit-rate", "200KB", "--progress", "none")
    deadline = time.monotonic() + 10
    while not (listed := run("uploads", "list", "--json").records) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert listed[0]["pid"] == process.pid
    assert f"sending ({process.pid})" in run("uploads", "list").out
    ran = run("uploads", "cancel", listed[0]["id"])
    assert ran.code == 75
    assert ran.err.startswith(f"error: process {process.pid} on ")
    assert ran.err.endswith(
        " is sending this file: stop it first (Ctrl-C there), then repeat the command. "
        "Nothing was sent by this command.\n"
    )
    assert run("uploads", "resume").err == (
        "no upload stopped half-way: there is nothing to resume. "
        f"Process {process.pid} is sending {tmp_path / 'train.jsonl'}.\n"
    )
    ran = run("upload", "train.jsonl", "--purpose", "batch", "--on-busy", "fail", "--json")
    assert ran.code == 75
    assert "then repeat the command, or wait for its result with --on-busy wait. Nothing" in ran.err
    assert "on_busy" not in ran.err + ran.out


def test_what_nobody_can_use_any_more_is_forgotten(run: Run, stopped: Stopped) -> None:
    stopped()
    ran = run("uploads", "prune")
    assert (ran.code, ran.out) == (0, "0 uploads removed from the journal\n")
    assert run("uploads", "prune", "--json").records == [{"forgotten": 0, "ids": []}]
    assert run("uploads", "prune", "--quiet").out == ""


def test_what_is_forgotten_is_named_and_what_was_never_sent_is_not_counted(
    run: Run, stopped: Stopped, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    upload = stopped()
    (tmp_path / "journal" / "uploads" / ("0" * 32)).mkdir()  # as a create that was never answered leaves it
    later = time.time() + 2 * 86400
    environment.setattr(time, "time", lambda: later)
    ran = run("uploads", "prune")
    assert ran.out == f"1 upload removed from the journal:\n  {upload}  expired  {tmp_path / 'train.jsonl'}\n"
    assert run("uploads", "list", "--all", "--json").records == []


def test_a_journal_that_cant_be_read_is_said(run: Run, make_file: MakeFile) -> None:
    path = make_file(10)
    ran = run("uploads", "list", "--journal", path)
    assert ran.code == 2
    assert "journal" in ran.err
