"""`asyncsdk completion`: shells complete what the program takes, as it is now."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from asyncsdk.cli.completion import script_for
from tests.cli.support import Run

PROGRAM = """\
source {script}
COMP_WORDS=({words}) COMP_CWORD={last}
_asyncsdk
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p asyncsdk
"""

LINES = {
    "asyncsdk edit-": {"edit-many"},
    "asyncsdk ledger un": {"uncertain"},
    "asyncsdk edit-many --on-": {"--on-uncertain"},
    "asyncsdk upload --method a": {"auto"},
    "asyncsdk schema j": {"job"},
}


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"there is no {shell} on this machine")


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the completion of each shell, named after it."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "bash").write_text(script_for("bash"))
    (folder / "_asyncsdk").write_text(script_for("zsh"))
    (folder / "fish").write_text(script_for("fish"))
    return folder


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_it_is_printed(run: Run, shell: str) -> None:
    ran = run("completion", shell)
    assert (ran.code, ran.err) == (0, "")
    assert "edit-many" in ran.out


def test_another_shell_is_refused_with_those_that_there_are(run: Run) -> None:
    ran = run("completion", "tcsh")
    assert ran.code == 2
    assert all(f'"{shell}"' in ran.err for shell in ("bash", "zsh", "fish"))


@needs("bash")
@pytest.mark.parametrize(("line", "completed"), LINES.items())
def test_bash_completes_commands_options_and_values(line: str, completed: set[str], scripts: Path) -> None:
    program = PROGRAM.format(script=scripts / "bash", words=line, last=line.count(" "))
    ran = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    *found, how = ran.stdout.splitlines()
    assert completed <= set(found)
    assert "-o default" in how  # where it knows nothing, bash completes names of files
    assert not ran.stderr


@needs("fish")
@pytest.mark.parametrize(("line", "completed"), LINES.items())
def test_fish_does_so(line: str, completed: set[str], scripts: Path) -> None:
    program = f"source {scripts / 'fish'}; complete -C '{line}'"
    environment = os.environ | {"HOME": str(scripts), "XDG_CONFIG_HOME": str(scripts)}
    ran = subprocess.run(["fish", "-Nc", program], capture_output=True, text=True, check=True, env=environment)
    assert completed <= {found.split("\t")[0] for found in ran.stdout.splitlines()}


@needs("zsh")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("edit-", "edit-many"),
        ("upload tra", "train.jsonl"),
        ("edit a.png --out tra", "train.jsonl"),
        ("schema j", "job"),
    ],
)
def test_zsh_does_so_on_a_terminal(typed: str, completed: str, scripts: Path) -> None:
    (scripts / "train.jsonl").touch()
    main, side = pty.openpty()
    environment = os.environ | {"HOME": str(scripts), "TERM": "dumb", "PS1": "> "}
    command = ["zsh", "-f", "-i"]
    shell = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=environment, cwd=scripts)
    os.close(side)
    try:
        os.write(main, f"fpath=({scripts} $fpath); autoload -U compinit; compinit -u -D; print rea''dy\n".encode())
        assert "ready" in read_until(main, "ready")
        os.write(main, f"asyncsdk {typed}\t".encode())
        shown = read_until(main, completed)
    finally:
        shell.kill()
        shell.wait()
        os.close(main)
    assert completed in shown


def read_until(descriptor: int, text: str) -> str:
    """What a terminal shows, until `text` is in it."""
    shown, end = "", time.monotonic() + 20
    while text not in shown and time.monotonic() < end:
        if select.select([descriptor], [], [], 0.1)[0]:
            shown += os.read(descriptor, 65536).decode(errors="replace")
    return shown
