"""One upload whose journal's database is restarted and away, and that is gone on with from another directory."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.faults.support import LIMIT, MIB, Job, ServerProcess, make_file, serving, sha256_of, start, upload
from tests.faults.table import Row
from tests.postgres.server import running

RESTARTS = 3
PART = MIB
RATE = 4.0 * MIB
CONNECTIONS = 4
AROUND = 4096  # bytes: what is around a part on the wire


async def go_on_after_outages(folder: Path, *, size: int, away: float) -> Row:
    """Upload `size` bytes: the database dies (immediate) three times, then is `away` for so many seconds.

    After that the process is killed, and one in another directory, with nothing of the first, goes on.
    """
    row = Row("outages", RESTARTS + 1)
    first, second = folder / "first", folder / "second"
    first.mkdir()
    path = make_file(first / "night.bin", size)
    with running() as postgres:
        url = postgres.url(postgres.new_database())
        async with serving(folder / "server") as server:
            running_ = start(_job(server, path, url, limit_rate=RATE))
            for _ in range(RESTARTS):
                await _after_parts(server, 2)
                await asyncio.to_thread(postgres.stop)
                await asyncio.to_thread(postgres.start)
            await _after_parts(server, 2)
            await asyncio.to_thread(postgres.stop)
            await asyncio.sleep(away)
            stats = await server.stats()
            await asyncio.to_thread(postgres.start)
            await _after_parts(server, 2)
            row.must(not await running_.ended(0), "it did not wait for the database")
            await running_.kill()
            before = (await server.until_idle())["requests"]["part"]
            second.mkdir()
            path = path.rename(second / "night.bin")
            first.rmdir()
            result = await upload(_job(server, path, url))
            _check(row, server, path, result["file_id"])
            after = await server.stats()
            again = after["bytes_received"] - size - AROUND * after["requests"]["part"]
            row.must(again <= CONNECTIONS * PART, f"{again:,} bytes were sent again")
            row.figures |= {
                "uploads": f"{len(server.uploads())}",
                "files": f"{len(server.files())}",
                "parts": f"{after['requests']['part']} of {size // PART}",
                "before and after the kill": f"{before} and {after['requests']['part'] - before}",
                "went out in the outage": f"{stats['in_flight'].get('part', 0)} in flight at its end",
                "resumed": f"{result['bytes_resumed'] / MIB:.0f} MiB",
            }
    return row


def _job(server: ServerProcess, path: Path, url: str, limit_rate: float | None = None) -> Job:
    options = {"key": "night/1", "filename": "night.bin"}
    return Job(
        server.url,
        path,
        path,
        part_size=PART,
        concurrency=CONNECTIONS,
        limit_rate=limit_rate,
        options=options,
        database=url,
    )


def _check(row: Row, server: ServerProcess, path: Path, file_id: str) -> None:
    row.must(len(server.uploads()) == 1, f"{len(server.uploads())} uploads")
    row.must([file["id"] for file in server.files()] == [file_id], "another file is there")
    row.must(sha256_of(*server.pieces(file_id)) == sha256_of(path), "other bytes are stored")


async def _after_parts(server: ServerProcess, count: int) -> None:
    """Wait until so many more parts have come."""
    ahead = (await server.stats())["requests"].get("part", 0) + count
    async with asyncio.timeout(LIMIT):
        while (await server.stats())["requests"].get("part", 0) < ahead:
            await asyncio.sleep(0.02)
