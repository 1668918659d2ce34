"""A server, a client and files for stories of whole uploads."""

from __future__ import annotations

import json
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import AsyncUploader, Client, ImageEditor
from asyncsdk.server import LocalServer
from asyncsdk.timing import Timing
from tests.stories.differing import why_left_out
from tests.stories.support import MIB

DIFFERENCES: dict[str, Any] = json.loads(os.environ.get("ASYNCSDK_TEST_SERVER", "{}"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what makes no sense with the server of `ASYNCSDK_TEST_SERVER`."""
    for item in items:
        reason = why_left_out(item.path.stem, getattr(item, "originalname", item.name), DIFFERENCES)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def differing() -> Iterator[None]:
    """Let every server differ as `ASYNCSDK_TEST_SERVER` says, in JSON. What wants parts in order gets one at a time."""
    options = DIFFERENCES
    with pytest.MonkeyPatch.context() as patch:
        if options:
            patch.setattr(LocalServer, "__init__", _with(LocalServer.__init__, options, wins=False))
        if options.get("parts_in_order"):
            patch.setattr(AsyncUploader, "__init__", _with(AsyncUploader.__init__, {"concurrency": 1}, wins=True))
        yield


def _with(make: Callable[..., None], options: dict[str, Any], *, wins: bool) -> Callable[..., None]:
    def init(self: object, *arguments: Any, **given: Any) -> None:
        make(self, *arguments, **(given | options if wins else options | given))

    return init


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    async with LocalServer(tmp_path / "server") as running:
        yield running


@pytest.fixture
def editor(client: Client) -> ImageEditor:
    return ImageEditor(client)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def timing() -> Timing:
    """For modules to override."""
    return Timing()


@pytest.fixture
async def client(server: LocalServer, timing: Timing) -> AsyncIterator[Client]:
    async with Client("sk-test", base_url=server.url, timing=timing) as client:
        yield client


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def uploader(client: Client, journal: Path) -> AsyncUploader:
    return AsyncUploader(client, journal=journal, part_size=MIB, concurrency=4)


@lru_cache(maxsize=4)
def content_of(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def make_file(tmp_path: Path) -> Callable[..., Path]:
    """A file of random bytes, the same for the same seed."""

    def make(size: int = 8 * MIB + 12345, name: str = "data.bin", seed: int = 1) -> Path:
        path = tmp_path / name
        path.write_bytes(content_of(size, seed))
        return path

    return make
