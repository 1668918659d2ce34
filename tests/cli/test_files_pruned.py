"""`asyncsdk files prune` and `delete`: they say what would go, ask, and delete that alone."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from asyncsdk.cli import deletion
from asyncsdk.cli.display import NullDisplay
from asyncsdk.server import Fault, LocalServer
from tests.cli.support import MakeFile, Run, Start


class Terminal:
    """A person who gives this answer."""

    def __init__(self, answer: str) -> None:
        self.answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return f"{self.answer}\n"


@pytest.fixture
def stored(run: Run, make_file: MakeFile) -> Callable[..., str]:
    """Store a file; returns its id."""

    def store(name: str, size: int = 1000, purpose: str = "user_data") -> str:
        return run("upload", make_file(size, name, size), "--purpose", purpose, "--quiet").out.strip()

    return store


@pytest.fixture
def three(stored: Callable[..., str]) -> list[str]:
    """Two of them are .bin."""
    return [stored("a.bin", 1500), stored("b.bin", 2500), stored("c.txt", 1000)]


def names(server: LocalServer) -> list[str]:
    return [file.filename for file in server.files]


def test_a_dry_run_lists_them_and_deletes_nothing(run: Run, server: LocalServer, three: list[str]) -> None:
    ran = run("files", "prune", "--name", "*.bin", "--dry-run")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines()] == ["ID", *three[:2]]
    assert ran.err == "2 files, 4.0 kB would be deleted.\n"
    assert len(server.files) == 3
    assert run("files", "prune", "--name", "*.bin", "--dry-run", "-q").out.split() == three[:2]


@pytest.mark.parametrize("answer", ["y", ""])
def test_at_a_terminal_it_asks(
    run: Run, server: LocalServer, three: list[str], environment: pytest.MonkeyPatch, answer: str
) -> None:
    environment.setattr(deletion.sys, "stdin", Terminal(answer))  # type: ignore[attr-defined]  # it is imported there
    ran = run("files", "prune", "--name", "*.bin", "--progress", "none")
    assert f"  {three[0]}  a.bin\n  {three[1]}  b.bin\n" in ran.err
    assert "2 files, 4.0 kB, will be deleted for good. Continue? [y/N]" in ran.err
    assert ran.err.endswith("deleted 2 files, 4.0 kB.\n" if answer else "Nothing was deleted.\n")
    assert ran.code == (0 if answer else 2)
    assert names(server) == (["c.txt"] if answer else ["a.bin", "b.bin", "c.txt"])


@pytest.mark.parametrize("command", [("prune", "--name", "*.bin"), ("delete",)])
def test_elsewhere_it_needs_yes(run: Run, server: LocalServer, three: list[str], command: tuple[str, ...]) -> None:
    arguments = [*command, *(three[:2] if command == ("delete",) else [])]
    ran = run("files", *arguments)
    assert ran.code == 2
    assert ran.err == (
        "error: 2 files, 4.0 kB would be deleted for good: give --yes, since nobody can be asked here. "
        "Nothing was deleted.\n"
    )
    assert len(server.files) == 3
    ran = run("files", *arguments, "--yes", "--json")
    assert ran.code == 0
    assert sorted(record["id"] for record in ran.records) == sorted(three[:2])
    assert ran.err.endswith("deleted 2 files, 4.0 kB.\n")
    assert names(server) == ["c.txt"]


def test_all_that_is_given_must_hold(run: Run, server: LocalServer, three: list[str]) -> None:
    assert run("files", "prune", "--name", "*.bin", "--larger-than", "2kB", "--yes", "-q").out.split() == [three[1]]
    assert run("files", "prune", "--name", "*", "-p", "vision", "--yes").err == "no such files: nothing to delete.\n"
    assert run("files", "prune", "--name", "*", "--older-than", "30d", "--yes").code == 0
    assert len(server.files) == 2


def test_without_a_filter_nothing_is_asked_of_the_server(run: Run, server: LocalServer) -> None:
    ran = run("files", "prune", "--yes")
    assert ran.code == 2
    assert "which files? Give --older-than" in ran.err
    assert not server.calls


def test_what_fails_is_reported_and_the_others_are_deleted(run: Run, server: LocalServer, three: list[str]) -> None:
    server.inject(Fault("files.delete", "answer", "before", status=400, nth=1))
    ran = run("files", "prune", "--name", "*", "--yes", "--progress", "none")
    assert ran.code == 3
    assert "the server responded 400" in ran.err
    assert ran.err.endswith("; 1 failed.\n")
    assert len(server.files) == 1
    assert three


def test_killed_and_gone_on_with_all_are_gone_and_nothing_else(
    start: Start, run: Run, server: LocalServer, stored: Callable[..., Any]
) -> None:
    for number in range(72):  # more than go before the last kill, however late that comes
        stored(f"{number}.{'txt' if number % 4 == 0 else 'bin'}", 100 + number)
    server.inject(Fault("files.delete", "limit", per_minute=600))
    for signal_sent in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        process = start("files", "prune", "--name", "*.bin", "--yes", "--requests-per-minute", "500")
        before, until = len(server.files), time.monotonic() + 20
        while len(server.files) > before - 4 and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(process.pid, signal_sent)
        _, err = process.communicate(timeout=10)
        if signal_sent == signal.SIGINT:
            assert process.returncode == 130
            assert "are left: the same command goes on." in err
    server.clear_faults()
    ran = run("files", "prune", "--name", "*.bin", "--yes", "--json", "--progress", "none")
    assert ran.code == 0
    assert 0 < len(ran.out.splitlines()) < 54
    assert json.loads(ran.out.splitlines()[0])["deleted"]
    assert sorted(names(server)) == sorted(f"{number}.txt" for number in range(0, 72, 4))


@pytest.mark.parametrize(("age", "number"), [("30", "30"), ("30.5", "30.5"), ("6m", "6"), ("6 M", "6")])
def test_an_age_needs_a_unit_that_means_one_thing(run: Run, server: LocalServer, age: str, number: str) -> None:
    ran = run("files", "prune", "--older-than", age, "--yes")
    assert ran.code == 2
    assert f"{age} of what? Write {number}d for days" in ran.err
    assert not server.calls


@pytest.mark.parametrize("age", ["2w", "1 month", "90 minutes"])
def test_what_is_no_age_is_refused_with_ages_that_it_takes(run: Run, server: LocalServer, age: str) -> None:
    ran = run("files", "prune", "--older-than", age, "--yes")
    assert ran.code == 2
    assert f"{age!r} is not an age; use for example 30d, 12h or 45s. Nothing was sent." in ran.err
    assert not server.calls


def test_a_purpose_that_may_be_misspelt_is_warned_of(run: Run, three: list[str]) -> None:
    ran = run("files", "prune", "--purpose", "userdata", "--yes")
    assert ran.code == 0
    assert three
    assert "did you mean 'user_data'?" in ran.err
    assert "no such files" in ran.err


def test_an_error_has_its_own_line_below_the_bar(
    run: Run, server: LocalServer, three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    aside: list[int] = []
    monkeypatch.setattr(NullDisplay, "aside", lambda _: aside.append(len(server.files)))
    server.inject(Fault("files.delete", "answer", "before", status=400, nth=2))
    assert run("files", "prune", "--name", "*", "--yes").code == 3
    assert three
    assert len(aside) == 2  # once for the error, once at the end


def test_where_files_can_not_be_listed_those_that_are_named_are_deleted(
    run: Run, server: LocalServer, three: list[str]
) -> None:
    server.inject(Fault("files.list", "answer", "before", status=403, every=1))
    ran = run("files", "delete", three[0], "file-unknown", "--yes")
    assert ran.code == 3
    assert f"{three[0]}: deleted" in ran.out
    assert "error: file-unknown" in ran.err
    assert len(server.files) == 2
    server.clear_faults()


def test_a_name_does_not_look_like_another_line(
    run: Run, server: LocalServer, make_file: MakeFile, environment: pytest.MonkeyPatch
) -> None:
    run("upload", make_file(10), "-p", "user_data", "--filename", "a\n  file-2  b")
    environment.setattr(deletion.sys, "stdin", Terminal("n"))  # type: ignore[attr-defined]  # it is imported there
    ran = run("files", "prune", "--name", "*")
    assert ran.code == 2
    assert "  a\\n  file-2  b\n1 file, " in ran.err
    assert len(server.files) == 1
