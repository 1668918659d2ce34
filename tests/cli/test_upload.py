"""`asyncsdk upload`: what it sends, what it says, how it goes on."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from asyncsdk import Client
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads.call import UploadCall
from asyncsdk.uploads.journal import Owner
from tests.cli.support import MakeFile, Run, Start
from tests.faults.leaving import stopwatch
from tests.raw_server import QUICK

MIB = 1 << 20


@pytest.fixture(autouse=True)
def no_fault_left(server: LocalServer) -> Iterator[None]:
    yield
    server.assert_all_met()
    server.clear_faults()


def test_a_file_goes_up_and_the_same_command_then_sends_nothing(
    run: Run, server: LocalServer, make_file: MakeFile
) -> None:
    path = make_file()
    first = run("upload", "train.jsonl", "--purpose", "fine-tune")
    file = server.files[-1]
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith(f"train.jsonl: {file.id}, 3.1 MB, in ")
    assert server.stored(file.id).read_bytes() == path.read_bytes()
    before = server.bytes_received
    again = run("upload", "train.jsonl", "--purpose", "fine-tune")
    assert (again.code, again.out) == (0, f"train.jsonl: {file.id}, uploaded before; nothing was sent\n")
    assert server.bytes_received == before


def test_json_is_the_upload_with_its_file_and_what_became_of_the_source(
    run: Run, server: LocalServer, make_file: MakeFile
) -> None:
    path = make_file()
    [told] = run("upload", path, "--purpose", "batch", "--json").records
    assert told["object"] == "upload"
    assert told["status"] == "completed"
    assert told["bytes"] == path.stat().st_size
    assert told["file"]["id"] == server.files[-1].id
    assert told["source"] == str(path)
    assert told["md5"] == hashlib.md5(path.read_bytes()).hexdigest()
    assert (told["bytes_sent"], told["bytes_resumed"]) == (path.stat().st_size, 0)
    assert (told["reused"], told["error"]) == (False, None)
    [again] = run("upload", path, "--purpose", "batch", "--json").records
    assert (again["reused"], again["id"], again["bytes_sent"]) == (True, told["id"], 0)


def test_quiet_is_the_ids_of_the_files_alone(run: Run, server: LocalServer, make_file: MakeFile) -> None:
    make_file()
    ran = run("upload", "train.jsonl", "--purpose", "batch", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, f"{server.files[-1].id}\n", "")


@pytest.mark.parametrize(("option", "connections"), [([], 8), (["-c", "auto"], 8), (["--concurrency", "3"], 3)])
def test_without_a_number_as_many_parts_are_in_flight_as_pay(
    run: Run, make_file: MakeFile, option: list[str], connections: int
) -> None:
    make_file()
    ran = run("upload", "train.jsonl", "--purpose", "batch", "--progress", "json", *option)
    assert json.loads(ran.err.splitlines()[-1])["connections"] == connections


def test_options_reach_the_server(run: Run, server: LocalServer, make_file: MakeFile) -> None:
    make_file()
    said = "--purpose user_data --filename other.txt --mime-type text/x-test --expires-after 2h --md5 base64"
    how = "--part-size 1MiB --concurrency 2 --limit-rate 100MB --no-lock --journal elsewhere --stall-timeout 1m"
    where = "--query a=b=c --header X-Test:yes --auth api-key --max-retries 7"
    ran = run("upload", "train.jsonl", *f"{said} {how} {where}".split())
    assert ran.code == 0
    file = server.files[-1]
    assert (file.filename, file.purpose) == ("other.txt", "user_data")
    assert file.expires_at == file.created_at + 7200
    parts = [
        record for record in server.requests if record.upload_id == server.uploads[-1].id and record.route == "part"
    ]
    assert len(parts) == 4
    assert parts[0].headers["x-test"] == "yes"
    assert Path("elsewhere").is_dir()


def test_several_files_have_a_line_each_and_one_that_is_given_twice_goes_once(
    run: Run, server: LocalServer, make_file: MakeFile
) -> None:
    names = [make_file(1000 + number, f"{number}/same.jsonl", number) for number in range(3)]
    before = len(server.files)
    ran = run("upload", *names, names[0], "--purpose", "batch", "--json")
    assert ran.code == 0
    assert sorted(record["source"] for record in ran.records) == sorted(map(str, names))
    assert len(server.files) == before + 3
    assert re.fullmatch(r"3 files, 3\.0 kB in \d+\.\d s\n", ran.err)


def test_the_last_line_counts_what_was_there_before_and_what_failed(
    run: Run, server: LocalServer, make_file: MakeFile
) -> None:
    names = [make_file(1000 + number, f"{number}.jsonl", number) for number in range(4)]
    run("upload", *names[:2], "--purpose", "batch")
    server.inject(Fault("create", "answer", status=403))
    ran = run("upload", *names, "--purpose", "batch", "--concurrency", "1")
    assert ran.code == 3
    assert re.fullmatch(r"4 files, 1\.0 kB in \d\.\d s, 2 of them there before, 1 failed", ran.err.splitlines()[-1])
    assert run("upload", *names[:2], "--purpose", "batch", "--quiet").err == ""


def test_a_renamed_file_goes_on_and_its_name_on_the_server_is_said(
    run: Run, server: LocalServer, make_file: MakeFile
) -> None:
    path = make_file(9 * MIB)
    options = ["--purpose", "batch", "--part-size", "1MiB", "--concurrency", "1"]
    server.inject(Fault("part", "answer", status=429, nth=6, headers={"Retry-After": "86400"}))
    assert run("upload", path, *options).code == 75
    path.rename("final.jsonl")
    ran = run("upload", "final.jsonl", *options, "--progress", "lines")
    assert ran.code == 0
    assert "goes on with the upload of train.jsonl; the file keeps the name train.jsonl on the server\n" in ran.err
    file = server.files[-1].id
    assert ran.out.startswith(f"final.jsonl: {file}, 9.4 MB, 5.2 MB of it by earlier runs, in ")
    assert ran.out.endswith("; its name on the server is train.jsonl\n")
    again = run("upload", "final.jsonl", *options)
    said = "uploaded before; nothing was sent; its name on the server is train.jsonl"
    assert again.out == f"final.jsonl: {file}, {said}\n"


def test_where_some_of_several_fail_the_others_go_on(run: Run, server: LocalServer, make_file: MakeFile) -> None:
    make_file(1000, "a"), make_file(1001, "b", 2)
    server.inject(Fault("create", "answer", status=403))
    ran = run("upload", "a", "b", "--purpose", "batch", "--json", "--concurrency", "1")
    assert ran.code == 3
    bad, good = ran.records
    assert (good["source"], good["error"]) == ("b", None)
    error = bad["error"]
    assert sorted(error) == ["advice", "code", "message", "request_id", "resumable", "status_code", "type"]
    assert (error["type"], error["status_code"], error["resumable"]) == ("PermissionDeniedError", 403, False)
    assert error["request_id"]
    assert (bad["source"], bad["id"], bad["file"], bad["md5"], bad["reused"]) == ("a", None, None, None, False)
    assert "403" in ran.err


def test_a_wrong_key_is_exit_1_and_the_servers_words_are_kept(
    run: Run, server: LocalServer, make_file: MakeFile
) -> None:
    make_file(1000)
    refusal = {"error": {"message": "Incorrect API key provided.", "type": "invalid_request_error", "code": "bad_key"}}
    server.inject(Fault("create", "answer", status=401, body=refusal))
    ran = run("upload", "train.jsonl", "--purpose", "batch")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: train.jsonl: ")
    assert "Incorrect API key provided." in ran.err
    assert "sk-test" not in ran.err


def test_where_nobody_listens_it_is_exit_75_and_says_so(
    run: Run, make_file: MakeFile, environment: pytest.MonkeyPatch
) -> None:
    make_file(1000)
    environment.setattr("asyncsdk.cli.connect.Client", partial(Client, timing=QUICK))
    with socket.socket() as deaf:  # a port that nobody else can take meanwhile
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        ran = run("upload", "train.jsonl", "--purpose", "batch", "--base-url", f"http://127.0.0.1:{port}/v1")
    assert ran.code == 75
    assert f"can't connect to 127.0.0.1:{port}" in ran.err
    assert "The same command tries again." in ran.err


def test_a_failure_half_way_keeps_what_was_sent_and_the_same_command_sends_the_rest(
    run: Run, server: LocalServer, make_file: MakeFile
) -> None:
    path = make_file()
    command = ["upload", "train.jsonl", "--purpose", "batch", "--part-size", "1MiB", "--concurrency", "1", "--json"]
    server.inject(Fault("part", "answer", status=429, nth=3, headers={"Retry-After": "86400"}))
    stopped = run(*command)
    assert stopped.code == 75
    assert (
        "train.jsonl: stopped at 2.1 of 3.1 MB, too many requests for now (429), and the server asks to wait 86400 s. "
        "What is sent is kept"
    ) in stopped.err
    assert "The same command goes on: 1.0 MB" in stopped.err
    [told] = stopped.records
    assert (told["bytes_sent"], told["error"]["type"], told["error"]["resumable"]) == (2 * MIB, "RateLimitError", True)
    done = run(*command)
    [told] = done.records
    assert (done.code, told["bytes_resumed"], told["bytes_sent"]) == (0, 2 * MIB, MIB + 1)
    assert server.stored(told["file"]["id"]).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("fault", [Fault("part", "expire", nth=3), Fault("complete", "expire")], ids=str)
def test_an_upload_that_the_server_drops_is_exit_75_and_the_same_command_sends_it_again(
    run: Run, server: LocalServer, make_file: MakeFile, fault: Fault
) -> None:
    path = make_file()
    command = ["upload", "train.jsonl", "--purpose", "batch", "--part-size", "1MiB", "--concurrency", "1"]
    server.inject(fault)
    ran = run(*command)
    upload = server.uploads[-1].id
    assert (ran.code, ran.out) == (75, "")
    assert ran.err == (
        f"error: train.jsonl: the upload is gone on the server (400: Upload {upload} is expired, not pending.). "
        "The same command sends the file again.\n"
    )
    [listed] = run("uploads", "list", "--all", "--json").records
    assert (listed["id"], listed["state"]) == (upload, "expired")
    assert run("uploads", "resume").err == "no upload stopped half-way: there is nothing to resume.\n"
    [told] = run(*command, "--json").records
    assert told["bytes_resumed"] == 0
    assert server.stored(told["file"]["id"]).read_bytes() == path.read_bytes()


def test_a_key_of_ones_own_resumes_from_another_path(run: Run, server: LocalServer, make_file: MakeFile) -> None:
    path = make_file()
    options = ["--purpose", "batch", "--part-size", "1MiB", "--concurrency", "1", "--key", "train-v7", "--json"]
    server.inject(Fault("part", "answer", status=400, nth=3))
    assert run("upload", path, *options, "--filename", "train.jsonl").code == 1
    moved = path.rename(path.with_name("moved.jsonl"))
    [told] = run("upload", moved, *options, "--filename", "train.jsonl").records
    assert told["bytes_resumed"] == 2 * MIB


def test_requests_go_through_the_proxy_that_was_named(run: Run, server: LocalServer, make_file: MakeFile) -> None:
    make_file(1000)
    proxy = server.url.removesuffix("/v1")  # our server is one that refuses, in its own words
    where = ["--base-url", "http://api.invalid/v1", "--proxy", proxy, "--max-retries", "0"]
    ran = run("upload", "train.jsonl", "--purpose", "batch", *where)
    assert "This server is not known by that name." in ran.err


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--journal=memory", "in memory only: the same command starts from the beginning"),
        ("--no-resume", "Without --no-resume"),
    ],
)
def test_where_the_same_command_would_not_go_on_it_is_not_promised(
    run: Run, server: LocalServer, make_file: MakeFile, option: str, said: str
) -> None:
    make_file()
    server.inject(Fault("part", "answer", status=429, nth=2, headers={"Retry-After": "86400"}))
    ran = run("upload", "train.jsonl", "--purpose", "batch", "--part-size=1MiB", "--concurrency=1", option)
    assert ran.code == 75
    assert said in ran.err
    assert "goes on: " not in ran.err


def test_the_advice_on_a_refused_complete_names_the_option_alone(
    run: Run, server: LocalServer, make_file: MakeFile
) -> None:
    make_file()
    server.inject(Fault("complete", "answer", "before", status=400))
    ran = run("upload", "train.jsonl", "--purpose", "batch")
    assert ran.code == 1
    assert "If complete is refused again, --no-resume leaves them behind and sends the file again." in ran.err
    assert "resume=" not in ran.err


def test_where_no_home_can_be_written_it_is_sent_with_one_warning_and_no_promise(
    run: Run, server: LocalServer, make_file: MakeFile, environment: pytest.MonkeyPatch
) -> None:
    environment.delenv("ASYNCSDK_JOURNAL")
    environment.setenv("XDG_STATE_HOME", "/dev/null/state")
    make_file()
    warning = (
        "warning: no journal can be kept in /dev/null/state/asyncsdk: if this stops, it starts from zero. "
        "Set ASYNCSDK_JOURNAL to a directory that can be written.\n"
    )
    command = ["upload", "train.jsonl", "--purpose", "batch", "--part-size=1MiB", "--concurrency=1", "--progress=none"]
    ran = run(*command)
    assert (ran.code, ran.err) == (0, warning)
    environment.setattr("asyncsdk.uploads.journal.file._in_memory", {})  # a program of its own has one of its own
    server.inject(Fault("part", "answer", status=403, nth=2))
    ran = run(*command, "--json")
    assert ran.code == 1
    assert ran.err.startswith(warning)
    advice = "The journal is in memory only: the same command starts from the beginning."
    assert ran.err.endswith(f"\n  {advice}\n")
    assert ran.records[0]["error"]["advice"] == advice


@pytest.mark.parametrize("variable", [False, True])
def test_a_journal_that_was_named_and_cant_be_kept_is_refused_before_anything_is_sent(
    run: Run, make_file: MakeFile, environment: pytest.MonkeyPatch, calls: Callable[[], int], *, variable: bool
) -> None:
    make_file(1000)
    if variable:
        environment.setenv("ASYNCSDK_JOURNAL", "/dev/null/named")
    named = [] if variable else ["--journal", "/dev/null/named"]
    ran = run("upload", "train.jsonl", "--purpose", "batch", *named)
    assert (ran.code, calls()) == (2, 0)
    assert "can't create the journal in /dev/null/named (" in ran.err
    assert "warning" not in ran.err


def test_a_full_disk_before_anything_is_sent_is_exit_75_and_what_to_do_is_said_once(
    run: Run, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch, calls: Callable[[], int], tmp_path: Path
) -> None:
    make_file(1000)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("asyncsdk.wal.disk.make_directory", full)
    ran = run("upload", "train.jsonl", "--purpose", "batch")
    assert (ran.code, calls()) == (75, 0)
    assert ran.err.splitlines() == [
        (
            f"error: train.jsonl: can't create the journal in {tmp_path / 'journal'} (No space left on device). "
            "Nothing was sent."
        ),
        "  Make room, then the same command goes on; or name another directory (--journal, ASYNCSDK_JOURNAL).",
    ]


def test_a_fault_that_passes_is_not_worth_a_word_unless_progress_is_shown(
    run: Run, server: LocalServer, make_file: MakeFile
) -> None:
    make_file(1000)
    faults = [Fault(route, "answer", status=500, headers={"Retry-After": "0"}) for route in ("create", "part")]
    server.inject(*faults)
    ran = run("upload", "train.jsonl", "--purpose", "batch", "--progress", "none")
    assert (ran.code, ran.err) == (0, "")
    server.inject(*faults)
    ran = run("upload", "train.jsonl", "--purpose", "vision")
    assert ran.code == 0
    assert "500" in ran.err


def test_a_line_that_accepts_and_resets_has_one_line_at_its_start_and_one_once_a_part_is_answered(
    run: Run, server: LocalServer, make_file: MakeFile
) -> None:
    make_file()
    server.inject(Fault("part", "reset", at="in", nth=2, every=1, times=3))
    ran = run("upload", "train.jsonl", "--purpose", "batch", "--part-size", "1MiB", "--concurrency", "1")
    assert ran.code == 0
    begins, ends = ran.err.splitlines()
    assert re.match(r"train\.jsonl: 1\.0 of 3\.1 MB, 33%, no connection; trying again (at once|in \d s), ", begins)
    assert ends == "train.jsonl: 2.1 of 3.1 MB, 66%, going on"


def test_a_large_file_that_was_sent_with_other_options_is_said_to_be_sent_again(run: Run, make_file: MakeFile) -> None:
    make_file(9 * MIB)
    first = run("upload", "train.jsonl", "--purpose", "batch", "--quiet").out.strip()
    ran = run("upload", "train.jsonl", "--purpose", "batch", "--expires-after", "2h")
    said = f"it was sent before as {first} with other options; sending it again"
    assert (ran.code, ran.err) == (0, f"train.jsonl: 0.0 of 9.4 MB, 0%, {said}\n")


def test_a_limit_without_a_unit_is_asked_about(run: Run, make_file: MakeFile, calls: Callable[[], int]) -> None:
    make_file(1000)
    ran = run("upload", "train.jsonl", "--purpose", "batch", "--limit-rate", "2")
    assert (ran.code, calls()) == (2, 0)
    said = "--limit-rate: 2 is 2 bytes a second; did you mean 2MB/s? If not, write 2B/s. Nothing was sent.\n"
    assert said in ran.err


def test_verbose_tells_of_requests_and_shows_no_key(run: Run, make_file: MakeFile) -> None:
    make_file(1000)
    ran = run("upload", "train.jsonl", "--purpose", "batch", "--verbose")
    assert ran.code == 0
    assert "DEBUG asyncsdk.uploads" in ran.err
    assert "sk-test" not in ran.err


def begin(start: Start, *more: str) -> subprocess.Popen[str]:
    """An upload under way: at least one part is in the journal."""
    slow = ["--part-size", "512KiB", "--limit-rate", "2MB", "--concurrency", "2", "--progress", "json"]
    process = start("upload", "train.jsonl", "--purpose", "batch", *slow, *more)
    assert process.stderr is not None
    for line in process.stderr:
        if json.loads(line)["bytes_done"]:
            return process
    raise AssertionError("it ended too soon")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_within_a_second_and_the_same_command_goes_on(
    start: Start, run: Run, server: LocalServer, make_file: MakeFile, number: signal.Signals
) -> None:
    path = make_file()
    process = begin(start, "--json")
    with stopwatch(process.pid) as watch:
        process.send_signal(number)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        assert watch.seconds < 1
    assert process.returncode == 128 + number
    words = [line for line in err.splitlines() if not line.startswith("{")]
    assert len(words) == 2
    assert "train.jsonl: stopped at " in words[0]
    assert "What is sent is kept until " in words[0]
    assert "  The same command goes on: " in words[1]
    interrupted = json.loads(out)
    assert interrupted["error"]["type"] == "Interrupted"
    [told] = run("upload", "train.jsonl", "--purpose", "batch", "--json").records
    assert told["bytes_resumed"] == interrupted["bytes_sent"] >= 512 * 1024
    assert told["bytes_resumed"] + told["bytes_sent"] == path.stat().st_size
    assert server.stored(told["file"]["id"]).read_bytes() == path.read_bytes()


def test_a_second_process_waits_for_the_first_and_takes_its_result(
    start: Start, run: Run, server: LocalServer, make_file: MakeFile, environment: pytest.MonkeyPatch
) -> None:
    make_file()
    process, is_busy = begin(start), UploadCall._busy  # noqa: SLF001 - what waits passes here
    process.send_signal(signal.SIGSTOP)  # or it might be done first, where the machine is busy
    busy = run("upload", "train.jsonl", "--purpose", "batch", "--on-busy", "fail")
    assert busy.code == 75
    assert f"process {process.pid} on " in busy.err
    before = len(server.files)

    def go_on(call: UploadCall, owner: Owner | None) -> None:
        is_busy(call, owner)
        process.send_signal(signal.SIGCONT)

    environment.setattr(UploadCall, "_busy", go_on)
    waited = run("upload", "train.jsonl", "--purpose", "batch", "--json")
    assert (waited.code, waited.records[0]["reused"]) == (0, True)
    assert f"process {process.pid} on " in waited.err
    process.communicate(timeout=10)
    assert process.returncode == 0
    assert len(server.files) == before + 1


def test_a_kill_loses_nothing_that_was_acknowledged(start: Start, run: Run, make_file: MakeFile) -> None:
    make_file()
    process = begin(start)
    process.kill()
    process.wait()
    [told] = run("upload", "train.jsonl", "--purpose", "batch", "--json").records
    assert told["bytes_resumed"] >= 512 * 1024


def test_nobody_reading_standard_output_is_no_failure(start: Start, server: LocalServer, make_file: MakeFile) -> None:
    make_file(1000, "a"), make_file(1001, "b", 2)
    reading, writing = os.pipe()
    os.close(reading)
    before = len(server.files)
    process = start("upload", "a", "b", "--purpose", "batch", stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert err.startswith("2 files, 2.0 kB in ")
    assert len(server.files) == before + 2


def test_a_purpose_that_is_nearly_one_is_warned_of_once_and_sent(
    run: Run, make_file: MakeFile, server: LocalServer
) -> None:
    ran = run("upload", make_file(10, "a.jsonl"), make_file(11, "b.jsonl"), "--purpose", "finetune")
    assert ran.err.count("warning: purpose 'finetune' is not one that we know; did you mean 'fine-tune'?") == 1
    assert server.calls["create"] == 2


def test_a_quoted_pattern_is_expanded_and_one_that_matches_nothing_is_refused(run: Run, make_file: MakeFile) -> None:
    for name in ("a.jsonl", "b.jsonl", "c.txt"):
        make_file(1000, name=name)
    ran = run("upload", "*.jsonl", "--purpose", "batch", "--json")
    assert sorted(record["source"] for record in ran.records) == ["a.jsonl", "b.jsonl"]
    ran = run("upload", "*.csv", "--purpose", "batch")
    assert (ran.code, ran.err.partition(".")[0]) == (2, "error: nothing matches *")


def test_a_file_goes_by_one_request_where_that_is_asked_for(run: Run, server: LocalServer, make_file: MakeFile) -> None:
    path = make_file(5000)
    before = server.calls.get("create", 0)
    [record] = run("upload", path, "-p", "batch", "--method", "files", "--json").records
    assert (record["id"], record["object"], record["status"]) == (None, "upload", "completed")
    assert (record["bytes"], record["filename"], record["purpose"]) == (5000, "train.jsonl", "batch")
    assert (record["duplicate_possible"], record["duplicates"], record["error"]) == (False, [], None)
    assert server.stored(record["file"]["id"]).read_bytes() == path.read_bytes()
    assert server.calls.get("create", 0) == before
    again = run("upload", path, "-p", "batch")
    assert again.out.endswith(f"{record['file']['id']}, uploaded before; nothing was sent\n")


@pytest.mark.parametrize(
    ("options", "requests"),
    [(["--method", "auto"], 1), (["--method", "auto", "--md5", "hex"], 0), (["--md5", "hex"], 0), ([], 0)],
)
def test_an_explicit_md5_keeps_auto_to_parts(
    run: Run, server: LocalServer, make_file: MakeFile, options: list[str], requests: int
) -> None:
    before = server.calls.get("files.create", 0)
    assert run("upload", make_file(5000), "-p", "batch", *options).code == 0
    assert server.calls.get("files.create", 0) - before == requests


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "note: 101 of these files are small: --method auto sends each by one request in place of three.\n"),
        (["--method", "auto"], ""),
        (["--md5", "hex"], ""),
        (["--quiet"], ""),
    ],
)
def test_many_small_files_are_worth_a_hint_once(run: Run, tmp_path: Path, options: list[str], said: str) -> None:
    (tmp_path / "small").mkdir()
    names = [f"small/{number}.txt" for number in range(101)]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    ran = run("upload", *names, "-p", "batch", *options)
    assert ran.code == 0
    assert "".join(line for line in ran.err.splitlines(keepends=True) if "note:" in line) == said


def test_a_file_that_one_request_can_not_carry_is_refused_in_words(
    run: Run, server: LocalServer, tmp_path: Path
) -> None:
    path = tmp_path / "large.bin"
    path.touch()
    os.truncate(path, (512 << 20) + 1)
    sent = server.bytes_received
    ran = run("upload", "large.bin", "-p", "batch", "--method", "files")
    assert (ran.code, server.bytes_received) == (2, sent)
    assert ran.err.startswith(
        "error: large.bin has 536,870,913 bytes; one request (--method files) takes at most 512 MiB"
    )
    assert "--method uploads or auto" in ran.err


def test_one_that_can_not_be_known_is_said_listed_and_found_by_the_same_command(
    run: Run, server: LocalServer, make_file: MakeFile
) -> None:
    path = make_file(5000)
    server.inject(Fault("files.create", "reset", "done"), Fault("files.content", "answer", "before", status=400))
    ran = run("upload", path, "-p", "batch", "--method", "files")
    file = server.files[-1]
    assert ran.code == 1
    assert file.id in ran.err
    assert "--if-uploaded again sends it again all the same" in ran.err
    [listed] = run("uploads", "list", "--json").records
    assert (listed["state"], listed["expires_at"], listed["source"]) == ("completing", None, str(path))
    refused = run("uploads", "cancel", listed["id"])
    assert refused.code == 2
    assert "was sent by one request, which can't be cancelled" in refused.err
    resumed = run("uploads", "resume", "--json")
    assert [record["file"]["id"] for record in resumed.records] == [file.id]


def test_a_limit_on_files_by_one_request_is_refused_where_none_is_sent_so(
    run: Run, server: LocalServer, make_file: MakeFile
) -> None:
    path, sent = make_file(100), server.bytes_received
    refused = run("upload", path, "-p", "batch", "--files-per-minute", "100")
    assert (refused.code, server.bytes_received) == (2, sent)
    assert refused.err.startswith("error: --files-per-minute is for files sent by one request: give --method auto ")
    assert run("upload", path, "-p", "batch", "--files-per-minute", "100", "--method", "auto").code == 0


@pytest.mark.parametrize("number", ["0", "1.5", "many"])
def test_a_limit_that_is_none_is_refused(run: Run, server: LocalServer, make_file: MakeFile, number: str) -> None:
    sent = server.bytes_received
    ran = run("upload", make_file(100), "-p", "batch", "--method", "files", "--files-per-minute", number)
    assert (ran.code, server.bytes_received) == (2, sent)
    assert "--files-per-minute" in ran.err
    assert "Nothing was sent" in ran.err
