"""A process that dies at the k-th thing it does to the disk or the network: wrapped from outside, for every k."""

from __future__ import annotations

import asyncio.selector_events
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define

from asyncsdk.uploads.journal import Opened, Part
from asyncsdk.uploads.resuming.resume import non_overlapping
from tests.faults.support import MIB, Job, ServerProcess, make_file, remembered, serving, start, upload
from tests.faults.table import Row

SIZE = 3 * MIB // 4  # two parts, the last one short
DISK = ("write", "fdatasync", "fsync", "rename", "replace", "unlink", "mkdir")
WIRE = ("write", "writelines")


@define
class Death:
    """Comes at the `at`-th step (from 1), before it is done; or `torn`: at the `at`-th write, when half is written."""

    at: int
    torn: bool
    steps: int = 0

    def __call__(self) -> None:
        """Wrap what this process does to the disk and the network."""
        loop: Any = asyncio.selector_events
        transport = loop._SelectorSocketTransport  # noqa: SLF001 - what is written to sockets, not only begun, passes it
        names = [(os, name) for name in DISK] + [(transport, name) for name in WIRE]
        for owner, name in names:
            if name == "write" or not self.torn:
                setattr(owner, name, self._deadly(getattr(owner, name)))

    def _deadly(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            self.steps += 1
            if self.steps < self.at:
                return real(*arguments, **options)
            if self.torn:  # to a descriptor, or by a transport: what it writes is second
                real(arguments[0], memoryview(arguments[1])[: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("it survived SIGKILL")

        return step


async def die_at_every_step(folder: Path, *, torn: bool, first: int = 1, stride: int = 1) -> Row:
    """Let a small upload die at each of its steps, or in each of its writes, and finish it by the same call.

    `first` and `stride` take some of them only: so many tests share them.
    """
    row = Row("torn writes" if torn else "steps")
    async with serving(folder / "server") as server:
        while await _dies_and_goes_on(server, folder, Death(first + row.cases * stride, torn), row):
            row.cases += 1
    return row


async def _dies_and_goes_on(server: ServerProcess, folder: Path, death: Death, row: Row) -> bool:
    name = f"{'torn' if death.torn else 'dead'}-{death.at}"
    path, journal = make_file(folder / f"{name}.bin", SIZE, seed=death.at), folder / name
    job = Job(server.url, path, journal, part_size=MIB // 2, concurrency=1)
    creates = (await server.stats())["requests"].get("create", 0)
    survived = await start(job, death).answer()
    records = remembered(journal)
    opened = [record for record in records if isinstance(record, Opened)]
    parts = [record for record in records if isinstance(record, Part)]
    answer = await upload(job)
    files = [file["id"] for file in server.files() if file["filename"] == path.name]
    creates = (await server.stats())["requests"]["create"] - creates
    row.must(files == [answer["file_id"]], f"{name}: files on the server: {files}")
    row.must(server.content(answer["file_id"]) == path.read_bytes(), f"{name}: other bytes are stored")
    row.must(len(non_overlapping(parts)) == len(parts), f"{name}: {parts}")
    row.must(creates <= 2 - bool(opened), f"{name}: {creates} creates, {len(opened)} remembered")
    row.must(answer["bytes_resumed"] >= sum(part.length for part in parts), f"{name}: sent what was held: {answer}")
    return survived is None
