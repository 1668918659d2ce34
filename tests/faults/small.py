"""Runs of many small files in processes that are killed at random moments, and what must hold after each kill."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from attrs import define

from asyncsdk import AsyncUploader, Client, UploadJob
from asyncsdk.uploads.journal import Completed, Opened, Part, Record
from asyncsdk.uploads.journal.file import FileJournal
from tests.faults.support import LIMIT, ServerProcess, make_file, processes, serving
from tests.faults.table import Row

FILE_BYTES = 3000


def make_files(folder: Path, count: int) -> list[Path]:
    """So many files, no two with the same bytes."""
    folder.mkdir(parents=True)
    return [make_file(folder / f"{number:05}.jsonl", FILE_BYTES + number, seed=number) for number in range(count)]


@define(eq=False)
class Run:
    """A process that uploads all files of a folder. It notes each file that it has reported as uploaded."""

    process: ForkServerProcess

    @classmethod
    def start(cls, url: str, folder: Path, journal: Path, reported: Path, concurrency: int = 8) -> Run:
        arguments = (url, folder, journal, reported, concurrency)
        process = processes.Process(target=_work, args=arguments, daemon=True)
        process.start()
        return cls(process)

    async def ended(self, within: float = LIMIT) -> bool:
        await asyncio.to_thread(self.process.join, within)
        return self.process.exitcode is not None

    async def kill(self) -> None:
        self.process.kill()
        assert await self.ended(), "it survived SIGKILL"


def _work(url: str, folder: Path, journal: Path, reported: Path, concurrency: int) -> None:
    asyncio.run(_upload_all(url, folder, journal, reported, concurrency))


async def _upload_all(url: str, folder: Path, journal: Path, reported: Path, concurrency: int) -> None:
    async with Client("sk-test", base_url=url) as client:
        uploader = AsyncUploader(client, journal=journal, concurrency=concurrency)
        jobs = (UploadJob(path, "batch", method="uploads") for path in sorted(folder.iterdir()))
        with reported.open("a", buffering=1) as notes:
            async with uploader.upload_many(jobs) as outcomes:
                async for outcome in outcomes:
                    file = outcome.result.file if outcome.result else None
                    assert file is not None, outcome
                    notes.write(f"{file.filename} {file.id}\n")


async def records_by_key(journal: Path) -> dict[str, list[Record]]:
    """What a new process finds."""
    return {entry.key: list(entry.records) for entry in await FileJournal(journal).entries()}


async def kill_small_uploads(folder: Path, kills: int, *, files: int, seed: int) -> Row:
    """Upload `files`, killed so many times and once to the end; and the same once more, for which nothing is sent."""
    row, numbers = Row("kills of small files"), random.Random(seed)
    async with serving(folder / "server") as server:
        paths = make_files(folder / "in", files)
        known: dict[str, list[Record]] = {}
        while row.cases < kills:
            running = Run.start(server.url, folder / "in", folder / "journal", folder / "reported")
            if not await running.ended(0.15 + numbers.random() * 0.5):
                await running.kill()
            row.cases += 1
            found = await records_by_key(folder / "journal")
            row.violations += [f"{key}: {what}" for key in known for what in _lost(known[key], found.get(key, []))]
            known = found
            if row.cases % 3 == 0:
                await FileJournal(folder / "journal").purge()
        last = Run.start(server.url, folder / "in", folder / "journal", folder / "reported")
        assert await last.ended(120)
        row.violations += [f"the last run ended with {last.process.exitcode}"] * bool(last.process.exitcode)
        before = (await server.stats())["requests"]
        row.violations += _wrong(server, paths, (folder / "reported").read_text())
        sent_again = before["part"] - files
        row.violations += [f"{sent_again} parts were sent again"] * (sent_again > 8 * kills)
        again = Run.start(server.url, folder / "in", folder / "journal", folder / "reported")
        assert await again.ended(120)
        after = (await server.stats())["requests"]
        row.violations += [f"{route} was asked again" for route in ("create", "part") if after[route] != before[route]]
        row.figures |= {"files": str(files), "parts sent again": str(sent_again)}
    return row


def _lost(before: list[Record], after: list[Record]) -> list[str]:
    """What was read once and is not there any more, but for what a settled upload does not need."""
    settled = {record.upload for record in after if isinstance(record, Completed)}
    needed = [record for record in before if isinstance(record, Opened | Completed) or record.upload not in settled]
    lost = [type(record).__name__ for record in needed if record not in after]
    twice = [
        upload
        for upload, count in Counter(each.upload for each in after if isinstance(each, Part)).items()
        if count > 1
    ]
    return [f"{name} is gone" for name in lost] + [f"{upload} has two parts" for upload in twice]


def _wrong(server: ServerProcess, paths: list[Path], reported: str) -> list[str]:
    """What is wrong with the files that the server holds, each of which should be there once."""
    held = Counter(file["filename"] for file in server.files())
    wrong = [f"{path.name} is there {held[path.name]} times" for path in paths if held[path.name] != 1]
    by_name = {file["filename"]: file["id"] for file in server.files()}
    contents = {path.name: path.read_bytes() for path in paths}
    wrong += [f"{name} has other bytes" for name, id_ in by_name.items() if server.content(id_) != contents[name]]
    told = dict(line.split() for line in reported.splitlines() if len(line.split()) == 2)
    return wrong + [f"{name} was reported as {id_}" for name, id_ in told.items() if by_name.get(name) != id_]
