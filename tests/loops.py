"""A pytest plugin: the tests on the event loop that ASYNCSDK_TEST_LOOP names, asyncio's or uvloop's."""

from __future__ import annotations

import asyncio
import importlib
import os
import warnings

import pytest

NAME = os.environ.get("ASYNCSDK_TEST_LOOP", "asyncio")


def pytest_configure(config: pytest.Config) -> None:
    """Let every loop of this process be of that kind, also those of `asyncio.run` in tests and of their servers."""
    if NAME == "uvloop":
        with warnings.catch_warnings():  # from 3.14 on policies are deprecated, and nothing else reaches all loops
            warnings.simplefilter("ignore", DeprecationWarning)
            asyncio.set_event_loop_policy(importlib.import_module("uvloop").EventLoopPolicy())
        # a loop that is closed with open connections says so; raised there, as an error, it would hang in its `close`
        config.addinivalue_line("filterwarnings", "ignore:unclosed resource <:ResourceWarning")


def pytest_report_header() -> str:
    """Name the loop that is really made."""
    with asyncio.Runner() as runner:
        return f"event loop: {type(runner.get_loop()).__module__}"
