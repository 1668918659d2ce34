"""All files of a folder through one uploader of asyncsdk, as it comes: durable journal, md5, retries, stall watch."""

from __future__ import annotations

import asyncio
from typing import Any

from attrs import fields_dict

from asyncsdk import AsyncUploader, Client, UploadJob
from benchmarks.uploads.contenders.arguments import Arguments, arguments


async def main(given: Arguments) -> None:
    method: Any = {"method": given.method} if given.method and "method" in fields_dict(UploadJob) else {}
    jobs = [UploadJob(path, "batch", if_uploaded="again", **method) for path in sorted(given.path.iterdir())]
    async with (
        Client() as client,
        AsyncUploader(client, concurrency=given.connections or None).upload_many(jobs) as outcomes,
    ):
        ids = [outcome.result.file.id async for outcome in outcomes if outcome.result]
    assert len(ids) == len(jobs)


if __name__ == "__main__":
    asyncio.run(main(arguments()))
