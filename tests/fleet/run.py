"""Processes edit one list: some are killed, some stopped for longer than their lease, and the database goes away."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from asyncsdk.server import Fault, LocalServer
from tests.faults.table import Row
from tests.fleet.checker import LEAST_OF_IT, busiest_minute, rate_violations, slowest_minute, violations
from tests.postgres.server import PostgresServer, running

LIMIT = 1200.0
LOOK_SECONDS = 0.02
STEADY_SECONDS = 15.0  # after a trouble, until all is as before
POOL = "fleet"
LOOKS = "select coalesce(sum(version), 0) from asyncsdk.rate_pool"


@frozen
class EditFleet:
    """`lost` and `busy` are every how many answers one is lost, or a 429. Durations are in seconds.

    `images_per_minute` is the limit of the server; `is_learned`: it is not given to the processes.
    """

    edits: int = 6000
    processes: int = 8
    concurrency: int = 8
    killed: int = 3
    stopped: int = 2
    restarts: int = 2
    away: float = 30.0
    lease: float = 8.0
    edit_seconds: float = 0.2
    lost: int = 20
    busy: int = 10
    max_edits: int | None = None
    images_per_minute: int | None = 1200
    is_learned: bool = False
    header: str | None = None  # of a server that makes an edit once for each key in it


@define(eq=False)
class Copy:
    """A process of the fleet."""

    process: Process
    outcomes: dict[str, str] = field(factory=dict)
    errors: bytes = b""
    ended: asyncio.Future[None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ended = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        while line := await self.process.stdout.readline():
            outcome = json.loads(line)
            self.outcomes[outcome["id"]] = outcome["status"]
        self.errors = await self.process.stderr.read()
        await self.process.wait()


async def lead_edits(folder: Path, fleet: EditFleet, *, seed: int) -> Row:
    """Run a fleet, and find what must not be afterwards."""
    row, numbers = Row("edit fleet", fleet.edits), random.Random(seed)
    faults = [Fault("edit", "reset", at="done", every=fleet.lost)] if fleet.lost else []
    if fleet.busy:
        busy = Fault("edit", "answer", status=429, every=fleet.busy, headers={"retry-after-ms": "20"})
        faults.append(busy)
    server = LocalServer(
        folder / "server",
        faults=faults,
        edit_seconds=fleet.edit_seconds,
        images_per_minute=fleet.images_per_minute,
        idempotency_header=fleet.header,
    )
    with running() as postgres:
        async with server:
            run = FleetRun(folder / "out", fleet, server, postgres, postgres.new_database(), row)
            await run.go(numbers)
            run.check()
            run.check_rate()
    return row


@define(eq=False)
class FleetRun:
    out: Path
    fleet: EditFleet
    server: LocalServer
    postgres: PostgresServer
    database: str
    row: Row
    copies: list[Copy] = field(factory=list)
    in_flight: int = 0  # when something was killed, stopped or away
    arrivals: list[tuple[float, int]] = field(factory=list)
    troubled: list[tuple[float, float]] = field(factory=list)  # from when to when something failed

    async def go(self, numbers: random.Random) -> None:
        fleet, began = self.fleet, time.monotonic()
        task: dict[str, Any] = {"url": self.server.url, "database": self.postgres.url(self.database)}
        task |= {"out": str(self.out), "edits": fleet.edits, "lease": fleet.lease, "page": 20}
        task |= {"concurrency": fleet.concurrency, "max_edits": fleet.max_edits, "header": fleet.header}
        task |= {"rate_pool": None if fleet.images_per_minute is None else POOL}
        task |= {"images_per_minute": None if fleet.is_learned else fleet.images_per_minute}
        counting = asyncio.ensure_future(self._count())
        self.copies = [Copy(await _start(task)) for _ in range(fleet.processes)]
        troubles = ["kill"] * fleet.killed + ["stop"] * fleet.stopped + ["restart"] * fleet.restarts
        numbers.shuffle(troubles)
        victims, pausing = self.copies[:-1], []
        for number, trouble in enumerate(troubles, 1):
            await self._until_made(number * fleet.edits // (2 * len(troubles) + 2))
            failed = time.monotonic()
            if trouble == "restart":
                self.in_flight += fleet.processes * fleet.concurrency
                await self._restart(fleet.away if number % 2 else 0.0)
                self.troubled.append((failed, time.monotonic() + STEADY_SECONDS))
                continue
            victim, self.in_flight = victims.pop(0), self.in_flight + fleet.concurrency
            victim.process.send_signal(signal.SIGKILL if trouble == "kill" else signal.SIGSTOP)
            if trouble == "stop":
                pausing.append(asyncio.ensure_future(_go_on(victim, 2.5 * fleet.lease)))
            seconds = STEADY_SECONDS + (2.5 * fleet.lease if trouble == "stop" else 0.0)
            self.troubled.append((failed, failed + seconds))
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(*pausing, *(copy.ended for copy in self.copies))
        counting.cancel()
        self.row.seconds = time.monotonic() - began

    def check(self) -> None:
        """What must hold once all have ended."""
        fleet, row, made = self.fleet, self.row, dict(self.server.edits.by_prompt)
        sql = partial(self.postgres.sql, database=self.database)
        ids = {f"e{number}" for number in range(fleet.edits)}
        row.violations += violations(
            made,
            sql,
            self.out,
            ids=ids if fleet.max_edits is None else set(),
            asked_again=fleet.header is not None,
        )
        states = Counter(sql("select status from asyncsdk.edit").split())
        lost = self.server.edits.edits // fleet.lost + fleet.processes if fleet.lost else 0
        most = self.in_flight + lost if fleet.header is None else 0  # each is asked for again by its key
        row.must(states["uncertain"] <= most, f"{states['uncertain']} are uncertain, {most} were in flight or lost")
        for copy in self.copies:
            if copy.process.returncode == -signal.SIGKILL:
                continue
            has_ended = copy.process.returncode == 0 or fleet.max_edits
            row.must(has_ended, f"a copy failed: {copy.errors[-500:].decode()}")
            row.must(fleet.max_edits or copy.outcomes.keys() == ids, f"a copy saw {len(copy.outcomes)} end")
        if fleet.max_edits is not None:
            row.must(self.server.edits.edits == fleet.max_edits, f"not {fleet.max_edits} were made")
        row.figures |= {"made": str(self.server.edits.edits), "twice": str(sum(each > 1 for each in made.values()))}
        row.figures |= {"uncertain": f"{states['uncertain']} of {most} in flight or lost", "done": str(states["done"])}

    def check_rate(self) -> None:
        """What must hold of the rate: of all that came, those turned away too."""
        fleet, row, limit = self.fleet, self.row, self.fleet.images_per_minute
        if limit is None:
            return
        row.violations += rate_violations(self.arrivals, limit)
        slowest = slowest_minute(self.arrivals, quiet=self._quiet())
        row.must(slowest is None or slowest >= LEAST_OF_IT * limit, f"only {slowest} came in a minute without a fault")
        looks = int(self.postgres.sql(LOOKS, database=self.database)) / fleet.processes / row.seconds
        row.figures |= {
            "busiest minute": str(busiest_minute(self.arrivals)[0]),
            "slowest without a fault": str(slowest),
        }
        row.figures |= {"takes a second and process": f"{looks:.2f}"}

    def _quiet(self) -> list[tuple[float, float]]:
        """The spans in which nothing failed, and as many were left as all processes have waiting at once."""
        begin, left = self.arrivals[0][0] + STEADY_SECONDS, self.fleet.processes * self.fleet.concurrency
        total, spans = sum(number for _, number in self.arrivals), list[tuple[float, float]]()
        end, count = begin, 0
        for at, number in self.arrivals:
            count += number
            if count <= total - left:
                end = at
        for failed, over in sorted(self.troubled):
            spans.append((begin, failed))
            begin = max(begin, over)
        return [*spans, (begin, end)]

    async def _count(self) -> None:
        seen = 0
        while True:
            calls = self.server.calls.get("edit", 0)
            if calls > seen:
                self.arrivals.append((time.monotonic(), calls - seen))
            seen = calls
            await asyncio.sleep(LOOK_SECONDS)

    async def _restart(self, away: float) -> None:
        await asyncio.to_thread(self.postgres.stop)
        await asyncio.sleep(away)
        await asyncio.to_thread(self.postgres.start)

    async def _until_made(self, number: int) -> None:
        async with asyncio.timeout(LIMIT):
            while self.server.edits.edits < number and not all(copy.ended.done() for copy in self.copies):
                await asyncio.sleep(0.02)


async def _go_on(copy: Copy, seconds: float) -> None:
    await asyncio.sleep(seconds)
    copy.process.send_signal(signal.SIGCONT)


async def _start(task: dict[str, Any]) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fleet.process", json.dumps(task), stdout=PIPE, stderr=PIPE, limit=1 << 24
    )
