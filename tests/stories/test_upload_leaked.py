"""A CancelledError that leaks out of what a caller wrote, asked for by nobody here: told, never lost, never hot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import AsyncUploader, Client, UploadJob
from asyncsdk.server import LocalServer
from asyncsdk.uploads.journal import Part, Record
from asyncsdk.uploads.journal.memory import MemoryJournal
from tests.stories.support import MIB, MakeFile

LEAKED = "ended as if cancelled"


def key_that_leaks(after: int) -> Callable[[], Any]:
    """A key for the first `after` requests; whoever asks later gets a task's cancellation."""
    asked = 0

    async def key() -> str:
        nonlocal asked
        asked += 1
        if asked > after:
            raise asyncio.CancelledError
        return "sk-test"

    return key


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_from_the_key_of_any_request(server: LocalServer, journal: Path, make_file: MakeFile, after: int) -> None:
    async with Client(key_that_leaks(after), base_url=server.url) as client, asyncio.timeout(20):
        uploader = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=2)
        with pytest.raises(RuntimeError, match=LEAKED):
            await uploader.upload(make_file(3 * MIB), purpose="batch")


async def test_each_of_many_jobs_has_its_outcome(server: LocalServer, journal: Path, make_file: MakeFile) -> None:
    jobs = [UploadJob(make_file(MIB, f"{seed}.bin", seed), "batch", method="uploads") for seed in range(4)]
    async with Client(key_that_leaks(2), base_url=server.url) as client, asyncio.timeout(20):
        uploader = AsyncUploader(client, journal=journal, concurrency=2)
        async with uploader.upload_many(jobs) as outcomes:
            ended = [outcome async for outcome in outcomes]
    assert len(ended) == 4
    assert all(LEAKED in str(outcome.error) for outcome in ended)


async def test_from_the_jobs_of_many(uploader: AsyncUploader, make_file: MakeFile) -> None:
    async def jobs() -> AsyncIterator[UploadJob]:
        yield UploadJob(make_file(MIB), "batch")
        raise asyncio.CancelledError

    async def go_through() -> None:
        async with uploader.upload_many(jobs()) as outcomes:
            async for _ in outcomes:
                pass

    with pytest.raises(RuntimeError, match=LEAKED):
        async with asyncio.timeout(20):
            await go_through()


class Leaking(MemoryJournal):
    """A journal of somebody's own, whose writing of one kind of record is cancelled by somebody else."""

    def __init__(self, kind: type[Record]) -> None:
        super().__init__()
        self.kind = kind

    @asynccontextmanager
    async def claim(self, key: str, **options: Any) -> AsyncIterator[Any]:
        async with super().claim(key, **options) as log:
            yield LeakingLog(log, self.kind)


class LeakingLog:
    """Its log."""

    def __init__(self, log: Any, kind: type[Record]) -> None:
        self.log, self.kind = log, kind

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)

    async def append(self, record: Record) -> None:
        if isinstance(record, self.kind):
            raise asyncio.CancelledError
        await self.log.append(record)


@pytest.mark.parametrize("size", [3 * MIB, 1000], ids=["parts", "one block"])
async def test_from_anything_else_a_part_needs(client: Client, make_file: MakeFile, size: int) -> None:
    uploader = AsyncUploader(client, journal=Leaking(Part), part_size=MIB, concurrency=2)
    with pytest.raises(RuntimeError, match=LEAKED):
        async with asyncio.timeout(20):
            await uploader.upload(make_file(size), purpose="batch")
