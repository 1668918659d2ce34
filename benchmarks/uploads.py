"""Uploads against openai-python's `upload_file_chunked`: same server, same file, in turn; wall, CPU and peak memory.

    python -m benchmarks.uploads [--size-mib 512] [--pairs 5]

Each side runs as a process of its own, started by this one, and is measured from outside when it has ended.
The receiver is the embedded server in another process; it takes CPU of its own, so read the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measuring import Run, measure, rotated

OURS = """
import asyncio, sys
from asyncsdk import AsyncUploader, Client
async def main():
    async with Client() as client:
        await AsyncUploader(client, md5={md5}).upload(sys.argv[1], purpose="batch", if_uploaded="again")
asyncio.run(main())
"""

THEIRS = """
import asyncio, hashlib, sys
from pathlib import Path
from openai import AsyncOpenAI
async def main():
    path = Path(sys.argv[1])
    md5 = {md5}
    async with AsyncOpenAI() as client:
        await client.uploads.upload_file_chunked(file=path, mime_type="application/jsonl", purpose="batch", **md5)
asyncio.run(main())
"""
THEIR_MD5 = """dict(md5=hashlib.file_digest(path.open("rb"), "md5").hexdigest())"""

CONTENDERS = {
    "asyncsdk, md5": OURS.format(md5='"hex"'),
    "openai upload_file_chunked, md5": THEIRS.format(md5=THEIR_MD5),
    "openai upload_file_chunked, no md5": THEIRS.format(md5="{}"),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size-mib", type=int, default=512)
    options.add_argument("--pairs", type=int, default=5)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "server") as (url, _):
        path = random_file(Path(folder) / "data.jsonl", given.size_mib)
        environment = os.environ | {
            "OPENAI_BASE_URL": url,
            "OPENAI_API_KEY": "sk-benchmark",
            "ASYNCSDK_JOURNAL": f"{folder}/journal",
        }
        runs: dict[str, list[Run]] = {name: [] for name in CONTENDERS}
        for turn in range(given.pairs + 1):
            for name, program in rotated(CONTENDERS, turn):
                run = measure([sys.executable, "-c", program, str(path)], environment)
                if turn:  # the first turn warms up
                    runs[name].append(run)
                empty(Path(folder) / "server")
    report(runs, given.size_mib)


@contextmanager
def serving(data: Path) -> Iterator[tuple[str, int]]:
    """The embedded server in a process of its own: its URL and its process id."""
    command = [sys.executable, "-m", "asyncsdk", "serve", "--port", "0", "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["url"], server.pid
        server.terminate()


def random_file(path: Path, mebibytes: int) -> Path:
    with path.open("wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(1 << 20))
    return path


def empty(data: Path) -> None:
    """Free the disk: what the server stored is not looked at again."""
    for path in data.rglob("*"):
        if path.is_file() and path.stat().st_size > 1 << 20:
            os.truncate(path, 0)


def report(runs: dict[str, list[Run]], mebibytes: int) -> None:
    base = next(iter(runs))
    print(f"{mebibytes} MiB, medians of {len(runs[base])} runs in turn; ratio: {base} / the other\n")
    print("| | wall s | CPU s/GiB | peak MiB | wall ratio | CPU ratio | peak ratio |")
    print("|---|---|---|---|---|---|---|")
    columns: list[Callable[[Run], float]] = [lambda run: run.wall, lambda run: run.cpu, lambda run: run.peak]
    for name, own in runs.items():
        wall, cpu, peak = (statistics.median(map(column, own)) for column in columns)
        pairs = list(zip(runs[base], own, strict=True))
        ratios = [statistics.median(column(ours) / column(other) for ours, other in pairs) for column in columns]
        shown = " | ".join("" if name == base else f"{ratio:.2f}" for ratio in ratios)
        print(f"| {name} | {wall:.2f} | {cpu * 1024 / mebibytes:.2f} | {peak:.0f} | {shown} |")


if __name__ == "__main__":
    main()
