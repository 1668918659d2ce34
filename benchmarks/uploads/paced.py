"""Many small files against a server that limits POST /files, by each method: how many a second, and whether one fails.

    python -m benchmarks.uploads.paced [--files 10000] [--bytes 1000] [--per-minute 1000] [--rounds 1]

The limit is learned from the server's refusals. Exits with 1 where a file failed, or where "auto" took longer than the
Uploads API alone in the median of the rounds. Ten thousand files take two to five minutes for each method.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from attrs import frozen

from asyncsdk import AsyncUploader, Client, UploadJob
from asyncsdk.server import ServerProcess
from benchmarks.reporting import keep, machine, table
from benchmarks.uploads.files import random_file

METHODS = ("uploads", "auto")


@frozen
class Paced:
    """How a run ended: its files, those sent by one request, those that failed, and CPU seconds of this process."""

    files: int
    posted: int
    failed: int
    seconds: float
    cpu: float

    def row(self, method: str) -> list[str]:
        figures = (f"{self.files / self.seconds:.0f}", f"{self.cpu / self.files * 1000:.1f}", f"{self.seconds:.0f}")
        return [method, str(self.posted), str(self.failed), *figures]


async def upload_all(url: str, paths: list[Path], journal: Path, method: str) -> Paced:
    """Upload all with one uploader as it comes."""
    began, cpu = time.monotonic(), time.process_time()
    posted = failed = 0
    async with Client("sk-test", base_url=url) as client:
        jobs = (UploadJob(path, "batch", method=method) for path in paths)  # type: ignore[arg-type]  # one of METHODS
        async with AsyncUploader(client, journal=journal).upload_many(jobs) as outcomes:
            async for outcome in outcomes:
                failed += outcome.result is None
                posted += outcome.result is not None and outcome.result.upload is None
    return Paced(len(paths), posted, failed, time.monotonic() - began, time.process_time() - cpu)


def main() -> int:
    """Measure and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--bytes", type=int, default=1000)
    parser.add_argument("--per-minute", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    runs: dict[str, list[Paced]] = {method: [] for method in METHODS}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        paths = [random_file(place / f"{number}.txt", given.bytes) for number in range(given.files)]
        for number in range(given.rounds):
            for method in METHODS[:: 1 if number % 2 == 0 else -1]:
                with ServerProcess(files_per_minute=given.per_minute) as server:
                    journal = place / f"journal-{number}-{method}"
                    runs[method].append(asyncio.run(upload_all(server.url, paths, journal, method)))
    head = ("method", "by one request", "failed", "files/s", "CPU ms a file", "seconds")
    what = f"{given.files:,} files of {given.bytes:,} bytes, {given.per_minute:,} POST /files a minute, on loopback"
    text = f"# Small files against a limit on POST /files\n\n{what}. {machine()}.\n\n"
    keep("uploads-paced", text + table(head, [run.row(method) for method in METHODS for run in runs[method]]))
    parts, auto = (statistics.median(run.seconds for run in runs[method]) for method in METHODS)
    return int(auto > parts or any(run.failed for each in runs.values() for run in each))


if __name__ == "__main__":
    sys.exit(main())
