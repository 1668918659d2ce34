"""Pytest fixtures of the embedded server, available once asyncsdk is installed.

Every pytest run in the environment loads this module, so it imports the server only when a test uses a fixture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from asyncsdk.server import LocalServer

MARKER = "asyncsdk_server"
KEY = "sk-test"
_PASSED = pytest.StashKey[bool]()
_HAS_SERVER = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", f"{MARKER}(**options): the options of LocalServer, such as faults or api_key")


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse a test whose own marker has no effect; a marker of its class or module may be for others there."""
    is_marked = any(marker.name == MARKER for marker in item.own_markers)
    if not is_marked or item.stash.get(_HAS_SERVER, False):
        return
    if "request" not in getattr(item, "fixturenames", ()):  # with it, the test itself may ask for the server later
        pytest.fail(
            f"@pytest.mark.{MARKER} sets options of a server that this test does not use. Ask for the fixture "
            "asyncsdk_server, or asyncsdk_environment for code that makes its own client, as an argument of the test.",
            pytrace=False,
        )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Remember whether a test passed: one that failed or was skipped half-way must not fail again for its faults."""
    if call.when == "call":
        item.stash[_PASSED] = call.excinfo is None


@pytest.fixture
def asyncsdk_server(request: pytest.FixtureRequest) -> Iterator[LocalServer]:
    """An empty server for this test, in a thread; `asyncsdk_server.url` is its base URL, and it accepts any key.

    `@pytest.mark.asyncsdk_server(faults=[…], api_key="…", upload_ttl=60)` gives it options, those of `LocalServer`.
    On a class or module the marker is for all tests there; options nearer to the test win. At the end of a test that
    passed, every fault must have occurred; `clear_faults()` removes those that have not.
    """
    from asyncsdk.server import LocalServer

    request.node.stash[_HAS_SERVER] = True
    with LocalServer(**_options(request)) as server:
        yield server
    if request.node.stash.get(_PASSED, False):
        server.assert_all_met()


@pytest.fixture
def asyncsdk_environment(
    asyncsdk_server: LocalServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> LocalServer:
    """The same server, with the environment of this test set so that clients need no arguments.

    `OPENAI_BASE_URL` and `OPENAI_API_KEY` are set, every other `OPENAI_…` and `AZURE_OPENAI_…` is unset, no proxy
    is used, and asyncsdk keeps its journal in memory and its ledgers beside the pictures.
    """
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "AZURE_OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_BASE_URL", asyncsdk_server.url)
    monkeypatch.setenv("OPENAI_API_KEY", _options(request).get("api_key") or KEY)
    monkeypatch.setenv("ASYNCSDK_JOURNAL", "memory")
    monkeypatch.delenv("ASYNCSDK_LEDGER", raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    return asyncsdk_server


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options of the markers, from the outermost to the nearest."""
    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers(MARKER))):
        if marker.args:
            raise pytest.UsageError(f"@pytest.mark.{MARKER} takes options by name alone, such as faults=[…].")
        options |= marker.kwargs
    return options
