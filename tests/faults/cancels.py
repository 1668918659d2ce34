"""One small upload, cancelled at a step of its tasks: what is left of it then, and how the next call goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import anyio
from attrs import define, field, frozen

from asyncsdk import AsyncUploader, Client, FileJournal, UploadResult
from asyncsdk.server import LocalServer
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.journal import Part
from tests.faults.leaving import left_behind, still_left, stopwatch, threads_of
from tests.faults.stepping import Steps, counting
from tests.faults.table import Row
from tests.stories.support import MIB

How = Literal["task.cancel()", "a cancel scope"]
LIMIT = 20.0  # seconds after which a call that still runs is a failure at once
HOWS: tuple[How, ...] = ("task.cancel()", "a cancel scope")


async def cancel_at_steps(server: LocalServer, folder: Path, how: How, steps: range, row: Row) -> None:
    """Cancel at each of `steps` that an upload has, each time with a journal and a file of its own."""
    for step in steps:
        here = folder / str(step)
        here.mkdir()
        path = here / f"{how}-{step}.bin"
        path.write_bytes(random.Random(step).randbytes(MIB + 1000))
        victim = Victim(server, path)
        end = await cancelled_at(step, how, victim)
        if step > end.steps:
            break
        row.cases += 1
        row.seconds = max(row.seconds, end.seconds)
        row.must(not end.left, f"{how} at step {step}: left a second later: {end.left}")
        row.must(end.seconds <= 1, f"{how} at step {step}: it took {end.seconds:.1f} s to leave")
        row.must(end.was_cancelled or step == end.steps, f"{how} at step {step} of {end.steps}: it went on")
        await assert_it_goes_on(victim)


@define(eq=False)
class Victim:
    """An upload of `path` that is to be cancelled, and the threads that work for it."""

    server: LocalServer
    path: Path
    threads: list[DaemonThreadPool] = field(factory=list, init=False)

    async def upload(self) -> UploadResult:
        """By a client of its own."""
        async with Client("sk-test", base_url=self.server.url) as client:
            uploader = AsyncUploader(client, journal=self.path.parent / "journal", part_size=MIB, concurrency=2)
            self.threads = threads_of(uploader)
            return await uploader.upload(self.path, purpose="batch")

    def left(self) -> list[str]:
        """What there still is of it in this process, beside this very task."""
        return left_behind(self.threads, self.path, self.path.parent / "journal", port=self.server.port)


@define(eq=False)
class Running:
    """A call in a task and a scope of its own, to be cancelled by either."""

    how: How
    call: Callable[[], Awaitable[object]]
    task: asyncio.Task[None] = field(init=False)
    _scope: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)

    def __attrs_post_init__(self) -> None:
        self.task = asyncio.create_task(self._within())

    async def _within(self) -> None:
        with self._scope:
            await self.call()

    def cancel(self) -> None:
        (self.task.cancel if self.how == "task.cancel()" else self._scope.cancel)()

    @property
    def was_cancelled(self) -> bool:
        return self.task.cancelled() or self._scope.cancelled_caught


@frozen
class End:
    """What came of a cancel: after how many steps and seconds all was over, and what was `left` a second after it."""

    steps: int
    seconds: float
    was_cancelled: bool
    left: list[str]


async def cancelled_at(step: int, how: How, victim: Victim) -> End:
    """Upload, and cancel that at a step."""
    with stopwatch() as watch:

        def stop() -> None:
            watch.start()
            running.cancel()

        steps = Steps(step, stop)
        with counting(steps):
            running = Running(how, victim.upload)
            await asyncio.wait([running.task], timeout=LIMIT)
        assert running.task.done(), f"{how} at step {step}: it still runs"
        assert running.task.cancelled() or running.task.exception() is None, repr(running.task.exception())
        left = await still_left(victim.left, watch)
        return End(steps.taken, watch.seconds, running.was_cancelled, left)


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
