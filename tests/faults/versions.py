"""Uploads and edits that one version of asyncsdk begins and another goes on with, each with its own code.

Whatever is read here of journal and ledger is read as plain JSON: it must be there whoever reads it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import define, frozen

from asyncsdk.server import Fault
from tests.faults.edits import make_jobs, write_jobs
from tests.faults.edits_checks import is_forbidden
from tests.faults.edits_process import EditMany, Record
from tests.faults.kills import FORM_BYTES, OTHER_BYTES
from tests.faults.support import LIMIT, MIB, ServerProcess, make_file, serving, sha256_of
from tests.faults.table import Row

OURS = Path(__file__).parents[2]
PART, PARTS, CONNECTIONS = MIB // 2, 16, 3
SIZE = PARTS * PART - 12345
RATE = "8MiB"  # a second: there is time to be killed half-way
JOBS, AT_ONCE = 24, 4
LASTING = Fault("edit", "stall", at="done", every=1, seconds=0.05)  # time to be killed between payment and answer
MOST_KILLS = 3


@frozen
class Version:
    """The asyncsdk of one checkout, which is left as it is: what Python compiles goes to `cache`."""

    name: str
    checkout: Path
    cache: Path

    async def check(self) -> None:
        """Raise ValueError unless its own code is what runs."""
        process = await self.run("-c", "import asyncsdk; print(asyncsdk.__file__)")
        told, _ = await process.communicate()
        if not Path(told.decode().strip()).is_relative_to(self.checkout):
            raise ValueError(f"{self.checkout} is no checkout of asyncsdk")

    @property
    def environment(self) -> dict[str, str]:
        """Its own code comes first, and nothing from where this program runs."""
        return {
            "PYTHONPATH": str(self.checkout),
            "PYTHONSAFEPATH": "1",
            "PYTHONPYCACHEPREFIX": str(self.cache),
            "PYTHONDONTWRITEBYTECODE": "",  # it would compile everything at each start
        }

    async def run(self, *arguments: str, **more: str) -> Process:
        known = os.environ | self.environment | more
        return await asyncio.create_subprocess_exec(sys.executable, *arguments, env=known, stdout=PIPE, stderr=PIPE)


async def go_on_with_each_other(folder: Path, other: Path, rounds: int, *, seed: int) -> Row:
    """Both ways, so many rounds each, for uploads and for edits."""
    row, numbers = Row("versions"), random.Random(seed)
    cache = folder / "cache"
    versions = Version("this one", OURS, cache), Version("the other", other.resolve(), cache)
    for version in versions:
        await version.check()
    found = Counter[str]()
    async with serving(folder / "server") as server:
        await server.inject(LASTING)
        for number in range(rounds):
            for first, second in (versions, versions[::-1]):
                row.cases += 2
                name = f"{number}-{first.name.replace(' ', '-')}"
                kills = 1 + number % MOST_KILLS
                turn = _Round(server, folder / name, (first, second), kills, numbers, row, found)
                turn.folder.mkdir()
                await _Upload.of(turn).go()
                await _Edits.of(turn).go()
    row.figures |= {name: f"{count:,}" for name, count in found.items()}
    return row


@define(eq=False)
class _Round:
    """`versions` take turns: so many are killed, the next one ends it, and the other one is asked once more."""

    server: ServerProcess
    folder: Path
    versions: tuple[Version, Version]
    kills: int
    numbers: random.Random
    row: Row
    found: Counter[str]

    @property
    def in_turn(self) -> list[Version]:
        return [self.versions[number % 2] for number in range(self.kills + 2)]

    def must(self, held: object, else_say: str) -> None:
        self.row.must(held, f"{self.folder.name}, {self.kills} kills: {else_say}")

    async def until(self, holds: Callable[[], bool], process: Process) -> None:
        async with asyncio.timeout(LIMIT):
            while not holds() and process.returncode is None:
                await asyncio.sleep(0.01)


@define(eq=False)
class _Upload:
    """One file: what the journal holds is not sent again, and there is one file on the server."""

    turn: _Round
    path: Path
    journal: Path

    @classmethod
    def of(cls, turn: _Round) -> _Upload:
        path = make_file(turn.folder / f"{turn.folder.name}.bin", SIZE, seed=turn.numbers.getrandbits(32))
        return cls(turn, path, turn.folder / "journal")

    async def go(self) -> None:
        *killed, last, asked = self.turn.in_turn
        before, held = await self.turn.server.stats(), set[str]()
        for version in killed:
            held |= await self._killed(version, len(held))
        answer = await self._ended(last)
        stats = await self.turn.server.until_idle()
        file = self._file()
        must = self.turn.must
        must(file.get("id") == answer["file_id"], f"{last.name} tells of {answer['file_id']}, the server of {file}")
        must(held <= set(file.get("part_ids", ())), "parts that the journal held are not in the file")
        stored = self.turn.server.pieces(file["id"]) if file else []
        must(sha256_of(*stored) == sha256_of(self.path), "other bytes are stored")
        creates = stats["requests"]["create"] - before["requests"].get("create", 0)
        must(creates == 1, f"{creates} uploads were begun")
        came = stats["bytes_received"] - before["bytes_received"]
        in_flight = len(killed) * (CONNECTIONS * (PART + FORM_BYTES) + OTHER_BYTES)
        most = SIZE + PARTS * FORM_BYTES + OTHER_BYTES + in_flight
        must(came <= most, f"{came:,} bytes came, {most:,} are the file and what was in flight")
        again = await self._ended(asked)
        must(again["file_id"] == answer["file_id"] and again["reused"], f"{asked.name} was asked again: {again}")
        self.turn.found.update({"kills": 2 * len(killed), "parts held": len(held)})

    async def _killed(self, version: Version, held: int) -> set[str]:
        """Kill it once the journal holds more than before; return the ids of what it holds."""
        wanted = held + self.turn.numbers.randint(1, PARTS // (MOST_KILLS + 1))
        process = await self._start(version)
        await self.turn.until(lambda: len(self._held()) >= wanted, process)
        self.turn.must(process.returncode is None, f"{version.name} ended before its kill: {process.returncode}")
        if process.returncode is None:
            process.kill()
        await process.communicate()
        await self.turn.server.until_idle()
        return self._held()

    async def _ended(self, version: Version) -> dict[str, Any]:
        process = await self._start(version)
        told, complaints = await asyncio.wait_for(process.communicate(), LIMIT)
        self.turn.must(
            process.returncode == 0, f"{version.name}: exit {process.returncode}, {complaints.decode()[-300:]}"
        )
        if process.returncode:
            return {"file_id": None, "reused": False}
        answer = json.loads(told)
        return {"file_id": answer["file"]["id"], "reused": answer["reused"]}

    async def _start(self, version: Version) -> Process:
        return await version.run(
            "-m", "asyncsdk", "upload", str(self.path), "--purpose", "batch", "--journal", str(self.journal), "--json",
            "--part-size", str(PART), "--concurrency", str(CONNECTIONS), "--limit-rate", RATE,
            OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=self.turn.server.url,
        )  # fmt: skip

    def _held(self) -> set[str]:
        return {fact["id"] for fact in facts_in(self.journal) if fact["t"] == "part"}

    def _file(self) -> dict[str, Any]:
        files = [file for file in self.turn.server.files() if file["filename"] == self.path.name]
        self.turn.must(len(files) == 1, f"{len(files)} files on the server")
        return files[0] if files else {}


@define(eq=False)
class _Edits:
    """One job file: what is done is not sent again, and what was in flight at a kill is uncertain."""

    turn: _Round
    jobs: list[Record]
    path: Path
    out: Path
    done: set[str]
    in_flight: set[str]

    @classmethod
    def of(cls, turn: _Round) -> _Edits:
        jobs = [job | {"prompt": f"{turn.folder.name}: {job['prompt']}"} for job in make_jobs(turn.folder, JOBS)]
        jobs[1]["prompt"] += ", forbidden"
        return cls(turn, jobs, write_jobs(turn.folder, jobs), turn.folder / "out", set(), set())

    async def go(self) -> None:
        *killed, last, asked = self.turn.in_turn
        for number, version in enumerate(killed):
            await self._killed(version, number)
        await self._ended(last, "last")
        counts = await self._counts()
        twice = [prompt for prompt, count in counts.items() if count > 1]
        self.turn.must(not twice, f"edited twice: {twice}")
        await self._ended(asked, "asked")
        self.turn.must(await self._counts() == counts, f"{asked.name} was asked again, and paid")
        self.turn.found.update({"edits done": len(self.done), "edits in flight": len(self.in_flight)})

    async def _killed(self, version: Version, number: int) -> None:
        """Kill it once more is done than before."""
        wanted = len(self.done) + self.turn.numbers.randint(1, JOBS // (MOST_KILLS + 1) - AT_ONCE // 2)
        running = await self._command(version).start(self.turn.folder / f"killed{number}")
        await self.turn.until(lambda: len(self._ids("done")) >= wanted, running.process)
        self.turn.must(running.code is None, f"{version.name} ended before its kill: {running.complaints[-300:]}")
        await running.kill()
        await self._until_idle()
        self.done, self.in_flight = self._ids("done"), self._ids("intent")
        counts = await self._counts()
        paid = {job["id"] for job in self.jobs if counts[job["prompt"]]}
        lost = paid - self.done - self.in_flight
        self.turn.must(not lost, f"{version.name}: {lost} were paid, and the ledger does not know")

    async def _ended(self, version: Version, log: str) -> None:
        """All jobs end as they must: what is known stays so, and what is new is done."""
        running = await self._command(version).start(self.turn.folder / log)
        await running.end(LIMIT)
        told = {name: record["status"] for name, record in running.records.items()}
        for job in self.jobs:
            name, status = job["id"], told.get(job["id"])
            self.turn.must(status == self._due(job), f"{version.name}: {name} is {status}, not {self._due(job)}")
        self.turn.must(running.code in {0, 3}, f"{version.name}: exit {running.code}, {running.complaints[-300:]}")
        self.done = self._ids("done")

    def _due(self, job: Record) -> str:
        if job["id"] in self.in_flight:
            return "uncertain"
        if is_forbidden(job):
            return "refused"
        return "skipped" if job["id"] in self.done else "done"

    def _command(self, version: Version) -> EditMany:
        url = self.turn.server.url
        return EditMany(url, self.path, self.out, AT_ONCE, self.turn.folder, version.environment)

    def _ids(self, kind: str) -> set[str]:
        """The edits of which this is the last word."""
        found = [fact for fact in facts_in(self.out / ".asyncsdk" / "ledger") if "item" in fact]
        names = {fact["item"]: fact["id"] for fact in found if "id" in fact}
        last = {fact["item"]: fact["t"] for fact in found}
        return {names[item] for item, said in last.items() if said == kind}

    async def _counts(self) -> dict[str, int]:
        edited = await self.turn.server.edits()
        return {job["prompt"]: edited.get(job["prompt"], 0) for job in self.jobs}

    async def _until_idle(self) -> None:
        async with asyncio.timeout(LIMIT):
            while (await self.turn.server.stats())["in_flight"].get("edit", 0):
                await asyncio.sleep(0.01)


def facts_in(folder: Path) -> Iterator[dict[str, Any]]:
    """What the segments below `folder` say, in their order; a line that a kill cut off says nothing."""
    for path in sorted(folder.rglob("*.jsonl")):
        for line in path.read_bytes().split(b"\n")[:-1]:
            yield json.loads(line)
