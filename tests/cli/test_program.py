"""The program as a whole: how it starts, how it ends whatever happens, and what it needs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import fields

from asyncsdk import __main__ as entry
from asyncsdk.cli import app, output
from asyncsdk.cli.options import Output
from asyncsdk.cli.output import Out
from asyncsdk.cli.signals import Stop
from asyncsdk.errors import APIConnectionError
from asyncsdk.images.edit import ImageEdit
from asyncsdk.version import __version__
from tests.cli.support import Run, Start, disarm, heed_signals
from tests.faults.leaving import stopwatch


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    level, handlers = logging.getLogger("asyncsdk").level, list(logging.getLogger("asyncsdk").handlers)
    heed_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    logging.getLogger("asyncsdk").setLevel(level)
    logging.getLogger("asyncsdk").handlers[:] = handlers


def in_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("word", ["--version", "-V", "version"])
def test_the_version_is_told_without_the_heavy_imports(word: str) -> None:
    code = """
        import sys
        sys.argv = ["asyncsdk", *sys.argv[1:]]
        from asyncsdk.__main__ import main
        code = main()
        print(sorted({"rich", "cyclopts"} & set(sys.modules)), code)
    """
    assert in_python(code, word).stdout == f"{__version__}\n[] 0\n"


def test_help_is_told_without_the_library_that_sends() -> None:
    code = """
        import sys
        from asyncsdk.cli.app import run
        from asyncsdk.cli.signals import Stop
        alone = [[name] for name in ("upload", "edit", "edit-many", "serve", "demo")]
        for command in ([], *alone, ["uploads", "resume"], ["files", "list"]):
            assert run([*command, "--help"], Stop()) == 0
        print("heavy:", sorted({"aiohttp", "anyio", "cattrs", "filelock"} & set(sys.modules)))
    """
    assert in_python(code).stdout.endswith("heavy: []\n")


def test_help_of_the_program_loads_no_command() -> None:
    code = """
        import sys
        from asyncsdk.cli.app import run
        from asyncsdk.cli.signals import Stop
        assert run(["--help"], Stop()) == 0
        commands = ("demo.demo", "edits.edit", "edits.edit_many", "files", "serve", "uploads.upload", "uploads.uploads")
        print([name for name in commands if f"asyncsdk.cli.{name}" in sys.modules])
    """
    assert in_python(code).stdout.endswith("\n[]\n")


@pytest.mark.parametrize("arguments", [["--help"], ["upload", "--help"], ["uploads", "resume", "--help"], ["-h"]])
def test_help_is_exit_0(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == 0
    assert ran.out.startswith("Usage: asyncsdk")
    assert ran.out.count("Exit codes") == 1
    assert ran.out.endswith("\nExit codes: asyncsdk help exit-codes. Settings: asyncsdk help environment.\n")


def test_help_names_every_option_of_the_contract(run: Run) -> None:
    told = run("upload", "--help").out
    names = (
        "--purpose --filename --mime-type --expires-after --md5 --part-size --concurrency --journal --no-resume "
        "--no-lock --on-busy --if-uploaded --limit-rate --json --base-url --auth --query --header --ca-file --proxy "
        "--quiet --verbose --progress --key --stall-timeout --max-retries"
    )
    assert [name for name in names.split() if name not in told] == []
    assert "--no-json" not in told
    assert "--api-key" not in told


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("edit", "--reference --prompt --out --overwrite"),
        (
            "edit-many",
            "--prompt --prompt-file --concurrency --images-per-minute --on-uncertain --only --redo --max-edits --yes",
        ),
        (
            "edit-many",
            "--out --max-tokens --rate-pool --dry-run --grace --gallery --progress",
        ),
        ("serve", "--images-per-minute"),
    ],
)
def test_help_names_every_option_of_edits(run: Run, command: str, names: str) -> None:
    told = run(command, "--help").out
    assert [name for name in names.split() if name not in told] == []
    if command != "serve":
        sent = {a.name for a in fields(ImageEdit)} - {"image", "prompt", "id", "name", "line", "maybe_paid"}
        assert [name for name in sent if f"--{name.replace('_', '-')} " not in told] == []
        assert "--api-key" not in told


def test_a_first_signal_that_is_a_wish_ends_nothing_and_the_second_does() -> None:
    stop, wishes = Stop(patience=60.0), list[str]()
    stop.listen()

    async def work() -> int:
        stop.gently(lambda: wishes.append("stop"))
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert wishes == ["stop"]
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(60)
        return 0

    assert app.finish(work(), stop) == 130
    disarm(stop)
    assert wishes == ["stop"]


@pytest.mark.parametrize("arguments", [["upload", "--version"], ["-V"], ["version"], ["upload", "-V"]])
def test_a_version_after_a_command_is_told_too(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (0, f"{__version__}\n")


def test_without_the_extra_it_says_what_to_install() -> None:
    code = """
        import sys
        class Missing:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("cyclopts", "rich"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Missing())
        sys.argv = ["asyncsdk", *sys.argv[1:]]
        from asyncsdk.__main__ import main
        sys.exit(main())
    """
    ran = in_python(code, "upload", "x", "--purpose", "y")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "needs: pip install 'asyncsdk[cli]'\n"
        "  It is not on a package index yet. From a clone: pip install '/path/to/the/clone[cli]'. "
        "Or what is missing alone: pip install cyclopts rich\n"
    )
    assert in_python(code, "--version").stdout == f"{__version__}\n"


def test_another_missing_module_is_not_taken_for_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncsdk.cli.app", None)
    monkeypatch.setattr(sys, "argv", ["asyncsdk", "upload"])
    with pytest.raises(ModuleNotFoundError):
        entry.main()


def test_the_command_line_is_run_with_its_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["asyncsdk", "uploads", "list", "--nope"])
    assert entry.main() == 2
    assert "--nope" in capsys.readouterr().err


def test_ctrl_c_while_it_starts_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient:
        def find_spec(self, name: str, *_: object) -> None:
            if name.startswith("asyncsdk.cli"):
                raise KeyboardInterrupt

    for name in [name for name in sys.modules if name.startswith("asyncsdk.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Impatient(), *sys.meta_path])
    monkeypatch.setattr(sys, "argv", ["asyncsdk", "upload"])
    assert entry.main() == 130


async def raises(error: BaseException) -> int:
    raise error


def test_what_nobody_expected_is_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.finish(raises(KeyError("x")), Stop()) == 1
    assert capsys.readouterr().err == "error: KeyError: 'x'. This is a bug in asyncsdk. --verbose shows where.\n"


def test_verbose_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.finish(raises(KeyError("x")), Stop(), verbose=True) == 1
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.endswith("error: KeyError: 'x'. This is a bug in asyncsdk.\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (APIConnectionError("no line"), 75, "error: no line\n"),
        (OSError(28, "No space left on device", "out.bin"), 1, "error: out.bin: No space left on device\n"),
        (OSError("odd"), 1, "error: odd\n"),
    ],
)
def test_what_may_happen_is_told_in_its_own_words(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int, said: str
) -> None:
    assert app.finish(raises(error), Stop()) == code
    assert capsys.readouterr().err == said


def test_a_cancellation_that_is_no_signal_is_not_swallowed() -> None:
    with pytest.raises(asyncio.CancelledError):
        app.finish(raises(asyncio.CancelledError()), Stop())


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGHUP, 129), (signal.SIGTERM, 143)])
def test_a_signal_before_there_is_work_ends_the_program(signum: signal.Signals, code: int) -> None:
    stop = Stop()
    stop.listen()
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(signum)
    assert ended.value.code == code


def test_a_program_that_is_to_outlive_its_terminal_does(start: Start) -> None:
    def as_under_nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = start("serve", "--port", "0", preexec_fn=as_under_nohup)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143


def test_a_signal_cancels_the_work_and_the_last_words_are_said_once() -> None:
    stop, said = Stop(patience=60.0), list[str]()
    stop.listen()
    stop.at_the_end(lambda: said.append("bye"))

    async def work() -> int:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(60)
        return 0

    assert app.finish(work(), stop) == 130
    disarm(stop)
    assert said == ["bye"]
    signal.raise_signal(signal.SIGINT)
    stop.say()
    assert said == ["bye"]


def test_without_a_signal_the_last_words_are_not_said() -> None:
    stop, said = Stop(), list[str]()
    stop.at_the_end(lambda: said.append("bye"))

    async def work() -> int:
        return 3

    assert app.finish(work(), stop) == 3
    assert said == []


def test_where_the_work_hangs_the_cursor_comes_back_and_the_last_words_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    stop = Stop()
    stop.signum = signal.SIGINT
    stop.at_the_end(lambda: output.complain("bye"))
    stop._leave_at_once()  # noqa: SLF001 - a timer calls it, from a thread of its own
    assert (left, capsys.readouterr().err) == ([130], "\x1b[?25hbye\n")


def test_what_hangs_is_left_within_a_second_and_the_last_words_are_said_all_the_same() -> None:
    code = """
        import asyncio, signal, sys, time
        from asyncsdk.cli import app
        from asyncsdk.cli.signals import Stop

        async def work():
            print("ready", flush=True)
            time.sleep(30)

        stop = Stop()
        stop.listen()
        stop.at_the_end(lambda: print("bye", flush=True))
        sys.exit(app.finish(work(), stop))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)  # a signal that comes just before a call that blocks is handled after it, by any Python
        with stopwatch(process.pid) as watch:
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=10)
            assert time.monotonic() - began > 0.5
            assert watch.seconds < 1.1
    assert (process.returncode, out, err) == (143, "bye\n", "")


def test_names_that_are_no_text_do_not_break_the_output(
    start: Start, run: Run, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff\x1b[2J\xe2\x9c\x93")
    Path(name).write_bytes(b"x")
    environment.setenv("PYTHONIOENCODING", "ascii")
    process = start("upload", name, "--purpose", "batch", "--filename", "good.txt", "--progress", "lines")
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "\x1b" not in out + err
    assert "/bad\\udcff\\x1b[2J\\u2713: file-" in out
    [told] = run("upload", name, "--purpose", "batch", "--filename", "good.txt", "--json").records
    assert (told["source"], told["reused"]) == (name, True)


def test_a_full_disk_under_standard_output_is_told(start: Start) -> None:
    with Path("/dev/full").open("w") as full:
        process = start("uploads", "prune", stdout=full)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err == "error: No space left on device\n"


def test_each_shape_of_output_has_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for shape in (Output(), Output(json=True), Output(quiet=True)):
        out = Out(shape)
        out.heading("ID")
        out.result("a line", record={"id": "x"}, name="x")
        out.record({"failed": "y"})
        out.result("nameless", record={}, name=None)
    told = capsys.readouterr().out.splitlines()
    assert told == ["ID", "a line", "nameless", '{"id": "x"}', '{"failed": "y"}', "{}", "x"]


def test_standard_error_that_is_closed_leaves_standard_output_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    output.complain("anybody there?")
    assert capsys.readouterr().out == ""


def test_complaints_that_nobody_reads_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nowhere:
        monkeypatch.setattr(sys, "stderr", nowhere)
        output.complain("anybody there?")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)
