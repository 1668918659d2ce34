"""The ledger of a long run: how long it takes to load, and what an edit costs in memory and on disk.

    python -m benchmarks.ledger [--items 1000000] [--compact]

Writes the lines of that many edits (an intent and a last word each) and loads them in a process of its own.
`--compact` opens the ledger twice: what is there is compacted first.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from asyncsdk.images.ledger.file import open_ledger
from asyncsdk.wal.line import encode_head, encode_line, iso


def lines(items: int) -> Iterator[bytes]:
    """A run of `items` edits as it is written down: most are done, some are refused."""
    at = 1_790_000_000.0
    yield encode_head(at=at, host="host", pid=1)
    for number in range(items):
        item, name, at = f"{hashlib.sha256(b'%d' % number).hexdigest()}#0", f"photos/{number:07}", at + 0.05
        yield encode_line({"t": "intent", "item": item, "id": name, "n": 1, "at": iso(at)})
        if number % 100 == 0:
            problem = {"type": "ModerationBlockedError", "message": "Your request was rejected by the safety system."}
            yield encode_line({"t": "refused", "item": item, "id": name, "problem": problem, "at": iso(at)})
            continue
        usage = {"input_tokens": 600, "output_tokens": 1000 + number % 100, "total_tokens": 1600 + number % 100}
        done = {"t": "done", "item": item, "id": name, "files": [f"{name}.png"], "images": 1, "usage": usage}
        yield encode_line({**done, "request_id": f"req_{number:032x}", "at": iso(at + 20)})


async def measure(directory: Path) -> None:
    """Open the ledger once, and say what that took."""
    before, began, cpu = resident(), time.monotonic(), time.process_time()
    async with open_ledger(directory) as ledger:
        items, wall, used = len(ledger.index.states), time.monotonic() - began, time.process_time() - cpu
        held, peak = resident() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        size = sum(path.stat().st_size for path in (directory / "ledger").iterdir())
        print(
            f"{items:,} edits: {size / items:.0f} bytes each on disk, loaded in {wall:.1f} s ({used:.1f} s of CPU), "
            f"{held / items:.0f} bytes each in memory, {resident() / 2**20:.0f} MiB resident, "
            f"{peak / 2**20:.0f} MiB at the peak"
        )


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--items", type=int, default=1_000_000)
    options.add_argument("--compact", action="store_true", help="once more, after it was compacted")
    options.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.load is not None:
        asyncio.run(measure(given.load))
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ledger").mkdir(0o700)
        with (Path(folder) / "ledger" / "2026-01-01T000000.000Z-host-1-0.jsonl").open("wb") as file:
            file.writelines(lines(given.items))
        for _ in range(1 + given.compact):
            subprocess.run([sys.executable, "-m", "benchmarks.ledger", "--load", folder], check=True)


if __name__ == "__main__":
    main()
