"""What one writes by hand with openai-python: 8 parts of 16 MiB at once, md5 in a thread beside them."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from openai import AsyncOpenAI

from benchmarks.uploads.contenders.arguments import Arguments, arguments
from benchmarks.uploads.contenders.openai_client import openai_client

PART = 16 << 20


async def main(given: Arguments) -> None:
    async with openai_client() as client:
        if given.md5:
            ids, md5 = await asyncio.gather(sent(client, given), asyncio.to_thread(md5_of, given.path))
            await client.uploads.complete(ids[0], part_ids=ids[1:], md5=md5)
        else:
            ids = await sent(client, given)
            await client.uploads.complete(ids[0], part_ids=ids[1:])


async def sent(client: AsyncOpenAI, given: Arguments) -> list[str]:
    """The upload's id, then those of its parts."""
    size = given.path.stat().st_size
    upload = await client.uploads.create(
        bytes=size, filename=given.path.name, mime_type="application/jsonl", purpose="batch"
    )
    slots = asyncio.Semaphore(given.connections)

    async def send(offset: int) -> str:
        async with slots:
            data = await asyncio.to_thread(read, given.path, offset)
            return (await client.uploads.parts.create(upload.id, data=data)).id

    return [upload.id, *await asyncio.gather(*map(send, range(0, size, PART)))]


def read(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(PART)


def md5_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


if __name__ == "__main__":
    asyncio.run(main(arguments()))
