"""What the fault suite shares: the embedded server in a process of its own, uploads in processes that may be killed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import aiohttp
from attrs import asdict, define, field, frozen

from asyncsdk import AsyncUploader, Client
from asyncsdk.errors import AsyncSDKError
from asyncsdk.events import Progress, UploadPhase
from asyncsdk.server import Fault
from asyncsdk.uploads.journal import Part, Record
from asyncsdk.uploads.journal.file import FileLog
from asyncsdk.uploads.journal.reading import load
from asyncsdk.uploads.sources.source import Given

MIB = 1 << 20
LIMIT = 60.0  # seconds after which a process that does not end is a failure

# A process that has everything imported and is forked for each upload: a new one costs milliseconds, not a second.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    [
        "__main__",
        "tests.faults.support",
        "tests.faults.batches",
        "asyncsdk.images.batch.call",
        "asyncsdk.uploads.parts.run",
        "anyio.to_thread",
        "anyio._backends._asyncio",
        "asyncsdk.cli.uploads.transfer",
        "asyncsdk.cli.uploads.upload",
        "asyncsdk.uploads.uploader",
        "cyclopts",
    ]
)


def make_file(path: Path, size: int, seed: int = 1) -> Path:
    """A file of random bytes, the same for the same seed."""
    numbers = random.Random(seed)
    with path.open("wb") as file:
        for start in range(0, size, 8 * MIB):
            file.write(numbers.randbytes(min(8 * MIB, size - start)))
    return path


@define(eq=False)
class ServerProcess:
    """`asyncsdk serve` on `data`: what it was asked, what it holds, and what shall go wrong there."""

    url: str
    data: Path
    _session: aiohttp.ClientSession

    async def stats(self) -> dict[str, Any]:
        """`requests` and `in_flight` by route, `bytes_received`, `unmet_faults`."""
        return await self._control("GET", "stats")

    async def requests(self) -> list[dict[str, Any]]:
        """The calls that have ended, oldest first (the last 10,000): `RequestRecord` as JSON."""
        found: list[dict[str, Any]] = (await self._control("GET", "requests"))["requests"]
        return found

    async def edits(self) -> dict[str, int]:
        """How often each prompt was edited, answered or not."""
        found: dict[str, int] = (await self._control("GET", "edits"))["by_prompt"]
        return found

    async def inject(self, *faults: Fault) -> None:
        """Let these go wrong."""
        plain = [asdict(fault, filter=lambda _, value: value is not None) for fault in faults]
        await self._control("POST", "faults", json={"faults": plain})

    async def faults(self) -> dict[str, Any]:
        """The planned faults, in the order in which they were injected, with how often each was `met`."""
        return await self._control("GET", "faults")

    async def clear_faults(self) -> None:
        """Let nothing more go wrong."""
        await self._control("DELETE", "faults")

    async def until_idle(self) -> dict[str, Any]:
        """Wait until no part or file is arriving any more; return the stats."""
        async with asyncio.timeout(LIMIT):
            while (stats := await self.stats())["in_flight"].keys() & {"part", "files.create"}:
                await asyncio.sleep(0.002)
        return stats

    def files(self) -> list[dict[str, Any]]:
        """The files that it holds, as their JSON; their bytes are `content(id)`."""
        return [json.loads(path.read_bytes()) for path in sorted((self.data / "files").glob("file-*.json"))]

    def uploads(self) -> list[dict[str, Any]]:
        """The uploads that it holds, as their JSON."""
        return [json.loads(path.read_bytes()) for path in sorted((self.data / "uploads").glob("*.json"))]

    def content(self, file_id: str) -> bytes:
        return b"".join(path.read_bytes() for path in self.pieces(file_id))

    def pieces(self, file_id: str) -> list[Path]:
        """Where a file's bytes are, in their order."""
        file = json.loads((self.data / "files" / f"{file_id}.json").read_bytes())
        return [self.data / "files" / file_id / part_id for part_id in file["part_ids"]]

    async def _control(self, method: str, name: str, **options: Any) -> dict[str, Any]:
        address = f"{self.url.removesuffix('/v1')}/_control/{name}"
        async with self._session.request(method, address, **options) as answer:
            answer.raise_for_status()
            found: dict[str, Any] = await answer.json()
            return found


@asynccontextmanager
async def serving(data: Path, *options: str) -> AsyncIterator[ServerProcess]:
    """Run `asyncsdk serve --data DATA` with `options` in a process of its own for the length of the block."""
    command = [sys.executable, "-m", "asyncsdk", "serve", "--port", "0", "--data", str(data), *options]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert process.stdout is not None
    try:
        url = json.loads(await process.stdout.readline())["url"]
        async with aiohttp.ClientSession() as session:
            yield ServerProcess(url, data, session)
    finally:
        process.kill()
        await process.communicate()


@frozen
class Job:
    """An upload as a process of its own does it, from the path or `as_stream`, with its size and a key.

    `options` are further arguments of `AsyncUploader.upload`.
    """

    url: str
    path: Path
    journal: Path
    part_size: int = MIB
    concurrency: int = 4
    limit_rate: float | None = None
    purpose: str = "batch"
    as_stream: bool = False
    options: dict[str, Any] = field(factory=dict)
    database: str | None = None  # in place of the journal


@define(eq=False)
class Uploading:
    """A process that does a `Job`."""

    process: ForkServerProcess
    _answer: Connection
    _waiting: Event

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    async def until_waiting(self) -> None:
        """Wait until it has said that another process sends its file."""
        assert await asyncio.to_thread(self._waiting.wait, LIMIT), "it does not wait for anybody"

    async def until_stopped(self) -> None:
        """Wait until a signal has stopped it."""
        async with asyncio.timeout(LIMIT):
            while Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
                await asyncio.sleep(0.005)

    async def ended(self, within: float) -> bool:
        """Wait so many seconds at most, and tell whether it has ended."""
        await asyncio.to_thread(self.process.join, within)
        return self.process.exitcode is not None

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        assert await self.ended(LIMIT), "it survived SIGKILL"

    async def answer(self) -> dict[str, Any] | None:
        """Wait for its end; return `file_id`, `md5`, `bytes_sent`, `bytes_resumed` and `reused`, or `error`,
        `message` and `resumable`. None where it was killed first.
        """
        if not await self.ended(LIMIT):
            await self.kill()
            raise AssertionError(f"an upload did not end within {LIMIT} s")
        try:
            found: dict[str, Any] | None = self._answer.recv() if self._answer.poll() else None
        except EOFError:
            found = None
        self._answer.close()
        return found


def start(job: Job, before: Callable[[], object] | None = None) -> Uploading:
    """Begin `job` in a process of its own, where `before` (picklable) is called first, such as to break something."""
    ours, theirs = processes.Pipe(duplex=False)
    waiting = processes.Event()
    process = processes.Process(target=_work, args=(job, theirs, waiting, before), daemon=True)
    process.start()
    theirs.close()
    return Uploading(process, ours, waiting)


async def upload(job: Job) -> dict[str, Any]:
    """Do `job` in a process of its own and return its answer, which must be a file."""
    answer = await start(job).answer()
    assert answer is not None, "the process ended without an answer"
    assert "file_id" in answer, answer
    return answer


def remembered(journal: Path) -> tuple[Record, ...]:
    """All records of all keys of a journal, which may be in use."""
    folders = sorted((journal / "uploads").glob("*"))
    return tuple(record for folder in folders for record in load(folder).records)


def stop_at_the_first_part() -> None:
    """Let this process stop itself (SIGSTOP), once, as soon as the journal holds a part that it sent."""
    append = FileLog.append

    async def append_and_stop(log: FileLog, record: Record) -> None:
        await append(log, record)
        if isinstance(record, Part) and FileLog.append is append_and_stop:
            FileLog.append = append  # type: ignore[method-assign] # from outside
            os.kill(os.getpid(), signal.SIGSTOP)

    FileLog.append = append_and_stop  # type: ignore[method-assign,assignment] # from outside


def sha256_of(*pieces: Path) -> str:
    """Of one file, or of the pieces of one."""
    digest = hashlib.sha256()
    for path in pieces:
        with path.open("rb") as file:
            while block := file.read(MIB):
                digest.update(block)
    return digest.hexdigest()


def _work(job: Job, answer: Connection, waiting: Event, before: Callable[[], object] | None) -> None:
    if before is not None:
        before()
    answer.send(asyncio.run(_answer_of(job, waiting)))


async def stream_of(path: Path) -> AsyncIterator[bytes]:
    """The bytes of `path` in pieces of all lengths, in order and once."""
    lengths = random.Random(path.name)
    with path.open("rb") as file:
        while piece := file.read(lengths.randint(1, MIB)):
            yield piece
            await asyncio.sleep(0)


async def _answer_of(job: Job, waiting: Event) -> dict[str, Any]:
    def listen(progress: Progress) -> None:
        if progress.state is UploadPhase.WAITING:
            waiting.set()

    async with Client("sk-test", base_url=job.url) as client:
        uploader = AsyncUploader(
            client,
            journal=job.database or job.journal,
            part_size=job.part_size,
            concurrency=job.concurrency,
            limit_rate=job.limit_rate,
        )
        try:
            source: Given = job.path
            options = job.options
            if job.as_stream:
                named = {"filename": job.path.name, "key": job.path.name, "size": job.path.stat().st_size}
                source, options = stream_of(job.path), options | named
            result = await uploader.upload(source, purpose=job.purpose, on_progress=listen, **options)
        except AsyncSDKError as error:
            return {"error": type(error).__name__, "message": str(error), "resumable": error.resumable}
    return {
        "pid": os.getpid(),
        "file_id": result.file.id,
        "md5": result.md5,
        "bytes_sent": result.bytes_sent,
        "bytes_resumed": result.bytes_resumed,
        "reused": result.reused,
    }
