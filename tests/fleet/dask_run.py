"""A run on a Dask cluster whose workers are killed, stopped and retired, and whose scheduler is killed."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from asyncio.subprocess import PIPE
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from asyncsdk.server import Fault, LocalServer
from tests.faults.table import Row
from tests.fleet.checker import violations
from tests.fleet.dask_cluster import ROOT, DaskCluster, command_of
from tests.fleet.run import LIMIT, Copy
from tests.postgres.server import PostgresServer, running
from tests.stories.pictures import png

KEY = "sk-worker-5c1f0b7a"


@frozen
class DaskFleet:
    """`lost` and `busy` are every how many answers one is lost, or a 429. Durations are in seconds."""

    edits: int = 3000
    workers: int = 3
    concurrency: int = 8
    lease: float = 8.0
    edit_seconds: float = 0.2
    lost: int = 20
    busy: int = 10
    patience: float = 20.0  # with a scheduler that is gone


async def lead_dask(folder: Path, fleet: DaskFleet, *, seed: int) -> Row:
    """Run it, and find what must not be afterwards."""
    row = Row("dask fleet", fleet.edits)
    faults = [
        Fault("edit", "reset", at="done", every=fleet.lost),
        Fault("edit", "answer", status=429, every=fleet.busy, headers={"retry-after-ms": "20"}),
    ]
    server = LocalServer(folder / "server", faults=faults, edit_seconds=fleet.edit_seconds)
    with running() as postgres:
        async with server:
            one = _Run(folder, fleet, server, postgres, postgres.new_database(), row)
            await one.go(random.Random(seed))
            one.check()
    return row


@define(eq=False)
class _Run:
    folder: Path
    fleet: DaskFleet
    server: LocalServer
    postgres: PostgresServer
    database: str
    row: Row
    cluster: DaskCluster = field(init=False)
    drivers: list[Copy] = field(factory=list)
    in_flight: int = 0  # when something was killed or stopped

    async def go(self, numbers: random.Random) -> None:
        """Each trouble once, in any order; then another cluster."""
        began, fleet = time.monotonic(), self.fleet
        (self.folder / "a.png").write_bytes(png())
        try:
            self._new_cluster("first", self.fleet.workers)
            await self._drive()
            troubles = [self._kill, self._stop, self._retire]
            numbers.shuffle(troubles)
            pausing: list[asyncio.Future[None]] = []
            for number, trouble in enumerate(troubles):
                await self._until_made((number + 1) * fleet.edits // 8)
                self.in_flight += fleet.concurrency
                if trouble == self._stop:
                    pausing.append(asyncio.ensure_future(trouble(number)))
                else:
                    await trouble(number)
                if number < 2:
                    self.cluster.add_worker()
            await self._until_made(fleet.edits // 2)
            assert self.cluster.scheduler is not None
            self.cluster.scheduler.kill()
            self.in_flight += len(self.cluster.workers) * fleet.concurrency
            async with asyncio.timeout(LIMIT):
                await self.drivers[0].ended
            await asyncio.gather(*pausing)  # one goes on though its scheduler is gone
            self.cluster.stop()
            self._new_cluster("second", self.fleet.workers - 1)
            await self._drive()
            async with asyncio.timeout(LIMIT):
                await self.drivers[1].ended
        finally:
            self.cluster.stop()
        self.row.seconds = time.monotonic() - began

    def check(self) -> None:
        """What must hold once all have ended."""
        fleet, row, made = self.fleet, self.row, dict(self.server.edits.by_prompt)
        sql = partial(self.postgres.sql, database=self.database)
        ids = {f"e{number}" for number in range(fleet.edits)}
        row.violations += violations(made, sql, self.folder / "out", ids=ids)
        states = Counter(sql("select status from asyncsdk.edit").split())
        most = self.in_flight + self.server.edits.edits // fleet.lost + fleet.workers
        row.must(states["uncertain"] <= most, f"{states['uncertain']} are uncertain, {most} were in flight or lost")
        first, second = self.drivers
        row.must(b"scheduler" in first.errors, f"the first driver did not see it: {first.errors[-500:].decode()}")
        row.must(second.process.returncode == 0, f"the second driver failed: {second.errors[-500:].decode()}")
        row.must(second.outcomes.keys() == ids, f"the second driver saw {len(second.outcomes)} end")
        secrets = {KEY, self.postgres.password}
        written = self.cluster.log() + "".join(driver.errors.decode() for driver in self.drivers)
        row.must(not any(secret in written for secret in secrets), "a secret is in a log")
        row.figures |= {"made": str(self.server.edits.edits), "twice": str(sum(each > 1 for each in made.values()))}
        row.figures |= {"uncertain": f"{states['uncertain']} of {most} in flight or lost", "done": str(states["done"])}
        row.figures |= {"seen by the first driver": str(len(first.outcomes))}

    def _new_cluster(self, name: str, workers: int) -> None:
        environment = {"OPENAI_API_KEY": KEY, "PGPASSWORD": self.postgres.password}
        self.cluster = DaskCluster(self.folder / name, environment)
        self.cluster.start(workers)

    async def _drive(self) -> None:
        task: dict[str, Any] = {"url": self.server.url, "database": self.postgres.url(self.database)}
        task |= {"out": str(self.folder / "out"), "picture": str(self.folder / "a.png"), "dask": self.cluster.address}
        task |= {"edits": self.fleet.edits, "lease": self.fleet.lease, "concurrency": self.fleet.concurrency}
        task |= {"patience": self.fleet.patience}
        process = await asyncio.create_subprocess_exec(
            *command_of(task), stdout=PIPE, stderr=PIPE, limit=1 << 24, cwd=ROOT
        )
        self.drivers.append(Copy(process))

    async def _kill(self, number: int) -> None:
        self.cluster.workers[number].kill()

    async def _stop(self, number: int) -> None:
        self.cluster.workers[number].send_signal(signal.SIGSTOP)
        await asyncio.sleep(2.5 * self.fleet.lease)
        self.cluster.workers[number].send_signal(signal.SIGCONT)

    async def _retire(self, number: int) -> None:
        await asyncio.to_thread(self.cluster.retire, number)

    async def _until_made(self, number: int) -> None:
        async with asyncio.timeout(LIMIT):
            while self.server.edits.edits < number and not self.drivers[-1].ended.done():
                await asyncio.sleep(0.02)


if __name__ == "__main__":
    import sys
    import tempfile

    from tests.faults.table import lines_of

    with tempfile.TemporaryDirectory() as directory:
        sizes = DaskFleet(*map(int, sys.argv[1:2]))
        outcome = asyncio.run(lead_dask(Path(directory), sizes, seed=time.time_ns()))
        print(*lines_of([outcome]), sep="\n")  # noqa: T201 - a program's output
        sys.exit(bool(outcome.violations))
