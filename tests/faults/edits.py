"""Edits in bulk under kills, lost answers, 429s, refusals and disks that fail or go: nothing is paid twice, nothing is
half written, and each picture that is paid is somewhere that is named.

    python -m tests.faults.edits [--jobs 2000] [--kills 5] [--interrupts 2] [--troubles 8] [--on-uncertain report|retry]
        [--seed N] [--minutes N]

Prints a table; ends with 1 where something did not hold. With --minutes rounds go on that long, each with the next seed
and the other policy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen

from asyncsdk.server.faults import Fault, fault_to_json
from tests.faults.edits_checks import check_failed_file, check_gallery, check_outcomes, check_pictures, is_forbidden
from tests.faults.edits_process import RUN_SECONDS, EditMany, Record, Running
from tests.faults.edits_troubles import TROUBLES, Place, place_in, some_of, unnamed
from tests.faults.support import LIMIT, ServerProcess, serving
from tests.faults.table import Row, lines_of
from tests.stories.pictures import photo

PICTURES = 5
FORBIDDEN_EVERY = 100
TWO_PICTURES_EVERY = 7
INTERRUPTED = {130, -signal.SIGINT}  # a shell shows both as 130; the second comes when all may be told already
EARLY_KILLS, START_SECONDS = 0.25, 1.0  # some kills come while the program starts, reads its ledger, compacts it
LOST = (
    Fault("edit", "reset", at="done", every=40),  # together 5 %
    Fault("edit", "close", at="answering", nth=21, every=40),
)
FAULTS = (*LOST, Fault("edit", "answer", every=10, status=429, headers={"retry-after-ms": "5"}))
LASTING = Fault("edit", "stall", at="after", every=1, seconds=0.02)  # an edit takes its time


@frozen
class Options:
    """How many edits, in what way their process is stopped before the end, and what is done where answers are lost.

    Without a `browser` the gallery is only read.
    """

    jobs: int = 2000
    kills: int = 5
    interrupts: int = 2
    troubles: int = 0
    on_uncertain: str = "report"
    concurrency: int = 8
    seed: int = 0
    browser: bool = True


@define(eq=False)
class Bulk:
    """One job file until it is done. `done` holds how often each prompt had been edited once it was said to be done."""

    folder: Path
    server: ServerProcess
    options: Options
    row: Row
    numbers: random.Random
    command: EditMany
    place: Place
    jobs: list[Record]
    done: dict[str, int] = field(factory=dict)
    uncertain: int = 0
    runs: int = 0

    @classmethod
    def of(cls, folder: Path, place: Place, server: ServerProcess, options: Options, row: Row) -> Bulk:
        jobs = make_jobs(folder, options.jobs)
        command = EditMany(server.url, write_jobs(folder, jobs), place.out, options.concurrency, place.temporary)
        return cls(folder, server, options, row, random.Random(options.seed), command, place, jobs)

    async def start(self, *more: str, on_uncertain: str | None = None, files: int | None = None) -> Running:
        """The next run."""
        self.runs += 1
        policy = ("--on-uncertain", on_uncertain or self.options.on_uncertain)
        return await self.command.start(self.folder / f"run{self.runs}", *policy, *more, files=files)

    async def run(self, *more: str, on_uncertain: str | None = None) -> Running:
        """The next run, to its end."""
        running = await self.start(*more, on_uncertain=on_uncertain)
        await running.end(RUN_SECONDS)
        return running

    async def stop_and_go(self) -> None:
        """Begin again and again, each time stopped at a moment of its own."""
        ways = ["kill"] * self.options.kills + ["interrupt"] * self.options.interrupts
        ways += some_of(self.options.troubles, self.place, self.numbers)
        self.numbers.shuffle(ways)
        for way in ways:
            before = await self.calls()
            if way in TROUBLES:
                await self.meet(way, before + self.numbers.uniform(1.0, self.options.jobs / len(ways)))
                continue
            running = await self.start()
            if way == "kill" and self.numbers.random() < EARLY_KILLS:
                await asyncio.sleep(self.numbers.uniform(0.0, START_SECONDS))
            else:
                await self.until(before + self.numbers.uniform(1.0, 1.5 * self.options.jobs / len(ways)), running)
            await self.stop(running, way)

    async def meet(self, name: str, calls: float) -> None:
        """A run that meets a trouble once the server was asked so often: it ends by itself, or it is stopped later."""
        trouble, before = TROUBLES[name], Counter(await self.server.edits())
        running = await self.start(files=trouble.files)
        await self.until(calls, running)
        if not (self.place.out / ".asyncsdk" / "drafts").exists():  # it had not come that far
            await self.stop(running, "kill")
            return
        trouble.strike(self.place)
        paid = sum((await self.server.edits()).values())
        if trouble.passes:
            await asyncio.sleep(self.numbers.uniform(0.1, 2.0))
            trouble.repair(self.place)
            await self.stop(running, self.numbers.choice(["kill", "interrupt"]))
            return
        await running.end(RUN_SECONDS)
        trouble.repair(self.place)
        await self.until_idle()
        now = Counter(await self.server.edits())
        after, most = sum(now.values()) - paid, self.options.concurrency + 1
        self.must(after <= most, f"{name}: {after} edits were paid after it")
        ids = [job["id"] for job in self.jobs if job["prompt"] in now - before]
        records = {id_: running.records.get(id_, {"status": "not told"}) for id_ in ids}
        untold = [id_ for id_, record in records.items() if record["status"] not in {"done", "uncertain"}]
        self.must(not untold, f"{name}: {untold[:5]} are paid, and not told")
        lost = unnamed(records, running.complaints)
        self.must(not lost, f"{name}: {lost[:5]} are paid, and not where they are said to be")
        if self.options.on_uncertain != "retry":  # else what is done and could not be written down goes again, as asked
            await self.note(running)

    async def calls(self) -> int:
        return int((await self.server.stats())["requests"].get("edit", 0))

    async def until(self, calls: float, running: Running) -> None:
        """Wait until the server was asked so often, and then for a moment of chance."""
        async with asyncio.timeout(RUN_SECONDS):
            while await self.calls() < calls and running.code is None:
                await asyncio.sleep(0.01)
        await asyncio.sleep(self.numbers.uniform(0.0, 0.1))

    async def stop(self, running: Running, way: str) -> None:
        if way == "kill":
            await running.kill()
        else:
            await running.interrupt_twice(self.numbers)
            is_over = len(running.records) == len(self.jobs)
            self.must(
                is_over or running.code in INTERRUPTED, f"two Ctrl-C: exit {running.code}, {running.complaints[-300:]}"
            )
        await self.until_idle()
        await self.note(running)

    async def until_idle(self) -> None:
        """The server ends what it was at work on, whoever is still there to hear of it."""
        async with asyncio.timeout(LIMIT):
            while (await self.server.stats())["in_flight"].get("edit", 0):
                await asyncio.sleep(0.01)

    async def note(self, running: Running) -> None:
        """What is done stays as it is from now on."""
        counts = await self.server.edits()
        prompts = {job["id"]: job["prompt"] for job in self.jobs}
        for name, record in running.records.items():
            if record["status"] in {"done", "skipped"}:
                self.done.setdefault(prompts[name], counts.get(prompts[name], 0))

    async def finish(self) -> Running:
        """The last run, which nobody stops: it ends with all that can be had."""
        gallery = self.place.out / "gallery.html"
        running = await self.run("--gallery", str(gallery))
        counts, records = await self.server.edits(), running.records
        check_outcomes(self.row, self.jobs, records, counts, may_pay_twice=self.options.on_uncertain == "retry")
        self.must(running.code in {0, 3}, f"the last run ended with {running.code}: {running.complaints[-300:]}")
        self.must(
            all(counts[prompt] == count for prompt, count in self.done.items()), "what was done was sent once more"
        )
        check_pictures(self.row, self.place.out, records)
        check_failed_file(self.row, self.place.out, records)
        await check_gallery(
            self.row, gallery, len(self.jobs), self.folder / "profile" if self.options.browser else None
        )
        return running

    async def add_a_line(self) -> None:
        """A line at the top is paid, and nothing else."""
        before = await self.server.edits()
        new = {**self.jobs[0], "id": "new", "prompt": "a line at the top"}
        write_jobs(self.folder, [new, *self.jobs])
        # a line that nobody touched must be known whatever the policy; "report" sends nothing of what is uncertain
        running = await self.run(on_uncertain="report")
        self.uncertain = sum(record["status"] == "uncertain" for record in running.records.values())
        paid = Counter(await self.server.edits()) - Counter(before)
        self.must(paid.pop(new["prompt"], 0) == 1, "the line at the top was not edited once")
        self.must(not paid, f"a line at the top had {len(paid)} others edited: {sorted(paid)[:5]}")
        self.must(running.records["new"]["status"] == "done", f"the line at the top: {running.records['new']}")

    async def retry_the_uncertain(self) -> int:
        """Those whose answer was lost are sent again on request, each once, and no other."""
        if not self.uncertain:
            return 0
        before = await self.server.edits()
        running = await self.run("--only", "uncertain", on_uncertain="retry")
        paid = Counter(await self.server.edits()) - Counter(before)
        asked = [job for job in self.jobs if job["id"] in running.records]
        wanted = Counter(job["prompt"] for job in asked if not is_forbidden(job))
        self.must(paid == wanted, f"sent again: {paid - wanted} beyond what was asked for, {wanted - paid} missing")
        for job in asked:
            ended = running.records[job["id"]]["status"]
            self.must(ended == ("refused" if is_forbidden(job) else "done"), f"{job['id']}, sent again, is {ended}")
        self.must(len(asked) == self.uncertain, f"{self.uncertain} were uncertain, {len(asked)} are told of")
        return len(asked)

    def must(self, held: object, else_say: str) -> None:
        self.row.must(held, f"run {self.runs}: {else_say}")


async def edits_in_bulk(folder: Path, options: Options) -> Row:
    """Everything, on a server of its own."""
    row = Row(f"edits {options.on_uncertain}", options.jobs)
    faults = folder / "faults.json"
    faults.write_text(json.dumps([fault_to_json(fault) for fault in (*FAULTS, LASTING)]))
    with place_in(folder) as place:
        async with serving(folder / "server", "--faults", str(faults)) as server:
            await _all_of_it(Bulk.of(folder, place, server, options, row))
    return row


async def _all_of_it(bulk: Bulk) -> None:
    await bulk.stop_and_go()
    last = await bulk.finish()
    counts, requests = await bulk.server.edits(), await bulk.calls()
    await bulk.server.clear_faults()
    await bulk.add_a_line()
    bulk.row.figures |= figures(last, counts, requests)
    bulk.row.figures["sent again on request"] = str(await bulk.retry_the_uncertain())


def figures(last: Running, counts: dict[str, int], requests: int) -> dict[str, str]:
    """What it came to."""
    statuses = Counter(record["status"] for record in last.records.values())
    told: dict[str, Any] = dict(sorted(statuses.items()))
    told |= {"calls": requests, "edits": sum(counts.values()), "edited twice": sum(n > 1 for n in counts.values())}
    return {name: f"{value:,}" for name, value in told.items()}


def make_jobs(folder: Path, count: int) -> list[Record]:
    """Jobs of a few pictures; some are refused, some ask for two."""
    for number in range(PICTURES):
        photo(folder / f"{number}.png", (16, 16), seed=number)
    jobs = [{"image": f"{n % PICTURES}.png", "prompt": f"beret {n}", "id": f"j{n}"} for n in range(count)]
    for job in jobs[FORBIDDEN_EVERY // 2 :: FORBIDDEN_EVERY]:
        job["prompt"] = f"forbidden {job['id']}"
    return [{**job, "model": "gpt-image-2", "n": 1 + (n % TWO_PICTURES_EVERY == 0)} for n, job in enumerate(jobs)]


def write_jobs(folder: Path, jobs: list[Record]) -> Path:
    path = folder / "jobs.jsonl"
    path.write_text("".join(f"{json.dumps(job)}\n" for job in jobs))
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000, metavar="N")
    parser.add_argument("--kills", type=int, default=5, metavar="N")
    parser.add_argument("--interrupts", type=int, default=2, metavar="N", help="rounds that two Ctrl-C end")
    parser.add_argument("--troubles", type=int, default=8, metavar="N", help="rounds that the disk spoils")
    parser.add_argument("--on-uncertain", choices=["report", "retry"], default="report")
    parser.add_argument("--concurrency", type=int, default=8, metavar="N")
    parser.add_argument("--seed", type=int, default=int(time.time()), metavar="S")
    parser.add_argument("--minutes", type=float, default=0.0, metavar="N", help="go on with new seeds for that long")
    given = vars(parser.parse_args())
    until = time.monotonic() + 60 * given.pop("minutes")
    options, rows = Options(**given), [_round(Options(**given))]
    while time.monotonic() < until:
        other = {"report": "retry", "retry": "report"}[options.on_uncertain]
        options = evolve(options, seed=options.seed + 1, on_uncertain=other)
        rows.append(_round(options))
    return 1 if any(row.violations for row in rows) else 0


def _round(options: Options) -> Row:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="asyncsdk-faults-") as folder:
        row = asyncio.run(edits_in_bulk(Path(folder), options))
    row.seconds = time.monotonic() - began
    print(f"seed {options.seed}", *lines_of([row]), sep="\n", flush=True)  # noqa: T201 - it is a program
    return row


if __name__ == "__main__":
    sys.exit(main())
