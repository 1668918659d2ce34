"""The numbered files of a folder through one uploader of asyncsdk; how it goes is written down as it goes.

    python -m benchmarks.uploads.contenders.ours_course FOLDER FILES COURSE [METHOD]

COURSE becomes a line of JSON for each twentieth: files done, seconds, CPU seconds, resident MiB; `reused` at the end.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import fields_dict

from asyncsdk import AsyncUploader, Client, UploadJob

MARKS = 20


async def main(folder: Path, files: int, course: Path, method: str) -> None:
    began, done, reused = time.monotonic(), 0, 0
    with course.open("w") as told:
        async with Client() as client, AsyncUploader(client).upload_many(jobs(folder, files, method)) as outcomes:
            async for outcome in outcomes:
                assert outcome.result is not None, outcome.error
                done += 1
                reused += outcome.result.reused
                if done % max(1, files // MARKS) == 0:
                    seconds, cpu = time.monotonic() - began, time.process_time()
                    told.write(json.dumps({"done": done, "seconds": seconds, "cpu": cpu, "mib": resident()}) + "\n")
        told.write(json.dumps({"reused": reused, "seconds": time.monotonic() - began}) + "\n")
    assert done == files


def jobs(folder: Path, files: int, method: str) -> Iterator[UploadJob]:
    chosen: Any = {"method": method} if method and "method" in fields_dict(UploadJob) else {}
    for number in range(files):
        yield UploadJob(folder / f"{number:06}.bin", "batch", **chosen)


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:] or [""]))
