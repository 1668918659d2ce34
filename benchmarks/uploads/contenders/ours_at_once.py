"""All files of a folder at the same time, a task for each, through one uploader of asyncsdk."""

from __future__ import annotations

import asyncio

from asyncsdk import AsyncUploader, Client
from benchmarks.uploads.contenders.arguments import Arguments, arguments


async def main(given: Arguments) -> None:
    async with Client() as client:
        uploader = AsyncUploader(client, concurrency=given.connections)
        uploads = [uploader.upload(path, purpose="batch", if_uploaded="again") for path in given.path.iterdir()]
        await asyncio.gather(*uploads)


if __name__ == "__main__":
    asyncio.run(main(arguments()))
