"""A server, a line to it, and waiting that takes no time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from asyncsdk.server import LocalServer
from tests.faults.line import line_to
from tests.faults.scene import Scene, Waits


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """In a thread of its own, for all tests of a module."""
    with LocalServer(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
async def scene(server: LocalServer, tmp_path: Path) -> AsyncIterator[Scene]:
    """A file that is to go to the server, on which nothing is planned."""
    server.clear_faults()
    async with line_to(server.port) as line:
        yield Scene(server, line, tmp_path)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Between attempts nothing waits; what would have been waited is told here."""
    waited = Waits()
    monkeypatch.setattr("asyncsdk.http.repeat.anyio", SimpleNamespace(sleep=waited.sleep))
    return waited
