"""`asyncsdk upload DIRECTORY`, and lists: what is in them goes up, and what does not is named, counted, and exit 3."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.cli.uploads import checks, transfer, upload
from asyncsdk.cli.uploads.transfer import UploadsView
from asyncsdk.events import Progress, UploadPhase
from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Run, Start, heed_signals

FOR = ("--purpose", "assistants")
LEFT = "It was left out, and nothing was sent for it."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three files at three depths."""
    for name in ("a.txt", "new/b.txt", "new/deep/c.md"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    return tmp_path / "data"


def sent(server: LocalServer) -> list[str]:
    return sorted(file.filename for file in server.files)


def test_all_files_below_a_directory_go_up_under_their_own_names_and_the_same_command_then_sends_nothing(
    run: Run, server: LocalServer, data: Path
) -> None:
    ran = run("upload", "data", *FOR, "--json")
    assert ran.code == 0
    assert sorted(record["source"] for record in ran.records) == ["data/a.txt", "data/new/b.txt", "data/new/deep/c.md"]
    assert sent(server) == ["a.txt", "b.txt", "c.md"]
    assert ran.err.startswith("3 files, ")
    again = run("upload", "data/", *FOR)
    assert (again.code, again.err) == (0, "3 files, nothing was sent, 3 of them there before\n")


def test_what_a_directory_holds_and_can_not_be_sent_is_named_and_the_rest_goes_up(
    run: Run, server: LocalServer, data: Path
) -> None:
    (data / "empty").touch()
    (data / "linked").symlink_to("new")
    (data / "gone").symlink_to("nowhere")
    os.mkfifo(data / "pipe")
    for name in (".hidden", "@eaDir/thumb.jpg", "#recycle/old.txt"):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text("x")
    ran = run("upload", "data", *FOR, "--json")
    assert (ran.code, sent(server)) == (3, ["a.txt", "b.txt", "c.md"])
    assert ran.err.splitlines()[:-1] == [
        f"error: data/gone: a broken link. {LEFT}",
        f"error: data/linked: a link to a folder, which is not followed. {LEFT}",
        f"error: data/pipe: neither a file nor a folder. {LEFT}",
        f"error: data/empty is empty; an upload needs at least one byte. {LEFT}",
        "Skipped: 1 hidden, 1 #recycle, 1 @eaDir (folders of the system)",
    ]
    assert ran.err.splitlines()[-1].endswith(", 4 left out")
    errors = {record["source"]: record["error"] for record in ran.records}
    assert [source for source, error in errors.items() if error] == [
        "data/gone",
        "data/linked",
        "data/pipe",
        "data/empty",
    ]
    assert errors["data/gone"]["type"] == "SourceError"
    assert errors["data/gone"]["message"] == f"data/gone: a broken link. {LEFT}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_rights_forbid_is_named(run: Run, data: Path) -> None:
    (data / "new").chmod(0)
    (data / "secret.txt").write_text("x")
    (data / "secret.txt").chmod(0)
    try:
        ran = run("upload", "data", *FOR)
    finally:
        (data / "new").chmod(0o700)
    assert ran.code == 3
    assert f"error: data/new: Permission denied. {LEFT}" in ran.err
    assert f"error: can't read data/secret.txt: Permission denied. {LEFT}" in ran.err


def test_a_folder_that_can_not_be_read_is_named_for_root_too(
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: Path) -> object:
        if os.fspath(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    ran = run("upload", "data", *FOR)
    assert (ran.code, ran.err.splitlines()[0]) == (3, f"error: data/new/deep: Permission denied. {LEFT}")


def test_of_much_that_is_left_out_a_person_gets_the_first_and_a_program_all(
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "MOST_NAMED", 2)
    for number in range(5):
        (data / f"z{number}").touch()
    ran = run("upload", "data", *FOR, "--json")
    assert (ran.code, sum(record["error"] is not None for record in ran.records)) == (3, 5)
    assert ran.err.count("is empty") == 2
    assert "error: 3 more were left out; --json lists all of them.\n" in ran.err


def test_patterns_choose_and_leave_out(run: Run, server: LocalServer, data: Path) -> None:
    (data / "empty.md").touch()
    assert run("upload", "data", *FOR, "--include", "*.txt", "--exclude", "new/").code == 0
    assert sent(server) == ["a.txt"]
    assert run("upload", "data", *FOR, "--include", "new/*.txt", "--include", "new/**/*.md").code == 0
    assert sent(server) == ["a.txt", "b.txt", "c.md"]
    ran = run("upload", "data", *FOR, "--include", "*.pdf")
    problem = "data contains no file that --include and --exclude let through"
    where = "A pattern with a slash is a path below the folder"
    assert (ran.code, ran.err) == (2, f"error: {problem}. {where}. Nothing was sent.\n")


def test_what_is_wrong_for_all_files_is_said_once(run: Run, server: LocalServer, data: Path) -> None:
    ran = run("upload", "data", "--purpose", " ")
    assert (ran.code, ran.err) == (2, "error: --purpose must be a non-empty string, not ' '. Nothing was sent.\n")
    assert not server.requests


@pytest.mark.parametrize("purpose", ["assistants", "odd"])
def test_no_file_is_begun_once_the_server_refused_what_all_have_in_common(
    run: Run, server: LocalServer, data: Path, purpose: str
) -> None:
    if purpose == "assistants":
        server.inject(Fault("create", "answer", status=401))
    ran = run("upload", "data", "--purpose", purpose, "--concurrency", "1", "--json")
    assert (ran.code, len(server.requests)) == (1, 1)
    assert ran.err.count("error: ") == 1
    assert "2 files not sent: all would be refused for the reason above.\n1 file, nothing was sent, 1 failed" in ran.err
    assert [record["error"]["type"] for record in ran.records[1:]] == ["NotSent", "NotSent"]


@pytest.mark.parametrize(("nth", "code"), [(1, "unsupported_file"), (2, "invalid_value")])
def test_a_file_that_does_not_go_with_the_purpose_holds_up_no_other(
    run: Run, server: LocalServer, data: Path, nth: int, code: str
) -> None:
    refusal = {"message": "The purpose 'vision' takes no text.", "type": "invalid_request_error"}
    body = {"error": refusal | {"param": "purpose", "code": code}}
    server.inject(Fault("create", "answer", status=400, body=body, nth=nth))
    ran = run("upload", "data", "--purpose", "vision", "--concurrency", "1")
    assert (ran.code, len(sent(server))) == (3, 2)
    assert "3 files, " in ran.err
    assert "not sent" not in ran.err


def test_linked_folders_are_followed_where_that_is_wanted_and_none_goes_up_twice(
    run: Run, server: LocalServer, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "d.txt").write_text("d")
    (data / "linked").symlink_to("../away")
    (data / "new" / "up").symlink_to("..")
    ran = run("upload", "data", *FOR, "--follow-links")
    assert (ran.code, sent(server)) == (0, ["a.txt", "b.txt", "c.md", "d.txt"])
    assert ran.err.startswith("Looked through once: 1 folder to which several ways lead: data/new/up\n")


def test_a_file_that_is_named_and_found_goes_up_once_and_one_that_is_named_and_bad_stops_all(
    run: Run, server: LocalServer, data: Path, calls: Callable[[], int]
) -> None:
    (data / "empty").touch()
    ran = run("upload", "data", "data/empty", *FOR)
    assert (ran.code, ran.err, calls()) == (
        2, "error: data/empty is empty; an upload needs at least one byte. Nothing was sent.\n", 0
    )  # fmt: skip
    assert run("upload", "data", "data/new", "data/a.txt", *FOR).code == 3
    assert sent(server) == ["a.txt", "b.txt", "c.md"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("data", "--filename", "x"), "--filename is for one file, but a directory or a list was given."),
        (("data", "data/new", "--key", "x"), "--key is for one file or one directory, but more was given."),
        (("--files-from", "list", "--key", "x"), "--key is for one file or one directory, but more was given."),
        (("data/a.txt", "--include", "*.txt"), "--include and --exclude are for what directories and lists hold, and"),
        (("data", "--include", "../x"), "--include and --exclude: a pattern is a name, or a path below the folder"),
        (("--files-from", "nowhere"), "--files-from nowhere: No such file or directory."),
        (("--files-from", "data"), "--files-from data: Is a directory."),
        (("--files-from", "blank"), "blank contains no file to send."),
        (("void",), "void contains no file to send."),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    run: Run, data: Path, calls: Callable[[], int], arguments: tuple[str, ...], said: str
) -> None:
    (data.parent / "void").mkdir()
    (data.parent / "list").write_text("data/a.txt\n")
    (data.parent / "blank").write_text("\n\n")
    ran = run("upload", *arguments, *FOR)
    assert (ran.code, ran.out, calls()) == (2, "", 0)
    assert ran.err.startswith(f"error: {said}")
    assert ran.err.endswith("Nothing was sent.\n")


@pytest.mark.parametrize("text", ["{}\n{}\n", "\ufeff{}\r\n\r\n{}\r\n", "{}\0{}\0"], ids=["lines", "Windows", "NUL"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_list_names_files_and_directories(
    run: Run, server: LocalServer, data: Path, text: str, encoding: str
) -> None:
    if encoding == "utf-16" and "\0" in text:
        pytest.skip("nobody writes that")
    (data.parent / "list").write_bytes(text.lstrip("\ufeff").format("data/a.txt", "data/new").encode(encoding))
    assert run("upload", "--files-from", "list", *FOR).code == 0
    assert sent(server) == ["a.txt", "b.txt", "c.md"]


def test_a_bad_line_of_a_list_is_named_with_its_number_and_the_others_go_up(
    run: Run, server: LocalServer, data: Path
) -> None:
    (data / "empty").touch()
    (data.parent / "list").write_text("data/a.txt\ndata/gone.txt\ns3://b/k?secret\n\ndata/empty\ndata/new/b.txt\n")
    ran = run("upload", "--files-from", "list", *FOR, "--json")
    assert (ran.code, sent(server)) == (3, ["a.txt", "b.txt"])
    lines = ran.err.splitlines()
    assert lines[1].startswith("error: s3://b/k can't be used: a ? ends its path.")
    assert lines[1].endswith(f" It is line 3 of list. {LEFT}")
    assert [lines[0], lines[2]] == [
        f"error: can't read data/gone.txt: No such file or directory. It is line 2 of list. {LEFT}",
        f"error: data/empty is empty; an upload needs at least one byte. It is line 5 of list. {LEFT}",
    ]
    assert "secret" not in ran.err + ran.out


def test_an_empty_standard_input_is_called_so(start: Start, data: Path, calls: Callable[[], int]) -> None:
    process = start("upload", "--files-from", "-", *FOR, stdin=subprocess.DEVNULL)
    assert (process.wait(30), calls()) == (2, 0)
    assert process.stderr is not None
    assert process.stderr.read() == "error: standard input contains no file to send. Nothing was sent.\n"


def test_a_list_comes_from_standard_input_too_and_patterns_hold_for_it(
    start: Start, server: LocalServer, data: Path
) -> None:
    command = [sys.executable, "-m", "asyncsdk", "upload", "--files-from", "-", "--exclude", "*.md", *FOR]
    listing = subprocess.run(["find", "data", "-type", "f", "-print0"], check=True, capture_output=True).stdout
    ran = subprocess.run(command, input=listing, capture_output=True, check=False)
    assert (ran.returncode, sent(server)) == (0, ["a.txt", "b.txt"]), ran.stderr


@pytest.mark.parametrize("seconds", [0.0, 0.05, 1.0])
def test_ctrl_c_ends_the_program_while_it_loads_and_while_it_waits_for_a_list(seconds: float) -> None:
    begin = "from asyncsdk.__main__ import main\nprint(flush=True)\nraise SystemExit(main())"
    command = [sys.executable, "-c", begin, "upload", "--files-from", "-", *FOR]
    options: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    options["preexec_fn"] = heed_signals
    with subprocess.Popen(command, **options) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) in {130, -signal.SIGINT}


def test_ctrl_c_in_the_moment_in_which_its_handler_is_changed_ends_the_program() -> None:
    change = "real = signal.signal\ndef late(*change):\n  os.kill(os.getpid(), signal.SIGINT)\n  return real(*change)"
    begin = f"import os, signal\n{change}\nsignal.signal = late\nfrom asyncsdk.__main__ import main\nmain()"
    ran = subprocess.run(
        [sys.executable, "-c", begin, "upload", "--files-from", "-", *FOR],
        stdin=subprocess.DEVNULL, preexec_fn=heed_signals, check=False, timeout=20,
    )  # fmt: skip
    assert ran.returncode == -signal.SIGINT


def test_a_terminal_is_not_a_list(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    ran = run("upload", "--files-from", "-", *FOR)
    assert (ran.code, ran.err) == (
        2, "error: --files-from -: standard input is not a list: pipe one into it. Nothing was sent.\n"
    )  # fmt: skip


def test_of_a_list_of_100_000_lines_each_file_goes_up_once_and_what_is_missing_is_counted(
    run: Run, server: LocalServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "MANY", 900)
    names = ["data/a.txt"] * 50_000 + [f"data/{number}.txt" for number in range(1000)] + ["data/new/b.txt"] * 49_000
    (data.parent / "list").write_text("\n".join(names))
    ran = run("upload", "--files-from", "list", *FOR)
    assert (ran.code, sent(server)) == (3, ["a.txt", "b.txt"])
    assert ran.err.startswith("Checking 1,002 files.\n")
    assert "data/0.txt: No such file or directory. It is line 50,001 of list. " in ran.err
    assert "error: 980 more were left out; --json lists all of them.\n" in ran.err
    assert ran.err.endswith(", 1,000 left out\n")


def test_the_journal_below_a_directory_is_not_sent(run: Run, server: LocalServer, data: Path) -> None:
    for _ in range(2):
        assert run("upload", "data", *FOR, "--journal", "data/journal").code == 0
    assert sent(server) == ["a.txt", "b.txt", "c.md"]


def test_where_one_of_what_was_found_fails_the_others_go_up(run: Run, server: LocalServer, data: Path) -> None:
    (data / "empty").touch()
    server.inject(Fault("create", "answer", status=403, at="done"))
    ran = run("upload", "data", *FOR, "--concurrency", "1")
    assert (ran.code, len(server.files)) == (3, 2)
    assert ran.err.splitlines()[-1].endswith(", 1 failed, 1 left out")


def test_of_many_files_the_total_alone_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_MANY", 2)
    under_way = Progress(state=UploadPhase.SENDING, source="a", bytes_total=10, bytes_done=4, upload_id="u")
    few, many = UploadsView({"a": 10, "b": 10}), UploadsView(dict.fromkeys("abc", 10))
    for view in (few, many):
        view.update("a", under_way)
    assert [line.partition(":")[0] for line in few.lines()] == ["a", "0 of 2 files"]
    assert [line.partition(":")[0] for line in many.lines()] == ["0 of 3 files"]
    many.end("a")
    many.end("b", failed=True)
    assert many.lines() == ["1 of 3 files: 10 of 20 bytes, 50%"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("list", b"\xff\xfe\n", "--files-from list: it begins as UTF-16, and is not."),
        (
            "s3://bucket/list?secret",
            None,
            "--files-from s3://bucket/list: it is a URL; a list is a file of this machine.",
        ),
    ],
)
def test_a_list_that_can_not_be_read_is_refused(
    run: Run, tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    ran = run("upload", "--files-from", name, *FOR)
    assert (ran.code, ran.err) == (2, f"error: {said} Nothing was sent.\n")


def test_a_journal_is_not_kept_in_a_directory_that_is_called_like_a_url(
    run: Run, server: LocalServer, data: Path, tmp_path: Path
) -> None:
    ran = run("upload", "data", *FOR, "--journal", "s3://bucket/journal")
    assert (ran.code, server.requests) == (2, [])
    assert (
        "can't use a place that begins with s3:. Nothing was sent.\n  It is a directory, memory, or postgresql://"
        in ran.err
    )
    assert not (tmp_path / "s3:").exists()


def test_a_folder_with_a_name_of_its_own_is_known_wherever_it_is(
    run: Run, server: LocalServer, data: Path, calls: Callable[[], int]
) -> None:
    assert run("upload", "data", "--key", "night", *FOR).code == 0
    there = sent(server)
    data.rename(data.parent / "mounted")
    moved = run("upload", "mounted", "--key", "night", "--json", *FOR)
    assert moved.code == 0
    assert {record["reused"] for record in moved.records} == {True}
    assert {record["by_others"] for record in moved.records} == {False}
    assert sent(server) == there
