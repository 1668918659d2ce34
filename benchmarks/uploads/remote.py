"""A large object of a bucket, beside the same file by its path and beside reading the bucket alone.

    python -m benchmarks.uploads.remote [--gib 1] [--connections 8 32] [--rounds 3] [--folder DIR]

The bucket is moto's, in a process on the same cores. md5 on, plain HTTP. Bytes read are those that the bucket sent.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from asyncsdk import AsyncUploader, Client
from asyncsdk.remote.address import remote_address
from asyncsdk.remote.reading import RemoteObject
from asyncsdk.remote.stores import RemoteStores
from benchmarks.measuring import Run, measure
from benchmarks.reporting import keep, machine, table
from benchmarks.uploads.files import random_file
from benchmarks.uploads.receiver import Receiver, receiving
from tests.remote.s3_server import S3Server, s3_server

GIB = 1 << 30
URL = "s3://bucket/large.bin"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--gib", type=float, default=1)
    options.add_argument("--connections", type=int, nargs="+", default=[8, 32])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--folder", help="where the file is made")
    options.add_argument("--upload", help=argparse.SUPPRESS)  # what a process of a run does
    options.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.read:
        asyncio.run(read())
    elif given.upload:
        asyncio.run(upload(given.upload, given.connections[0]))
    else:
        compare(given.gib, given.connections, given.rounds, given.folder)


async def read() -> None:
    """All of the object in order, as an upload reads it, and nothing done with it."""
    address = remote_address(URL)
    assert address is not None
    reader = (await RemoteObject.open(address, RemoteStores())).read()
    async for _ in reader:
        pass
    await reader.aclose()


async def upload(source: str, connections: int) -> None:
    async with Client() as client:
        await AsyncUploader(client, concurrency=connections, md5="hex").upload(
            source, purpose="user_data", if_uploaded="again"
        )


def compare(gib: float, connections: Sequence[int], rounds: int, folder: str | None) -> None:
    with (
        tempfile.TemporaryDirectory(dir=folder) as place,
        receiving(Path(place) / "receiver", tls=False) as receiver,
        s3_server() as s3,
    ):
        path = random_file(Path(place) / "large.bin", int(gib * GIB))
        s3.put("bucket")
        with path.open("rb") as file:
            s3.put("bucket/large.bin", file)
        ways = {"reading the bucket alone": ["--read"]}
        for number in connections:
            ways[f"its path, {number} connections"] = ["--upload", str(path), "--connections", str(number)]
            ways[f"the bucket, {number} connections"] = ["--upload", URL, "--connections", str(number)]
        runs: dict[str, list[tuple[Run, int]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, words in ways.items():
                runs[name].append(one(s3, receiver, Path(place), words))
        rows = [
            [
                name,
                f"{gib * 1024 / median(run.wall for run, _ in each):.0f}",
                f"{median(run.cpu for run, _ in each):.1f}",
                f"{max(run.peak for run, _ in each):.1f}",
                f"{max(count for _, count in each):,}",
            ]
            for name, each in runs.items()
        ]
        size = path.stat().st_size
    head = ["source", "MiB/s", "CPU s", "peak MiB", "bytes read from the bucket"]
    keep(
        "uploads-remote",
        f"# An object of {size:,} bytes in a bucket, md5 on, plain HTTP\n\n{machine()}; received by {receiver.name}, "
        f"the bucket by moto, all on the same cores. {rounds} runs in turn: medians, of memory and bytes the "
        f"most.\n\n{table(head, rows)}",
    )


def one(s3: S3Server, receiver: Receiver, folder: Path, words: list[str]) -> tuple[Run, int]:
    before = s3.bytes_of("/bucket/large.bin")
    environment = os.environ | receiver.environment(folder) | s3.environment
    run = measure([sys.executable, "-m", "benchmarks.uploads.remote", *words], environment)
    return run, s3.bytes_of("/bucket/large.bin") - before


if __name__ == "__main__":
    main()
