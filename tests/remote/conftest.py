"""Stores to read from: of this process's memory, and a web server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from asyncsdk.remote.stores import RemoteStores
from tests.remote.web import WebStore, web_store

IMPATIENT = {"retry_config": {"max_retries": 1, "backoff": {"init_backoff": "10ms", "max_backoff": "10ms", "base": 2}}}


@pytest.fixture
async def web() -> AsyncIterator[WebStore]:
    async with web_store() as store:
        yield store


@pytest.fixture
def stores() -> RemoteStores:
    return RemoteStores()
