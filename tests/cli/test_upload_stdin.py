"""`asyncsdk upload -`: what comes through a pipe, with its size and without; files by their path; terminals not."""

from __future__ import annotations

import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncsdk.server import Fault, LocalServer
from tests.cli.support import Start
from tests.faults.leaving import stopwatch

MIB = 1 << 20
CONTENT = random.Random(18).randbytes(3 * MIB + 17)
NAMED = ("--purpose", "assistants", "--filename", "a.bin")


def piped(*arguments: str, content: bytes = CONTENT) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "asyncsdk", "upload", *arguments]
    return subprocess.run(command, input=content, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("size", [(), ("--size", str(len(CONTENT)))])
@pytest.mark.parametrize("order", [("-", *NAMED), (*NAMED, "-"), ("--json", "-", *NAMED)])
def test_a_pipe_is_uploaded(server: LocalServer, size: tuple[str, ...], order: tuple[str, ...]) -> None:
    ran = piped(*order, *size)
    assert ran.returncode == 0, ran.stderr
    (file,) = server.files
    assert (file.filename, server.stored(file.id).read_bytes()) == ("a.bin", CONTENT)


def test_the_rows_of_a_pipe_are_called_as_they_were_typed(server: LocalServer) -> None:
    ran = piped("-", *NAMED, "--json", "--method", "auto")
    assert b'"source": "-"' in ran.stdout or b'"source":"-"' in ran.stdout
    assert len(server.files) == 1


def test_a_person_reads_the_name_that_was_given_for_a_pipe(server: LocalServer) -> None:
    ran = piped("-", *NAMED, "--progress", "lines")
    assert ran.stdout.startswith(b"a.bin: file-")
    assert b"a.bin: 3.1 of 3.1 MB, 100%" in ran.stderr
    server.inject(Fault("part", "answer", "before", every=1, status=400))
    failed = piped("-", *NAMED, "--progress", "lines")
    assert b"error: a.bin: " in failed.stderr
    lines = (ran.stdout + ran.stderr + failed.stdout + failed.stderr).splitlines()
    assert not [line for line in lines if line.startswith((b"-:", b"error: -:"))]


def test_a_file_on_standard_input_is_taken_by_its_path_and_resumes(server: LocalServer, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(CONTENT)
    command = [sys.executable, "-m", "asyncsdk", "upload", "-", "--purpose", "assistants", "--quiet"]
    ids = []
    for _ in range(2):
        with path.open("rb") as file:
            ids.append(subprocess.run(command, stdin=file, capture_output=True, check=True).stdout)
    assert ids[0] == ids[1]
    assert [file.filename for file in server.files] == ["data.bin"]
    with path.open("rb") as file:  # of a file that was begun, the rest is meant
        os.lseek(file.fileno(), 100, os.SEEK_SET)
        subprocess.run([*command, "--filename", "rest.bin"], stdin=file, capture_output=True, check=True)
    assert server.stored(server.files[-1].id).read_bytes() == CONTENT[100:]


@pytest.mark.parametrize("off", [1, -1])
def test_a_wrong_size_is_an_error_in_words(server: LocalServer, off: int) -> None:
    ran = piped("-", *NAMED, "--size", str(len(CONTENT) + off))
    assert ran.returncode == 1
    assert b"--size. No file was made." in ran.stderr
    assert b"size=" not in ran.stderr
    assert not server.files


@pytest.mark.parametrize(
    ("arguments", "content", "said"),
    [
        (("-", "--purpose", "assistants"), CONTENT, "-: standard input has no name: give --filename NAME."),
        (
            ("-", "--purpose", "assistants", "--filename", ""),
            CONTENT,
            "standard input has no name: give --filename NAME.",
        ),
        (("-", *NAMED), b"", "a.bin is empty"),
        (("-", *NAMED, "--size", "0"), b"", "a.bin is empty"),
        (("-", *NAMED, "--files-from", "-"), b"x", "standard input is either a SOURCE or a list of files, not both"),
        (("-", "other", "--size", "5", "--purpose", "assistants"), b"x", "--size is for one file, but 2 were given"),
    ],
    ids=[
        "no name",
        "empty name",
        "empty",
        "empty as announced",
        "both",
        "several",
    ],  # else the content is in the environment
)
def test_what_can_not_be_sent_is_refused(
    calls: Callable[[], int], arguments: tuple[str, ...], content: bytes, said: str
) -> None:
    ran = piped(*arguments, content=content)
    assert (ran.returncode, calls()) == (2, 0), ran.stderr
    assert said in ran.stderr.decode()
    assert b"Nothing was sent" in ran.stderr


def test_a_terminal_is_refused(start: Start, calls: Callable[[], int]) -> None:
    ours, theirs = pty.openpty()
    process = start("upload", "-", *NAMED, stdin=theirs)
    _, err = process.communicate(timeout=30)
    os.close(ours)
    os.close(theirs)
    assert (process.returncode, calls()) == (2, 0)
    assert "standard input is a terminal: pipe the content into it, or give a file. Nothing was sent." in err


def test_a_closed_standard_input_is_refused(start: Start, calls: Callable[[], int]) -> None:
    process = start("upload", "-", *NAMED, stdin=None, preexec_fn=lambda: os.close(0))
    _, err = process.communicate(timeout=30)
    assert (process.returncode, calls()) == (2, 0)
    assert err == "error: -: standard input is closed. Nothing was sent.\n"


@pytest.mark.parametrize("size", [(), ("--size", "100MiB")])
def test_ctrl_c_ends_it_within_a_second_and_leaves_no_file(
    start: Start, server: LocalServer, tmp_path: Path, size: tuple[str, ...]
) -> None:
    server.inject(Fault("part", "stall", "before", seconds=60, every=1))
    process = start("upload", "-", *NAMED, *size, "--progress", "none", stdin=subprocess.PIPE)
    assert process.stdin is not None
    os.write(process.stdin.fileno(), bytes(1000))
    for _ in range(30):
        os.write(process.stdin.fileno(), bytes(60_000))  # as much as it takes, while it is being read
    time.sleep(0.5)
    with stopwatch(process.pid) as watch:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert watch.seconds < 2
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 100_000]
    assert not left


def test_killed_while_it_spools_it_leaves_no_file(start: Start, tmp_path: Path) -> None:
    process = start("upload", "-", *NAMED, "--progress", "none", stdin=subprocess.PIPE)
    assert process.stdin is not None
    for _ in range(100):
        os.write(process.stdin.fileno(), bytes(60_000))
    process.kill()
    process.wait(10)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_with_a_key_the_same_pipe_goes_on(server: LocalServer) -> None:
    server.inject(Fault("part", "answer", "before", nth=3, every=1, status=500))
    arguments = ("-", *NAMED, "--size", str(len(CONTENT)), "--key", "mine", "--part-size", "1MiB", "-c", "1")
    first = piped(*arguments, "--max-retries", "0")
    assert first.returncode == 75, first.stderr
    server.clear_faults()
    again = piped(*arguments, "--json")
    assert again.returncode == 0, again.stderr
    assert b'"bytes_resumed": 2097152' in again.stdout or b'"bytes_resumed":2097152' in again.stdout
    assert server.stored(server.files[-1].id).read_bytes() == CONTENT
