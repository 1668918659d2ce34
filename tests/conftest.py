"""For all tests: no example is timed, and what passes a LocalServer here is judged by OpenAI's document, if at hand."""

from __future__ import annotations

import copy
import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, settings

from asyncsdk import retry
from asyncsdk.server import files as server_files
from asyncsdk.server import local, uploads
from asyncsdk.server.app import make_app
from asyncsdk.server.edits import endpoint, responses
from asyncsdk.uploads.journal import file as journal
from tests import document
from tests.postgres.fixtures import database, database_url, needs_postgres, own_database, postgres_server
from tests.site import site

__all__ = ["database", "database_url", "needs_postgres", "own_database", "postgres_server", "site"]

# the package is compiled once, and not by each of the hundreds of processes that tests start
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# how long one example takes, or its making, says more of the machine than of us
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

PROBLEMS: list[str] = []

Reading = Callable[..., Awaitable[Any]]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Twice as many processes as there are cores, which idle a fifth of the time even so: tests wait for much else."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # which pytest-xdist heeds
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return 2 * cores


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the garbage collector not look at the tests themselves: they stay until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """What a command line changes of the log does not outlive the test."""
    logger = logging.getLogger("asyncsdk")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.fixture(scope="session", autouse=True)
def judged() -> Iterator[None]:
    """Let every server of this process be judged; nothing of this is in the product."""
    if not document.PATH.exists():
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "make_app", _judged_app(make_app))
        patch.setattr(responses, "_frame", _judged_frame(responses._frame))  # noqa: SLF001 - events are made in this one place
        for module, name in [
            (uploads, "read_json"),
            (uploads, "read_form"),
            (server_files, "read_form"),
            (endpoint, "read_json"),
            (endpoint, "read_form"),
        ]:
            patch.setattr(module, name, _noting(getattr(module, name)))
        yield


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What passes is waited for no longer than a test has time."""
    monkeypatch.setattr(retry, "SCARCE_SECONDS", 0.2)
    monkeypatch.setattr(retry, "FULL_SECONDS", 0.2)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim of a journal in files that is left has given its key back, also where its thread has to wait long."""
    monkeypatch.setattr(journal, "WRITE_SECONDS", 20.0)
    monkeypatch.setattr(journal, "RELEASE_SECONDS", 20.0)


@pytest.fixture(autouse=True)
def keeps_to_the_document() -> Iterator[None]:
    """Fail the test in which something broke the document."""
    PROBLEMS.clear()
    yield
    assert PROBLEMS == []


def _judged_app(real: Callable[..., web.Application]) -> Callable[..., web.Application]:
    async def judge(request: web.Request, response: web.StreamResponse) -> None:
        PROBLEMS.extend(document.problems_of(request, response))

    def make(*arguments: Any, **options: Any) -> web.Application:
        app = real(*arguments, **options)
        app.on_response_prepare.append(judge)
        return app

    return make


def _judged_frame(frame: Callable[[str, Any], bytes]) -> Callable[[str, Any], bytes]:
    def judged_frame(name: str, told: Any) -> bytes:
        PROBLEMS.extend(document.problems_of_event(told))
        return frame(name, told)

    return judged_frame


def _noting(read: Reading) -> Reading:
    """Note what was read of a request, before its handler takes it apart."""

    async def reading(request: web.Request, *arguments: Any) -> Any:
        value = await read(request, *arguments)
        request[document.GIVEN] = copy.deepcopy(value)
        return value

    return reading
