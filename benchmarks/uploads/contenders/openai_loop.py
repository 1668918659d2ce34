"""All files of a folder, one after the other, by openai-python's `upload_file_chunked`."""

from __future__ import annotations

import asyncio
import hashlib

from benchmarks.uploads.contenders.arguments import Arguments, arguments
from benchmarks.uploads.contenders.openai_client import openai_client


async def main(given: Arguments) -> None:
    async with openai_client() as client:
        for path in sorted(given.path.iterdir()):
            md5 = hashlib.md5(path.read_bytes()).hexdigest()
            await client.uploads.upload_file_chunked(file=path, mime_type="application/jsonl", purpose="batch", md5=md5)


if __name__ == "__main__":
    asyncio.run(main(arguments()))
