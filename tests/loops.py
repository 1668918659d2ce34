"""A pytest plugin: the tests on the event loop that ASYNCSDK_TEST_LOOP names, asyncio's or uvloop's."""

from __future__ import annotations

import asyncio
import importlib
import os

import pytest


@pytest.fixture(scope="session")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    if os.environ.get("ASYNCSDK_TEST_LOOP") != "uvloop":
        return asyncio.DefaultEventLoopPolicy()
    policy: asyncio.AbstractEventLoopPolicy = importlib.import_module("uvloop").EventLoopPolicy()
    return policy
