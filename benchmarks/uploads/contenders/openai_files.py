"""All files of a folder by openai-python's `files.create`, some at once, as its documentation leads one to write it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from benchmarks.uploads.contenders.arguments import Arguments, arguments
from benchmarks.uploads.contenders.openai_client import openai_client


async def main(given: Arguments) -> None:
    slots = asyncio.Semaphore(given.connections)
    async with openai_client() as client:

        async def send(path: Path) -> str:
            async with slots:
                return (await client.files.create(file=path, purpose="batch")).id

        ids = await asyncio.gather(*map(send, sorted(given.path.iterdir())))
    assert all(ids)


if __name__ == "__main__":
    asyncio.run(main(arguments()))
