"""Processes as on machines of their own share uploads from a bucket: some are killed, one stops past its lease."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from attrs import asdict, define, field, frozen

from tests.faults.support import MIB, ServerProcess, serving
from tests.faults.table import Row
from tests.postgres.server import PostgresServer, running
from tests.remote.s3_server import S3Server, s3_server

BUCKET = "night"
AROUND = 4096  # bytes: what is around a part on the wire, and the bodies of create and complete
LIMIT = 900.0


@frozen
class Fleet:
    """`files` of `size` bytes, in parts of `part_size`, by so many `processes` of `concurrency` connections each.

    Of these, `killed` are, and the one after them is stopped until what it held was taken. `lease` is in seconds,
    `rate` in bytes per second of each.
    """

    files: int = 60
    size: int = 64 * MIB
    part_size: int = 8 * MIB
    processes: int = 4
    killed: int = 2
    concurrency: int = 4
    lease: float = 60.0
    rate: float | None = None


@frozen
class Task:
    """What a process is to do: all uploads, from the one of this number on, and round."""

    url: str
    database: str
    store: dict[str, Any]
    names: list[str]
    number: int
    fleet: Fleet


@define(eq=False)
class Member:
    """A process of the fleet."""

    process: Process
    outcomes: list[dict[str, Any]] = field(factory=list)
    ended: asyncio.Future[None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ended = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.outcomes.append(json.loads(line))
        await self.process.wait()


async def lead(folder: Path, fleet: Fleet, *, seed: int) -> Row:
    """Run a fleet, and find what must not be afterwards."""
    row, began = Row("fleet", fleet.files), time.monotonic()
    with running() as postgres, s3_server() as store:
        digests = _fill(store, fleet, seed)
        async with serving(folder / "server") as server:
            made = time.monotonic()
            run = _Run(server, postgres, postgres.new_database(), store, fleet, random.Random(seed), row)
            await run.go(sorted(digests))
            row.figures["seconds to upload"] = f"{time.monotonic() - made:.0f} (to make them {made - began:.0f})"
            run.check(digests, await server.until_idle())
    return row


def _fill(store: S3Server, fleet: Fleet, seed: int) -> dict[str, str]:
    """Put the objects; their digests by name."""
    digests = {}
    store.put(BUCKET)
    for number in range(fleet.files):
        content = random.Random(seed * 1000 + number).randbytes(fleet.size)
        store.put(f"{BUCKET}/{number:03}.bin", content)
        digests[f"{number:03}.bin"] = sha256(content).hexdigest()
    return digests


@define(eq=False)
class _Run:
    server: ServerProcess
    postgres: PostgresServer
    database: str
    store: S3Server
    fleet: Fleet
    numbers: random.Random
    row: Row
    members: list[Member] = field(factory=list)
    late: Member = field(init=False)
    held: list[str] = field(factory=list)  # the keys that the late one held when it was stopped
    has_tables: bool = False

    async def go(self, names: list[str]) -> None:
        fleet, url = self.fleet, self.postgres.url(self.database)
        for number in range(fleet.processes):
            first = number * fleet.files // fleet.processes
            task = Task(self.server.url, url, self.store.options, names, first, fleet)
            self.members.append(Member(await _start(task)))
        for number, member in enumerate(self.members[: fleet.killed], 1):
            await self._until(lambda number=number: self._completed() >= number * fleet.files // 6)  # type: ignore[misc] # bound
            await self._stop_at_work(member)
            member.process.kill()
        self.late = self.members[fleet.killed]
        await self._stop_at_work(self.late)
        self.held = self._keys_of(self.late)
        epochs = self._epochs()
        await self._until(lambda: all(self._epochs()[key] > epochs[key] for key in self.held))
        self.late.process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(*(member.ended for member in self.members))

    async def _stop_at_work(self, member: Member) -> None:
        """Stop it while it holds what is sent in part."""
        while True:
            await self._until(lambda: len(self._keys_of(member)) > 0 or member.ended.done())
            assert not member.ended.done(), "it has ended before it could be stopped"
            member.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(0.1)  # what it sent to the database is written
            if self._keys_of(member):
                return
            member.process.send_signal(signal.SIGCONT)

    def check(self, digests: dict[str, str], stats: dict[str, Any]) -> None:
        """What must hold once all have ended."""
        row, fleet, files = self.row, self.fleet, self.server.files()
        there = Counter(file["filename"] for file in files)
        row.must(there == Counter(dict.fromkeys(digests, 1)), f"files on the server: {there}")
        completed = [upload for upload in self.server.uploads() if upload["status"] == "completed"]
        row.must(len(completed) == fleet.files, f"{len(completed)} uploads were completed")
        for file in files:
            same = sha256(self.server.content(file["id"])).hexdigest() == digests.get(file["filename"])
            row.must(same, f"{file['filename']} has other bytes there")
        lost = fleet.killed + 1
        most = lost * fleet.concurrency * (fleet.part_size + AROUND) + AROUND * stats["requests"]["part"]
        again = stats["bytes_received"] - fleet.files * fleet.size
        row.must(again <= most, f"{again:,} bytes were sent again, {most:,} were in flight")
        refused = self._late_refusals()
        failed = [*(each["why"] for each in refused), *(each["error"] for each in self.late.outcomes if each["error"])]
        otherwise = [why for why in failed if "another process has taken over this upload" not in why]
        row.must(refused, "the late one was not refused")
        row.must(not otherwise, f"the late one failed otherwise: {otherwise[:2]}")
        self._check_records(files)
        for member in self.members[fleet.killed :]:
            last = {each["name"]: each["file"] for each in member.outcomes}
            wanted = {file["filename"]: file["id"] for file in files}
            row.must(last == wanted, f"process {member.process.pid} names other files")
            if member is not self.late:
                row.must(all(each["error"] is None for each in member.outcomes), "one that lived on failed")
        row.figures |= {
            "uploads": f"{len(self.server.uploads())}",
            "files": f"{len(files)}",
            "sent again": f"{again / MIB:.1f} MiB, of {most / MIB:.0f} in flight",
            "held by the late one": f"{len(self.held)}, refused {len(refused)}",
        }

    def _check_records(self, files: list[dict[str, Any]]) -> None:
        """Each upload was completed under the last epoch of its key, and of parts that the journal held."""
        ended = "select key, max(epoch) from asyncsdk.upload_record where kind = 'completed' group by key"
        lines = self._sql(f"select k.key, k.epoch - e.max from asyncsdk.upload_key k join ({ended}) e on e.key = k.key")
        self.row.must(len(lines) == len(files), f"{len(lines)} keys of the journal are completed")
        alive = self._sql("select key from asyncsdk.upload_key where holder is not null")
        self.row.must(not alive, f"still held: {alive}")
        unused = set(self._late_parts())
        used = {part for file in files for part in self._parts_of(file["id"])}
        self.row.must(not unused & used, f"parts of the late one are used: {sorted(unused & used)[:3]}")
        self.row.figures["parts of the late one, unused"] = f"{len(unused)}"

    def _late_parts(self) -> list[str]:
        """The parts that the late one sent, and that the journal took from it no more."""
        return [each["part"] for each in self._late_refusals() if each["part"]]

    def _late_refusals(self) -> list[dict[str, str]]:
        return [refusal for each in self.late.outcomes for refusal in each.get("refused", ())]

    def _parts_of(self, file_id: str) -> list[str]:
        found: list[str] = json.loads((self.server.data / "files" / f"{file_id}.json").read_bytes())["part_ids"]
        return found

    def _completed(self) -> int:
        return len(self.server.files())

    def _keys_of(self, member: Member) -> list[str]:
        """The keys that a process holds, of uploads of which parts are there, and which are not completed."""
        return self._sql(
            "select k.key from asyncsdk.upload_key k join asyncsdk.holder h on h.id = k.holder "
            f"where h.pid = {member.process.pid} and exists (select from asyncsdk.upload_record r "
            "where r.key = k.key and r.kind = 'part') and not exists (select from asyncsdk.upload_record r "
            "where r.key = k.key and r.kind in ('completing', 'completed'))"
        )

    def _epochs(self) -> dict[str, int]:
        rows = (row.split("|") for row in self._sql("select key, epoch from asyncsdk.upload_key"))
        return {key: int(epoch) for key, epoch in rows}

    def _sql(self, statement: str) -> list[str]:
        if not self.has_tables:
            made = self.postgres.sql("select to_regclass('asyncsdk.upload_record') is not null", database=self.database)
            self.has_tables = made == "t"
        return self.postgres.sql(statement, database=self.database).split() if self.has_tables else []

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not await asyncio.to_thread(holds):
                await asyncio.sleep(0.05)


async def _start(task: Task) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.fleet_process", json.dumps(asdict(task)), stdout=PIPE, limit=1 << 24
    )
