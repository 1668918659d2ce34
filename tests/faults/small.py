"""Runs of many small files in processes that are killed at random moments, and what must hold after each kill.

With `method="files"` each goes by one POST /files, and a rival puts files of the same names and sizes there before it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Literal

import aiohttp
from attrs import define, evolve

from asyncsdk import AsyncUploader, Client, UploadJob, UploadOutcome
from asyncsdk.errors import CompletionUnknownError
from asyncsdk.server import Fault
from asyncsdk.timing import DEFAULT_TIMING
from asyncsdk.uploads.journal import Completed, Opened, Part, Record
from asyncsdk.uploads.journal.file import FileJournal
from tests.faults.small_books import Books, journaled
from tests.faults.support import LIMIT, ServerProcess, make_file, processes, serving
from tests.faults.table import Row

FILE_BYTES = 3000
CONCURRENCY = 8
# The server answers within milliseconds, but a machine may be busy: what it takes until a lost request is settled.
QUICK = evolve(DEFAULT_TIMING, first_delay=0.05, file_answer=2.0, file_search=1.0)
MOST_RUNS = 6  # until all are there, where responses are lost

Method = Literal["uploads", "files"]


def make_files(folder: Path, count: int) -> list[Path]:
    """So many files, no two with the same bytes."""
    folder.mkdir(parents=True)
    return [make_file(folder / f"{number:05}.bin", FILE_BYTES + number, seed=number) for number in range(count)]


def lost_answers(method: Method, share: float) -> list[Fault]:
    """Faults that lose this share of the responses to what makes a file, half of them before it is made."""
    route: Literal["files.create", "complete"] = "files.create" if method == "files" else "complete"
    before = Fault(route, "reset", "after", probability=share / 2, seed=1)
    return [before, Fault(route, "reset", "done", probability=share / 2, seed=2)]


@define(eq=False)
class Run:
    """A process that uploads all files of a folder. It notes how each ended."""

    process: ForkServerProcess

    @classmethod
    def start(cls, url: str, folder: Path, journal: Path, notes: Path, method: Method = "uploads") -> Run:
        process = processes.Process(target=_work, args=(url, folder, journal, notes, method), daemon=True)
        process.start()
        return cls(process)

    async def ended(self, within: float = LIMIT) -> bool:
        await asyncio.to_thread(self.process.join, within)
        return self.process.exitcode is not None

    async def kill(self) -> None:
        self.process.kill()
        assert await self.ended(), "it survived SIGKILL"


def _work(url: str, folder: Path, journal: Path, notes: Path, method: Method) -> None:
    logging.getLogger("asyncsdk").addHandler(logging.NullHandler())  # a warning for each response that is lost
    asyncio.run(_upload_all(url, folder, journal, notes, method))


async def _upload_all(url: str, folder: Path, journal: Path, notes: Path, method: Method) -> None:
    async with Client("sk-test", base_url=url, timing=QUICK) as client:
        uploader = AsyncUploader(client, journal=journal, concurrency=CONCURRENCY)
        jobs = (UploadJob(path, "batch", method=method) for path in sorted(folder.iterdir()))
        with notes.open("a", buffering=1) as lines:
            async with uploader.upload_many(jobs) as outcomes:
                async for outcome in outcomes:
                    lines.write(json.dumps(_note(outcome)) + "\n")


def _note(outcome: UploadOutcome) -> dict[str, object]:
    name = Path(outcome.job.describe()).name
    if outcome.result is None:
        assert isinstance(outcome.error, CompletionUnknownError), outcome
        return {"name": name, "error": str(outcome.error)}
    result = outcome.result
    duplicates = list(result.duplicates)
    return {"name": name, "file": result.file.id, "duplicates": duplicates, "possible": result.duplicate_possible}


async def put_rivals(url: str, paths: Iterable[Path]) -> None:
    """Put other bytes there under the same names, as somebody else may at the time."""
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer sk-rival"}, raise_for_status=True) as session:
        for path in paths:
            form = aiohttp.FormData({"purpose": "batch"})
            form.add_field("file", bytes(path.stat().st_size), filename=path.name)
            with suppress(aiohttp.ClientConnectionError):  # its responses are lost as well
                (await session.post(f"{url}/files", data=form)).close()


async def kill_small_uploads(
    folder: Path, kills: int, *, files: int, seed: int, method: Method = "uploads", lost: float = 0.05
) -> Row:
    """Upload `files`, killed so many times and then to the end; and the same once more, for which nothing is sent."""
    row, numbers = Row("small" if method == "uploads" else "posted"), random.Random(seed)
    async with serving(folder / "server") as server:
        paths, journal, notes = make_files(folder / "in", files), folder / "journal", folder / "notes"
        known: dict[str, list[Record]] = {}
        books = Books(folder / "server", {path.name: path.read_bytes() for path in paths})
        await server.inject(*lost_answers(method, lost))
        while row.cases < kills:
            settled = len(books.settled)
            await put_rivals(server.url, paths[settled : settled + 40] if method == "files" else ())
            running = Run.start(server.url, folder / "in", journal, notes, method)
            if not await running.ended(0.15 + numbers.random() * 0.5):
                await running.kill()
            row.cases += 1
            await server.until_idle()
            row.violations += books.settle(journal)
            found = await records_by_key(journal)
            if method == "uploads":
                row.violations += [f"{key}: {what}" for key in known for what in _lost(known[key], found.get(key, []))]
            known = found
            if row.cases % 3 == 0:
                await FileJournal(journal).purge()
        await _to_the_end(server, folder, method, row)
        row.violations += books.settle(journal) + books.wrong(notes)
        if method == "uploads":
            sent_again = (await server.stats())["requests"]["part"] - files
            row.must(sent_again <= CONCURRENCY * kills, f"{sent_again} parts were sent again")
            row.figures["parts sent again"] = str(sent_again)
        row.figures |= books.figures(notes)
        row.violations += await _once_more(server, folder, method)
        row.violations += books.wrong(notes)
        met = (await server.faults())["faults"]
        row.figures["responses lost"] = f"{met[1]['met']} of files made, {met[0]['met']} of none, rivals' included"
    return row


async def records_by_key(journal: Path) -> dict[str, list[Record]]:
    """What a new process finds."""
    return {entry.key: list(entry.records) for entry in await FileJournal(journal).entries()}


def _lost(before: list[Record], after: list[Record]) -> list[str]:
    """What was read once and is not there any more, but for what a settled upload does not need."""
    settled = {record.upload for record in after if isinstance(record, Completed)}
    needed = [record for record in before if isinstance(record, Opened | Completed) or record.upload not in settled]
    lost = [type(record).__name__ for record in needed if record not in after]
    parts = Counter(each.upload for each in after if isinstance(each, Part))
    twice = [upload for upload, count in parts.items() if count > 1]
    return [f"{name} is gone" for name in lost] + [f"{upload} has two parts" for upload in twice]


async def _to_the_end(server: ServerProcess, folder: Path, method: Method, row: Row) -> None:
    """Run until all are there: what is not known yet is looked for by the next run."""
    for _ in range(MOST_RUNS):
        last = Run.start(server.url, folder / "in", folder / "journal", folder / "notes", method)
        assert await last.ended(300)
        row.must(last.process.exitcode == 0, f"the last run ended with {last.process.exitcode}")
        if len(journaled(folder / "journal")) == len(list((folder / "in").iterdir())):
            return
    row.must(False, f"after {MOST_RUNS} runs not all are there")  # noqa: FBT003 - said in words


async def _once_more(server: ServerProcess, folder: Path, method: Method) -> list[str]:
    """Run once more, for which nothing may be sent."""
    before = (await server.stats())["requests"]
    again = Run.start(server.url, folder / "in", folder / "journal", folder / "notes", method)
    assert await again.ended(300)
    after = (await server.stats())["requests"]
    sent = [route for route in ("create", "part", "complete", "files.create") if after.get(route) != before.get(route)]
    return [f"{route} was asked again" for route in sent]
