"""One small upload, cancelled at a step of its tasks: what is left of it then, and how the next call goes on."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import anyio
from attrs import define, field

from asyncsdk import AsyncUploader, Client, FileJournal, UploadResult
from asyncsdk.journal import Part
from asyncsdk.server import LocalServer
from asyncsdk.threads import Threads
from tests.faults.line import open_sockets_to
from tests.faults.scene import open_files, within_a_second
from tests.faults.stepping import Steps, counting
from tests.faults.table import Row
from tests.stories.support import MIB

How = Literal["task.cancel()", "a cancel scope"]
HOWS: tuple[How, ...] = ("task.cancel()", "a cancel scope")


async def cancel_at_steps(server: LocalServer, folder: Path, how: How, steps: range, row: Row) -> None:
    """Cancel at each of `steps` that an upload has, each time with a journal and a file of its own."""
    for step in steps:
        here = folder / str(step)
        here.mkdir()
        path = here / f"{how}-{step}.bin"
        path.write_bytes(random.Random(step).randbytes(MIB + 1000))
        victim = Victim(server, path)
        taken, seconds = await cancelled_at(step, how, victim)
        if step > taken:
            break
        row.cases += 1
        row.seconds = max(row.seconds, seconds)
        await assert_it_goes_on(victim)


@define(eq=False)
class Victim:
    """An upload of `path` that is to be cancelled, and the threads that work for it."""

    server: LocalServer
    path: Path
    threads: list[Threads] = field(factory=list, init=False)

    async def upload(self) -> UploadResult:
        """By a client of its own."""
        async with Client("sk-test", base_url=self.server.url) as client:
            uploader = AsyncUploader(client, journal=self.path.parent / "journal", part_size=MIB, concurrency=2)
            self.threads = threads_of(uploader)
            return await uploader.upload(self.path, purpose="batch")

    def left(self) -> list[str]:
        """What there still is of it in this process, beside this very task."""
        return left_behind(self.server, self.threads, self.path, self.path.parent / "journal")


def threads_of(uploader: AsyncUploader) -> list[Threads]:
    """Those that read, hash and write the journal."""
    journal = uploader._journal
    assert isinstance(journal, FileJournal)
    return [uploader._tools.readers, uploader._tools.hashers, journal._threads]


def left_behind(server: LocalServer, threads: Iterable[Threads], *places: Path) -> list[str]:
    own = asyncio.current_task()
    return [
        *(repr(task) for task in asyncio.all_tasks() if task is not own),
        *open_files(*places),
        *["a socket"] * open_sockets_to(server.port),
        *(f"{each.name}: {each.busy} busy" for each in threads if each.busy),
    ]


async def cancelled_at(step: int, how: How, victim: Victim) -> tuple[int, float]:
    """Upload and cancel that at a step; how many there were, and seconds until nothing was left."""
    scope, asked = anyio.CancelScope(), [0.0]

    def stop() -> None:
        asked[0] = time.monotonic()
        (task.cancel if how == "task.cancel()" else scope.cancel)()

    async def within() -> None:
        with scope:
            await victim.upload()

    steps = Steps(step, stop)
    with counting(steps):
        task = asyncio.create_task(within())
        await asyncio.wait([task], timeout=10)
    assert task.done()
    assert task.cancelled() or task.exception() is None, repr(task.exception())
    await within_a_second(victim.left)
    return steps.taken, time.monotonic() - asked[0] if asked[0] else 0.0


async def assert_it_goes_on(victim: Victim) -> None:
    """The next call makes one file of it, and sends no byte that the journal holds."""
    server, path = victim.server, victim.path
    held = await bytes_held(path.parent / "journal")
    result = await victim.upload()
    assert [file.id for file in server.files if file.filename == path.name] == [result.file.id]
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert result.bytes_sent <= path.stat().st_size - held


async def bytes_held(journal: Path) -> int:
    entries = await FileJournal(journal).entries() if journal.exists() else []
    return sum(record.length for entry in entries for record in entry.records if isinstance(record, Part))


async def cancel_everywhere(folder: Path) -> Row:
    """All steps, both ways; `seconds` of the row is the longest that anything was left."""
    row = Row("cancels")
    with LocalServer(folder / "server") as server:
        for how in HOWS:
            below = folder / how
            below.mkdir()
            before = row.cases
            await cancel_at_steps(server, below, how, range(1, 100_000), row)
            row.figures[how] = f"{row.cases - before} steps"
    row.figures["longest"] = f"{row.seconds * 1000:.0f} ms"
    return row
