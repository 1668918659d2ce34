"""openai-python's own `upload_file_chunked`, asynchronous; md5 as its documentation leaves it to the caller."""

from __future__ import annotations

import asyncio
import hashlib

from benchmarks.uploads.contenders.arguments import Arguments, arguments
from benchmarks.uploads.contenders.openai_client import openai_client


async def main(given: Arguments) -> None:
    async with openai_client() as client:
        if given.md5:
            with given.path.open("rb") as file:
                md5 = hashlib.file_digest(file, "md5").hexdigest()
            await client.uploads.upload_file_chunked(
                file=given.path, mime_type="application/jsonl", purpose="batch", md5=md5
            )
        else:
            await client.uploads.upload_file_chunked(file=given.path, mime_type="application/jsonl", purpose="batch")


if __name__ == "__main__":
    asyncio.run(main(arguments()))
