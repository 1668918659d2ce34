"""Fixtures that several files use: a server in a thread, and the official client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from openai import AsyncOpenAI, OpenAI

from asyncsdk.server import LocalServer


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as server:
        yield server


@pytest.fixture
def client(server: LocalServer) -> Iterator[OpenAI]:
    with OpenAI(api_key="any key", base_url=server.url, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(server: LocalServer) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key="any key", base_url=server.url, max_retries=0) as client:
        yield client
