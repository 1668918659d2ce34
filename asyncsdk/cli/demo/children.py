"""The processes that the demo starts, and watches, and always ends."""

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
    """A process of the demo did not do what it should; its own words are in the message."""


@define(eq=False)
class UploadChild:
    """`asyncsdk upload` in a process of its own. `result` is what it wrote with --json, once it has ended."""

    process: asyncio.subprocess.Process
    watch: Callable[[Progress], None]
    words: list[str] = field(factory=list, init=False)
    result: dict[str, Any] = field(factory=dict, init=False)

    @property
    def told(self) -> str:
        """What it said beside its progress."""
        return " ".join(self.words)

    async def ended(self) -> None:
        """Follow it to its end."""
        async with tasks.group() as group:
            group.start_soon(self._read_progress)
            group.start_soon(self._read_result)
        await self.process.wait()

    async def _read_progress(self) -> None:
        assert self.process.stderr is not None  # noqa: S101 - it was asked for
        async for line in self.process.stderr:
            progress = progress_of(line)
            if progress is None:
                self.words.append(line.decode(errors="replace").rstrip())
            else:
                self.watch(progress)

    async def _read_result(self) -> None:
        assert self.process.stdout is not None  # noqa: S101 - it was asked for
        with suppress(ValueError):  # it was killed before it wrote anything
            self.result = json.loads(await self.process.stdout.read())


def progress_of(line: bytes) -> Progress | None:
    """The snapshot that a line of --progress json holds; None for words."""
    try:
        fields = json.loads(line)
        return Progress(**{**fields, "state": UploadPhase(fields["state"])})
    except (ValueError, TypeError, KeyError):
        return None


@asynccontextmanager
async def child(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `asyncsdk` with these arguments; leaving the block kills it, if it still runs.

    It is in a session of its own: Ctrl-C is for the demo, which then ends it.
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
    """Without the user's account, journal and proxy: the demo talks to its own server alone."""
    kept = {name: value for name, value in environment.items() if not name.startswith(_OURS)}
    return kept | {"OPENAI_API_KEY": "demo", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


async def address_of(server: asyncio.subprocess.Process) -> str:
    """The base URL from a server's first line. Raises ChildError where it ends instead."""
    assert server.stdout is not None  # noqa: S101 - it was asked for
    assert server.stderr is not None  # noqa: S101 - it was asked for
    line = await server.stdout.readline()
    if not line:
        raise ChildError(f"the server did not start: {(await server.stderr.read()).decode(errors='replace')}")
    return str(json.loads(line)["url"])
