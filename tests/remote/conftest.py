"""Stores to read from: of this process's memory, and a web server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from asyncsdk.remote.stores import RemoteStores
from tests.remote.web import WebStore, web_store

SOON = timedelta(milliseconds=10)
RETRY: dict[str, Any] = {"max_retries": 1, "backoff": {"init_backoff": SOON, "max_backoff": SOON, "base": 2}}
IMPATIENT = {"retry_config": RETRY}


@pytest.fixture
async def web() -> AsyncIterator[WebStore]:
    async with web_store() as store:
        yield store


@pytest.fixture
def stores() -> RemoteStores:
    return RemoteStores()
