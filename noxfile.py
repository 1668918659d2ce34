"""The checks of `.ci/run` one at a time, for people: `nox -l` lists them. Needs `pip install nox`."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "tests-3.13(loop='asyncio')"]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


@nox.session
def lint(session: nox.Session) -> None:
    """Style and types."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(python=PYTHONS)
@nox.parametrize("loop", ["asyncio", "uvloop"])
def tests(session: nox.Session, loop: str) -> None:
    """The tests, on each Python and each event loop; what follows `--` is for pytest."""
    session.install("-e", ".[package,recipes,test]", "uvloop")
    session.run("pytest", "-n", "auto", "-p", "tests.loops", *session.posargs, env={"ASYNCSDK_TEST_LOOP": loop})


@nox.session
def package(session: nox.Session) -> None:
    """The wheel and the sdist in `dist/`, their texts checked; the wheel runs the demo."""
    shutil.rmtree("dist", ignore_errors=True)
    session.install("build", "twine")
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    [wheel] = Path("dist").glob("*.whl")
    session.install(f"{wheel}[cli,server]")
    session.run("asyncsdk", "demo")
