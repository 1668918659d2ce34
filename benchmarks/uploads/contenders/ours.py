"""asyncsdk with all its safety on: durable journal, fingerprints of every block, retries, stall watch, progress."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable
from pathlib import Path

from asyncsdk import AsyncUploader, Client, Progress
from benchmarks.uploads.contenders.arguments import Arguments, arguments

BEAT_SECONDS = 0.002


async def main(given: Arguments) -> None:
    seen: list[tuple[float, Progress]] = []
    async with Client() as client:
        uploader = AsyncUploader(
            client,
            concurrency=given.connections or None,
            part_size=given.part_size,
            md5="hex" if given.md5 else None,
        )
        upload = uploader.upload(
            given.path,
            purpose="batch",
            if_uploaded="again",
            on_progress=lambda now: seen.append((time.monotonic(), now)),
        )
        await (upload if given.stall_to is None else stalls_told(upload, given.stall_to))
    assert seen[-1][1].bytes_done == given.path.stat().st_size
    if given.course_to is not None:
        course = [(at, now.bytes_done + now.bytes_in_flight, now.connections) for at, now in seen]
        given.course_to.write_text(json.dumps(course))


async def stalls_told(upload: Awaitable[object], to: Path) -> None:
    """Write down by how many seconds, at most, the loop was late for its next beat."""
    worst = 0.0

    async def beat() -> None:
        nonlocal worst
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            worst = max(worst, loop.time() - due)

    beating = asyncio.ensure_future(beat())
    await upload
    beating.cancel()
    to.write_text(f"{worst:.4f}")


if __name__ == "__main__":
    asyncio.run(main(arguments()))
