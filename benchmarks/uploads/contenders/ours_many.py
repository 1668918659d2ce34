"""All files of a folder through one uploader of asyncsdk."""

from __future__ import annotations

import asyncio

from asyncsdk import AsyncUploader, Client, UploadJob
from benchmarks.uploads.contenders.arguments import Arguments, arguments


async def main(given: Arguments) -> None:
    jobs = [UploadJob(path, "batch", if_uploaded="again") for path in sorted(given.path.iterdir())]
    async with Client() as client:
        uploader = AsyncUploader(client, concurrency=given.connections, md5="hex" if given.md5 else None)
        async with uploader.upload_many(jobs) as outcomes:
            ended = [outcome async for outcome in outcomes]
    assert all(outcome.result for outcome in ended)
    assert len(ended) == len(jobs)


if __name__ == "__main__":
    asyncio.run(main(arguments()))
