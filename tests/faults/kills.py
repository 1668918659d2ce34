"""Uploads killed at random moments, again and again until they are complete, with what must hold after each kill."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from asyncsdk.uploads.journal import Completed, Opened, Part, Record
from asyncsdk.uploads.resuming.resume import non_overlapping
from tests.faults.support import MIB, Job, ServerProcess, make_file, remembered, serving, sha256_of, start, upload
from tests.faults.table import Row

FORM_BYTES = 1024  # what stands around a part's bytes on the wire
OTHER_BYTES = 1 << 16  # the bodies of create and complete
SHORTEST_PATIENCE = 0.2


@frozen
class Sizes:
    """Files of `least` to `most` bytes, cut in parts of `parts` bytes, over so many `connections`; a run picks any."""

    least: int = 64 * MIB
    most: int = 512 * MIB
    parts: tuple[int, ...] = (MIB, 2 * MIB, 8 * MIB)
    connections: tuple[int, ...] = (1, 4, 8)


async def kill_uploads(folder: Path, kills: int, *, sizes: Sizes, seed: int, as_streams: bool = False) -> Row:
    """Upload one file after the other, and kill whatever runs, until there were so many kills."""
    row, numbers, sent_again = Row("streams" if as_streams else "kills"), random.Random(seed), [0, 0]
    files = 0
    async with serving(folder / "server") as server:
        while row.cases < kills:
            files += 1
            one = await _Round.begin(server, folder / f"{files}", sizes, numbers, row, as_stream=as_streams)
            await one.run(kills - row.cases)
            row.cases += one.kills
            sent_again[0] += one.sent_again
            sent_again[1] += one.allowed_again
            one.clear()
    row.figures |= {
        "files": f"{files}",
        "sent again": f"{sent_again[0] / MIB:,.0f} MiB",
        "at most": f"{sent_again[1] / MIB:,.0f} MiB",
    }
    return row


@define(eq=False)
class _Round:
    """One file until it is uploaded. `known` is what the journal held after the last kill, `held` of bytes."""

    server: ServerProcess
    path: Path
    journal: Path
    sizes: Sizes
    numbers: random.Random
    row: Row
    before: dict[str, Any]
    as_stream: bool
    kills: int = 0
    kills_unopened: int = 0
    allowed_again: int = 0
    sent_again: int = 0
    known: set[Record] = field(factory=set)
    held: int = 0
    received: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.received = self.before["bytes_received"]

    @classmethod
    async def begin(
        cls,
        server: ServerProcess,
        folder: Path,
        sizes: Sizes,
        numbers: random.Random,
        row: Row,
        *,
        as_stream: bool,
    ) -> _Round:
        folder.mkdir()
        size = numbers.randint(sizes.least, sizes.most)
        path = make_file(folder / f"{folder.name}.bin", size, seed=numbers.getrandbits(32))
        return cls(server, path, folder / "journal", sizes, numbers, row, await server.stats(), as_stream)

    def new_job(self) -> Job:
        """The same call as ever; how it is cut, and over how many connections, differs from run to run."""
        return Job(
            self.server.url,
            self.path,
            self.journal,
            part_size=self.numbers.choice(self.sizes.parts),
            concurrency=self.numbers.choice(self.sizes.connections),
            as_stream=self.as_stream,
        )

    async def run(self, most_kills: int) -> None:
        patience = SHORTEST_PATIENCE
        while self.kills < most_kills:
            running = start(job := self.new_job())
            if await running.ended(self.numbers.random() * patience):
                break
            await running.kill()
            self.kills += 1
            in_flight = job.concurrency * (job.part_size + FORM_BYTES)
            self.allowed_again += in_flight
            await self._weigh(in_flight)
            got_on = await self._look()
            patience = SHORTEST_PATIENCE if got_on else patience * 1.25
        await self._finish()

    async def _look(self) -> bool:
        """Check what the journal holds after a kill; tell whether that is more than before."""
        records = remembered(self.journal)
        now = {record for record in records if not isinstance(record, Completed)}
        # with its last word there old segments go, one by one, and a kill may come between
        settled = any(isinstance(record, Completed) for record in records)
        self.must(settled or self.known <= now, f"{len(self.known - now)} acknowledged records are gone")
        opened = [record for record in now if isinstance(record, Opened)]
        parts = [record for record in now if isinstance(record, Part)]
        self.must(len(opened) <= 1, f"{len(opened)} uploads were opened")
        self.must(len(non_overlapping(parts)) == len(parts), "a part was sent again that the journal held")
        self.kills_unopened += not opened
        got_on, self.known = len(now) > len(self.known), now
        return got_on

    async def _weigh(self, in_flight: int) -> None:
        """Check that what came since the last kill is what the journal holds more now, and what was `in_flight`."""
        stats, records = await self.server.until_idle(), remembered(self.journal)
        parts = [record for record in records if isinstance(record, Part)]
        settled = any(isinstance(record, Completed) for record in records)
        held = self.path.stat().st_size if settled else sum(part.length for part in parts)
        most = held - self.held + in_flight + OTHER_BYTES + FORM_BYTES * (held - self.held) // min(self.sizes.parts)
        came = stats["bytes_received"] - self.received
        self.must(came <= most, f"{came:,} bytes came, {held - self.held:,} are held of them, {in_flight:,} in flight")
        self.held, self.received = held, stats["bytes_received"]

    async def _finish(self) -> None:
        answer = await upload(self.new_job())
        await self._weigh(0)
        stats = await self.server.stats()
        again = await upload(self.new_job())
        files = [file for file in self.server.files() if file["filename"] == self.path.name]
        self.must([file["id"] for file in files] == [answer["file_id"]], f"files on the server: {files}")
        self.must(sha256_of(*self.server.pieces(answer["file_id"])) == sha256_of(self.path), "other bytes are stored")
        self.must(again["reused"] and again["file_id"] == answer["file_id"], f"called once more: {again}")
        creates = self._since(stats, "create")
        self.must(creates <= 1 + self.kills_unopened, f"{creates} creates, {self.kills_unopened} kills before one told")
        self.sent_again = stats["bytes_received"] - self.before["bytes_received"] - self.path.stat().st_size
        bound = self.allowed_again + OTHER_BYTES * (self.kills + 1)
        self.must(self.sent_again <= bound, f"{self.sent_again:,} bytes were sent again, {bound:,} were in flight")

    def must(self, held: object, else_say: str) -> None:
        self.row.must(held, f"{self.path.name}, {self.kills} kills: {else_say}")

    def clear(self) -> None:
        """Make room: what was checked is not needed any more."""
        self.path.unlink()
        for file in self.server.files():
            for piece in self.server.pieces(file["id"]):
                piece.unlink(missing_ok=True)

    def _since(self, stats: dict[str, Any], route: str) -> int:
        return int(stats["requests"].get(route, 0)) - int(self.before["requests"].get(route, 0))
