"""The command line as a user meets it: run in this process, or in one of its own, against a server of our own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import suggestions
from asyncsdk.cli import app
from asyncsdk.cli.signals import Stop
from asyncsdk.server import LocalServer
from tests.cli.support import Ran, Run, Start, disarm, heed_signals
from tests.jsonl import json_lines
from tests.stories.pictures import photo

MIB = 1 << 20


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """One for each test: what it was asked is counted."""
    with LocalServer(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def calls(server: LocalServer) -> Callable[[], int]:
    """How many calls the server got since the test began."""
    before = sum(server.calls.values())
    return lambda: sum(server.calls.values()) - before


@pytest.fixture(autouse=True)
def nothing_was_warned_of() -> None:
    """A program of its own warns of each value once; here many run in one process."""
    suggestions._warn.cache_clear()  # noqa: SLF001 - as above


@pytest.fixture(autouse=True)
def environment(server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An account at our server, a journal of its own, the working directory a fresh one."""
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "AZURE_", "ASYNCSDK_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("ASYNCSDK_JOURNAL", str(tmp_path / "journal"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process."""

    def run(*arguments: object) -> Ran:
        capfd.readouterr()
        code = app.run([str(argument) for argument in arguments], Stop())
        out, err = capfd.readouterr()
        return Ran(int(code), out, err)

    return run


@pytest.fixture
def stop() -> Iterator[Stop]:
    """What takes signals. Its guard ends a program that hangs, and may not outlive the test."""
    listening = Stop()
    yield listening
    disarm(listening)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a command line in a process of its own, as a terminal would; it does not outlive the test."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "asyncsdk", *map(str, arguments)]
        usual: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        usual["preexec_fn"] = heed_signals
        running.append(subprocess.Popen(command, **(usual | options)))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def otter(tmp_path: Path) -> Path:
    """A small picture in the working directory."""
    return photo(tmp_path / "otter.png", (16, 16))


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary directories go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "elsewhere"


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[..., Path]:
    """A file in the working directory, the same for the same seed: random bytes, or lines that a batch takes."""

    def make(size: int = 3 * MIB + 1, name: str = "train.jsonl", seed: int = 1) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json_lines(size, seed) if path.suffix == ".jsonl" else random.Random(seed).randbytes(size)
        path.write_bytes(content)
        return path

    return make
