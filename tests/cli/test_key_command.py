"""`--key-command`: a key that a command prints, which is seen nowhere."""

from __future__ import annotations

import shlex
import sys
import time
import traceback
from pathlib import Path

import pytest

from asyncsdk.cli import key_command
from asyncsdk.cli.options import Connection
from asyncsdk.errors import ConfigurationError
from asyncsdk.server import LocalServer, app
from tests.cli.support import MakeFile, Run

CANARY = "sk-canary-3f9a71c2d4"


@pytest.fixture(autouse=True)
def without_a_key(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("OPENAI_API_KEY")


def python(program: str) -> str:
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}"


def test_what_it_prints_is_the_key(run: Run, tmp_path: Path, make_file: MakeFile) -> None:
    with LocalServer(tmp_path / "locked", api_key=CANARY) as locked:
        where = ["--base-url", locked.url, "--key-command", f"echo {CANARY} | cat"]
        ran = run("upload", make_file(1000), "-p", "batch", "--check", "none", "--verbose", *where)
        assert ran.code == 0
        assert CANARY not in ran.out + ran.err
        assert run("files", "list", "-q", *where).out.strip() == locked.files[0].id
    assert not any(CANARY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_it_is_run_once_and_once_more_when_the_key_is_refused(
    run: Run, server: LocalServer, tmp_path: Path, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, good = tmp_path / "count", [f"{CANARY}-1"]
    key_of = app._key_of  # noqa: SLF001 - the server takes any key, or one for all of its life

    def accepted(request: object) -> str:
        key = key_of(request)  # type: ignore[arg-type]  # passed on
        if sum(server.calls.values()) > 2:
            good[:] = [f"{CANARY}-2"]
        return key if key in good else ""

    monkeypatch.setattr(app, "_key_of", accepted)
    command = f"echo x >> {count}; echo {CANARY}-$(wc -l < {count} | tr -d ' ')"
    ran = run("upload", make_file(5 << 20), "-p", "assistants", "--part-size", "1MiB", "--key-command", command)
    assert ran.code == 0, ran.err
    assert count.read_text() == "x\n" * 2


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (f"echo {CANARY}; echo {CANARY} >&2; exit 3", "ended with exit code 3"),
        ("true", "printed nothing"),
        (python(f"print('{CANARY}' * 5000)"), "printed more than any key has"),
        (f"echo {CANARY}; kill -9 $$", "was ended by signal 9"),
        (f"no-such-command-{CANARY}", "ended with exit code 127: the shell knows no such command"),
    ],
)
def test_where_it_fails_nothing_of_what_it_printed_is_shown(run: Run, command: str, what: str) -> None:
    ran = run("files", "list", "--verbose", "--max-retries", "0", "--key-command", command)
    assert ran.code == 75
    assert f"the command of --key-command {what}. Nothing was sent." in ran.err
    assert CANARY not in ran.out + ran.err


def test_what_is_no_key_is_not_shown_either(run: Run) -> None:
    ran = run("files", "list", "-v", "--key-command", python(f"print('{CANARY}'); print('warning: {CANARY}')"))
    assert ran.code == 2
    assert "--key-command printed what no key contains, such as a space or a second line. Nothing was sent." in ran.err
    assert CANARY not in ran.out + ran.err


def test_one_that_hangs_is_ended_with_all_that_it_started(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_command, "SECONDS", 0.5)
    left = tmp_path / "left"
    began = time.monotonic()
    ran = run("files", "list", "--max-retries", "0", "--key-command", f"(sleep 2; touch {left}) & sleep 60")
    assert ran.code == 75
    assert "did not end, or left its output open, within 0.5 s" in ran.err
    assert time.monotonic() - began < 5
    time.sleep(2)
    assert not left.exists()


def test_an_empty_one_is_refused(run: Run, server: LocalServer) -> None:
    ran = run("files", "list", "--key-command", " ")
    assert ran.code == 2
    assert "--key-command is empty" in ran.err
    assert not server.calls


def test_without_any_key_it_is_named(run: Run) -> None:
    ran = run("files", "list")
    assert ran.code == 2
    assert "or give --key-command" in ran.err


def test_to_azure_it_is_a_token(run: Run, server: LocalServer, environment: pytest.MonkeyPatch) -> None:
    environment.delenv("OPENAI_BASE_URL")
    environment.setenv("AZURE_OPENAI_ENDPOINT", server.url.removesuffix("/v1"))
    ran = run("files", "list", "-v", "--max-retries", "0", "--key-command", f"echo {CANARY}")
    assert "/openai" in ran.err or ran.code == 1  # the embedded server is not Azure's; what was asked is
    assert CANARY not in ran.out + ran.err


def test_it_goes_before_a_key_in_the_environment(run: Run, tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OPENAI_API_KEY", "sk-another")
    with LocalServer(tmp_path / "locked", api_key=CANARY) as locked:
        assert run("files", "list", "--base-url", locked.url, "--key-command", f"echo {CANARY}").code == 0


def test_what_it_started_and_left_with_its_output_open_is_ended_too(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_command, "SECONDS", 0.5)
    left = tmp_path / "left"
    ran = run("files", "list", "--max-retries", "0", "--key-command", f"echo {CANARY}; (sleep 2; touch {left}) &")
    assert ran.code == 75
    assert "left its output open" in ran.err
    assert "Event loop is closed" not in ran.err
    time.sleep(2.2)
    assert not left.exists()


async def test_a_traceback_with_variables_shows_neither_the_command_nor_the_key() -> None:
    key = key_command.key_from(f"echo {CANARY}; echo {CANARY}")
    with pytest.raises(ConfigurationError) as refused:
        await key()
    for error in (refused.value, refused.value.__context__):
        if error is not None:
            shown = traceback.TracebackException.from_exception(error, capture_locals=True)
            own = [frame for frame in shown.stack if "/asyncsdk/" in frame.filename]
            assert len(own) >= 3
            assert not any(CANARY in text for frame in own for text in (frame.locals or {}).values())


def test_for_many_files_one_that_fails_is_not_run_for_each(run: Run, server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(60):
        (tmp_path / "many" / f"{number}.txt").write_text(f"{number}")
    count = tmp_path / "count"
    ran = run(
        *("upload", tmp_path / "many", "-p", "user_data", "--max-retries", "1", "--concurrency", "4"),
        *("--key-command", f"echo x >> {count}; exit 1"),
    )
    assert ran.code == 75
    assert "not sent: all would be refused for the reason above" in ran.err
    assert len(count.read_text().split()) <= 8
    assert not server.calls


def test_no_repr_shows_the_command() -> None:
    assert CANARY not in repr(Connection(key_command=f"echo {CANARY}"))
