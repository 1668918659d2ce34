"""asyncsdk sends a stream of known size: the response of the server at `--url`, else the file, piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from asyncsdk import AsyncUploader, Client
from benchmarks.uploads.contenders.arguments import Arguments, arguments

PIECE = 1 << 18
FOREVER = aiohttp.ClientTimeout(total=None)


async def main(given: Arguments) -> None:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client())
        uploader = AsyncUploader(
            client,
            concurrency=given.connections or None,
            part_size=given.part_size,
            md5="hex" if given.md5 else None,
        )
        size = given.path.stat().st_size
        source: AsyncIterator[bytes] | aiohttp.StreamReader = pieces(given.path)
        if given.url is not None:
            session = await stack.enter_async_context(aiohttp.ClientSession(timeout=FOREVER))
            response = await stack.enter_async_context(session.get(given.url))
            source = response.content
        result = await uploader.upload(source, purpose="batch", filename=given.path.name, size=size)
    assert result.bytes_sent == size


async def pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            yield piece


if __name__ == "__main__":
    asyncio.run(main(arguments()))
