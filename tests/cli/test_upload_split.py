"""`upload --split` cuts what is too large for a batch; `--wait` and `files wait` wait until files are processed."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any, cast

import pytest

from asyncsdk import SourceChangedError, UploadJob
from asyncsdk.cli.uploads import splitting, upload
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads.jsonl import cutting
from tests.cli.support import Run, Start

BATCH = ("-p", "batch", "--split")


def requests(path: Path, count: int, *, size: int = 100, first: int = 0) -> bytes:
    lines = [
        {"custom_id": f"r-{n}", "method": "POST", "url": "/v1/responses", "body": {"model": "m", "input": "x" * size}}
        for n in range(first, first + count)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path.read_bytes()


@pytest.fixture(autouse=True)
def small_limits(environment: pytest.MonkeyPatch) -> None:
    """A piece has 10 lines."""
    environment.setattr(splitting, "LineCutter", lambda: cutting.LineCutter(most=10))


def stored(server: LocalServer) -> dict[str, bytes]:
    return {file.filename: server.stored(file.id).read_bytes() for file in server.files}


def test_each_piece_is_an_upload_of_its_own(run: Run, server: LocalServer, tmp_path: Path) -> None:
    content = requests(tmp_path / "a.jsonl", 25)
    ran = run("upload", "a.jsonl", *BATCH, "--json")
    assert ran.code == 0
    names = [f"a-{number}-of-3.jsonl" for number in (1, 2, 3)]
    assert sorted(record["source"] for record in ran.records) == names
    files = stored(server)
    assert sorted(files) == names
    assert b"".join(files[name] for name in names) == content
    assert [len(files[name].splitlines()) for name in names] == [10, 10, 5]
    again = run("upload", "a.jsonl", *BATCH, "--quiet")
    assert again.code == 0
    assert len(again.out.split()) == 3
    assert len(server.files) == 3


def test_what_is_within_the_limits_goes_as_it_is(run: Run, server: LocalServer, tmp_path: Path) -> None:
    requests(tmp_path / "a.jsonl", 10)
    assert run("upload", "a.jsonl", *BATCH).code == 0
    assert list(stored(server)) == ["a.jsonl"]


def test_all_are_looked_at_before_the_first_is_sent(run: Run, server: LocalServer, tmp_path: Path) -> None:
    requests(tmp_path / "a.jsonl", 25)
    content = requests(tmp_path / "b.jsonl", 35)
    (tmp_path / "b.jsonl").write_bytes(content + content.splitlines()[0])
    ran = run("upload", "a.jsonl", "b.jsonl", *BATCH)
    assert ran.code == 2
    assert "b.jsonl is not a file that a batch takes:\n  line 36: custom_id 'r-0' is in line 1 too" in ran.err
    assert not server.calls
    assert run("upload", "b.jsonl", *BATCH, "--check", "none").code == 0
    assert len(server.files) == 4


def test_in_a_directory_only_the_bad_one_is_left_out(run: Run, server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    requests(tmp_path / "d" / "a.jsonl", 12)
    (tmp_path / "d" / "b.jsonl").write_text("no json\n")
    ran = run("upload", "d", *BATCH)
    assert ran.code == 3
    assert "line 1: it is not JSON" in ran.err
    assert sorted(stored(server)) == ["a-1-of-2.jsonl", "a-2-of-2.jsonl"]


def test_one_name_and_one_key_are_for_all_pieces(run: Run, server: LocalServer, tmp_path: Path) -> None:
    content = requests(tmp_path / "a.jsonl", 25)
    assert run("upload", "a.jsonl", *BATCH, "--filename", "job.jsonl", "--key", "job 7").code == 0
    (tmp_path / "moved.jsonl").write_bytes(content)
    assert run("upload", "moved.jsonl", *BATCH, "--filename", "job.jsonl", "--key", "job 7").code == 0
    assert sorted(stored(server)) == ["job-1-of-3.jsonl", "job-2-of-3.jsonl", "job-3-of-3.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.jsonl", "-p", "fine-tune"), "--split is for --purpose batch, not fine-tune"),
        (("https://example.org/a.jsonl", "-p", "batch"), "--split is for files on this machine"),
    ],
)
def test_where_there_is_nothing_to_split_it_is_refused(
    run: Run, server: LocalServer, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    requests(tmp_path / "a.jsonl", 25)
    ran = run("upload", *arguments, "--split")
    assert ran.code == 2
    assert said in ran.err
    assert not server.calls


def test_a_file_that_changes_while_it_is_sent_makes_no_file_of_two_halves(
    run: Run, server: LocalServer, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    requests(tmp_path / "a.jsonl", 25)
    for module, name, code in ((splitting, "split_all", 2), (upload, "check_all", 75)):
        looked = getattr(module, name)

        async def then_change(*given: Any, looked: Any = looked, **options: Any) -> Any:
            result = await looked(*given, **options)
            requests(tmp_path / "a.jsonl", 25, first=1000)
            return result

        environment.setattr(module, name, then_change)
        ran = run("upload", "a.jsonl", *BATCH)
        environment.setattr(module, name, looked)
        assert ran.code == code
        assert "changed after it was looked at" in ran.err
        assert not server.files
    assert run("upload", "a.jsonl", *BATCH).code == 0
    assert all(b"r-10" in content for content in stored(server).values())
    assert len(server.files) == 3


def test_killed_in_the_middle_the_same_command_sends_what_is_missing(
    start: Start, run: Run, server: LocalServer, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.undo()  # the program of its own has the real limits
    for name, value in (("OPENAI_API_KEY", "sk-test"), ("OPENAI_BASE_URL", server.url)):
        environment.setenv(name, value)
    environment.setenv("ASYNCSDK_JOURNAL", str(tmp_path / "journal"))
    content = requests(tmp_path / "a.jsonl", 60_000, size=200)
    command = ("upload", tmp_path / "a.jsonl", *BATCH, "--part-size", "1MiB", "-c", "2")
    server.inject(Fault("part", "stall", nth=8, every=1))  # no piece is complete before the kill
    process = start(*command, "--limit-rate", "8MB/s")
    until = time.monotonic() + 20
    while server.calls.get("part", 0) < 6 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    server.clear_faults()
    assert not server.files
    assert "a piece of --split or with --key" in run("uploads", "resume", "--all").err
    ran = run(*command, "--json")
    assert ran.code == 0
    assert any(record.get("bytes_resumed") for record in ran.records)
    files = stored(server)
    assert b"".join(files[name] for name in sorted(files)) == content
    assert [len(files[name].splitlines()) for name in sorted(files)] == [50_000, 10_000]


def test_with_wait_it_ends_when_the_files_are_processed(
    run: Run, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    requests(tmp_path / "a.jsonl", 3)
    with LocalServer(processing_seconds=2) as slow:
        environment.setenv("OPENAI_BASE_URL", slow.url)
        assert run("upload", "a.jsonl", "-p", "batch", "--wait").code == 0
        assert slow.calls["files.get"] >= 2
        [file] = slow.files
        assert run("files", "wait", file.id).out == f"{file.id}: processed\n"


def test_one_that_can_not_be_processed_is_reported_with_the_reason(
    run: Run, server: LocalServer, tmp_path: Path
) -> None:
    requests(tmp_path / "a.jsonl", 3)
    broken = {"id": "file-1", "status": "error", "status_details": "Line 3 has no body."}
    server.inject(Fault("files.get", "answer", "before", status=200, body=broken))
    ran = run("files", "wait", "file-1", "file-unknown", "--json")
    assert ran.code == 1
    assert "error: file-1: the server could not process file-1: Line 3 has no body." in ran.err
    assert [record["error"]["type"] for record in ran.records] == ["FileProcessingError", "NotFoundError"]


def test_one_that_takes_too_long_is_75(run: Run, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    requests(tmp_path / "a.jsonl", 3)
    with LocalServer(processing_seconds=60) as slow:
        environment.setenv("OPENAI_BASE_URL", slow.url)
        name = run("upload", "a.jsonl", "-p", "batch", "-q").out.strip()
        ran = run("files", "wait", name, "--timeout", "1s")
    assert ran.code == 75
    assert "within 1 s (its status is uploaded). The file is there: wait for it again." in ran.err


def test_while_it_waits_it_says_so(run: Run, tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    requests(tmp_path / "a.jsonl", 3)
    with LocalServer(processing_seconds=2) as slow:
        environment.setenv("OPENAI_BASE_URL", slow.url)
        ran = run("upload", "a.jsonl", "-p", "batch", "--wait", "--progress", "lines")
    assert "the server is processing it" in ran.err
    assert ran.code == 0


def test_a_file_that_is_there_and_can_not_be_processed_is_in_the_record(
    run: Run, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    requests(tmp_path / "a.jsonl", 3)
    with LocalServer(processing_seconds=60) as slow:
        environment.setenv("OPENAI_BASE_URL", slow.url)
        name = run("upload", "a.jsonl", "-p", "batch", "-q").out.strip()
        broken = {"id": name, "object": "file", "status": "error", "status_details": "No page."}
        slow.inject(Fault("files.get", "answer", "before", status=200, body=broken, every=1))
        ran = run("upload", "a.jsonl", "-p", "batch", "--wait", "--json")
        [record] = ran.records
        assert (ran.code, len(slow.files)) == (1, 1)
        assert f"could not process {name}: No page. The file is there" in ran.err
    assert (record["file"]["id"], record["error"]["type"]) == (name, "FileProcessingError")


def test_what_changed_in_its_place_is_sent_again_alone(run: Run, server: LocalServer, tmp_path: Path) -> None:
    content = requests(tmp_path / "a.jsonl", 25)
    assert run("upload", "a.jsonl", *BATCH).code == 0
    changed = content.replace(b"x", b"y", 1)
    (tmp_path / "a.jsonl").write_bytes(changed)
    ran = run("upload", "a.jsonl", *BATCH)
    assert ran.code == 0
    assert "2 of them there before" in ran.err
    first = [server.stored(file.id).read_bytes() for file in server.files if file.filename == "a-1-of-3.jsonl"]
    assert sorted(first) == sorted(b"".join(each.splitlines(keepends=True)[:10]) for each in (content, changed))


def test_a_piece_takes_the_place_of_no_other_file(run: Run, server: LocalServer, tmp_path: Path) -> None:
    requests(tmp_path / "a.jsonl", 25)
    requests(tmp_path / "a-2-of-3.jsonl", 5, first=100)
    for order in (("a.jsonl", "a-2-of-3.jsonl"), ("a-2-of-3.jsonl", "a.jsonl")):
        ran = run("upload", *order, *BATCH)
        assert ran.code == 2
        assert "a piece of a.jsonl would be called a-2-of-3.jsonl, which is another file of this command" in ran.err
    assert not server.calls


def test_a_pipe_is_not_waited_for(run: Run, server: LocalServer, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    ran = run("upload", "a.jsonl", *BATCH)
    assert ran.code == 2
    assert "not a regular file" in ran.err
    assert not server.calls


def test_a_change_while_it_is_read_is_seen_too(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    content = requests(path, 25)
    jobs = splitting.pieces_of("a.jsonl", UploadJob(source=path, purpose="batch"))
    _, piece = cast("tuple[str, splitting.FileSlice]", jobs["a-1-of-3.jsonl"].source)
    assert piece.read(10) == content[:10]
    fstat = os.fstat

    def then_change(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        requests(path, 25, first=1000)
        return status

    environment.setattr(splitting.os, "fstat", then_change)  # type: ignore[attr-defined]  # it is imported there
    with pytest.raises(SourceChangedError):
        piece.read(10)


def test_a_file_that_is_given_twice_is_sent_once(run: Run, server: LocalServer, tmp_path: Path) -> None:
    requests(tmp_path / "a.jsonl", 25)
    assert run("upload", "a.jsonl", "./a.jsonl", *BATCH).code == 0
    assert sorted(stored(server)) == ["a-1-of-3.jsonl", "a-2-of-3.jsonl", "a-3-of-3.jsonl"]
    assert len(server.files) == 3


def test_with_a_wrong_key_wait_does_not_ask_for_each_file(run: Run, tmp_path: Path) -> None:
    with LocalServer(tmp_path / "locked", api_key="another") as locked:
        ran = run("files", "wait", *(f"file-{number}" for number in range(200)), "--base-url", locked.url)
        assert ran.code == 1
        assert ran.err.count("401") == 1
        assert locked.calls["files.get"] <= 16
