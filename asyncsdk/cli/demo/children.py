"""The processes of the demo: starts them, watches them, and always ends them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from attrs import define, field

from asyncsdk import tasks
from asyncsdk.events import Progress, UploadPhase

_OURS = ("OPENAI_", "AZURE_", "ASYNCSDK_")


class ChildError(Exception):
    """A process of the demo failed; the message contains what it printed."""


@define(eq=False)
class UploadChild:
    """`asyncsdk upload` in its own process. `result` is what it wrote with --json, once it has ended."""

    process: asyncio.subprocess.Process
    watch: Callable[[Progress], None]
    messages: list[str] = field(factory=list, init=False)
    result: dict[str, Any] = field(factory=dict, init=False)

    @property
    def output(self) -> str:
        """What it printed besides its progress."""
        return " ".join(self.messages)

    async def ended(self) -> None:
        """Follow it until it ends."""
        async with tasks.group() as group:
            group.start_soon(self._read_progress)
            group.start_soon(self._read_result)
        await self.process.wait()

    async def _read_progress(self) -> None:
        assert self.process.stderr is not None  # noqa: S101 - it was requested
        async for line in self.process.stderr:
            progress = progress_of(line)
            if progress is None:
                self.messages.append(line.decode(errors="replace").rstrip())
            else:
                self.watch(progress)

    async def _read_result(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 - it was requested
        with suppress(ValueError):  # it was killed before it wrote a result
            self.result = json.loads(await self.process.stdout.read())


def progress_of(line: bytes) -> Progress | None:
    """The snapshot in a line of --progress json; None for any other line."""
    try:
        fields = json.loads(line)
        return Progress(**{**fields, "state": UploadPhase(fields["state"])})
    except (ValueError, TypeError, KeyError):
        return None


@asynccontextmanager
async def child(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `asyncsdk` with these arguments; leaving the block kills it if it still runs.

    It has its own session: Ctrl-C goes to the demo, which then ends it.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "asyncsdk", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean_environment(os.environ),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without the user's account, journal and proxy: the demo uses its own server alone."""
    rest = {name: value for name, value in environment.items() if not name.startswith(_OURS)}
    return rest | {"OPENAI_API_KEY": "demo", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


async def address_of(server: asyncio.subprocess.Process) -> str:
    """The base URL in a server's first line. Raises ChildError if the server ends instead."""
    assert server.stdout is not None  # noqa: S101 - it was requested
    assert server.stderr is not None  # noqa: S101 - it was requested
    line = await server.stdout.readline()
    if not line:
        raise ChildError(f"the server did not start: {(await server.stderr.read()).decode(errors='replace')}")
    return str(json.loads(line)["url"])
