"""Small words that the stories share."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, BadRequestError, Client, FileJournal, InternalServerError
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from asyncsdk.uploads.resuming.resume import replay
from tests.waiting import until

MIB = 1 << 20
BRIEF_SEARCH = Timing(file_search=0.3, file_search_interval=0.05)
MakeFile = Callable[..., Path]


def md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


async def refused_at_complete(server: LocalServer, uploader: AsyncUploader, path: Path) -> str:
    """Send all parts, be refused, and return the upload's id."""
    server.inject(Fault("complete", "answer", "before", status=400))
    with pytest.raises(BadRequestError) as refused:
        await uploader.upload(path, purpose="batch")
    return refused.value.upload_id or ""


REFUSE_THE_REST = Fault("part", "answer", "before", nth=6, every=1, status=500)


async def interrupted(server: LocalServer, client: Client, journal: Path, path: Path, **options: object) -> int:
    """Send until the server refuses the sixth part and has let go of all; return how many bytes the journal holds."""
    server.inject(REFUSE_THE_REST)
    uploader = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=2, max_retries=0)
    with pytest.raises(InternalServerError) as failure:
        await uploader.upload(path, purpose="batch", **options)  # type: ignore[arg-type]  # passed through
    server.clear_faults()
    await settled(server)
    assert failure.value.resumable
    assert failure.value.progress is not None
    assert failure.value.progress.bytes_done >= 3 * MIB
    (entry,) = await FileJournal(journal).entries()
    recalled = replay(entry.records)
    assert recalled is not None
    return recalled.bytes_held


@asynccontextmanager
async def timeout_once(condition: Callable[[], object]) -> AsyncIterator[None]:
    """A timeout that is over shortly after `condition` holds: never before, however slow the machine is."""
    async with asyncio.timeout(None) as limit:

        async def wait() -> None:
            await until(condition)
            limit.reschedule(asyncio.get_running_loop().time() + 0.05)

        waiting = asyncio.create_task(wait())
        try:
            yield
        finally:
            waiting.cancel()


async def settled(server: LocalServer) -> None:
    """Return once a server of this event loop has let go of all that was sent to it, calls broken off included."""
    for _ in range(100):  # sockets are read in each turn: a call that is in one begins within a few
        await asyncio.sleep(0)
    await until(lambda: not server.parts_in_flight)
