"""Large files: peak memory, the longest stall of the event loop, and how large the journal gets while they go up.

    python -m benchmarks.uploads.large [--gib 1 4 8] [--connections 8 32] [--rounds 5] [--plain] [--folder DIR]

Over TLS unless told otherwise, md5 on; 0 connections are as many as we choose. One GiB takes half a minute for each
number of connections.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.measuring import Run, measure
from benchmarks.reporting import keep, machine, table
from benchmarks.uploads.contenders.programs import Contender, command
from benchmarks.uploads.files import random_file
from benchmarks.uploads.receiver import Receiver, receiving

GIB = 1 << 30
LOOK_SECONDS = 0.05


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--gib", type=float, nargs="+", default=[1, 4, 8])
    options.add_argument("--connections", type=int, nargs="+", default=[8])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--plain", action="store_true")
    options.add_argument("--folder", help="where the files are made; what is in memory there is counted to nobody")
    given = options.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=given.folder) as place,
        receiving(Path(place) / "receiver", tls=not given.plain) as receiver,
    ):
        rows = [
            row(receiver, Path(place), gib, given.rounds, connections)
            for gib in given.gib
            for connections in given.connections
        ]
    head = ["GiB", "connections", "runs", "peak MiB", "longest stall, ms", "largest journal, KiB", "MiB/s"]
    line = "plain HTTP" if given.plain else "TLS"
    keep(
        f"uploads-large-{'plain' if given.plain else 'tls'}",
        f"# Large files over {line}, md5 on\n\n{machine()}; received by {receiver.name} on the same "
        f"cores. Medians of the runs' maxima.\n\n{table(head, rows)}",
    )


def row(receiver: Receiver, folder: Path, gib: float, rounds: int, connections: int) -> list[str]:
    path = random_file(folder / "large.bin", int(gib * GIB))
    runs, stalls, journals = zip(*(one(receiver, folder, path, connections) for _ in range(rounds)), strict=True)
    peak, stall, journal = median(run.peak for run in runs), median(stalls), median(journals)
    speed = median(gib * 1024 / run.wall for run in runs)
    number = str(connections or "as we choose")
    return [
        f"{gib:g}",
        number,
        str(rounds),
        f"{peak:.1f}",
        f"{stall * 1000:.0f}",
        f"{journal / 1024:.0f}",
        f"{speed:.0f}",
    ]


def one(receiver: Receiver, folder: Path, path: Path, connections: int) -> tuple[Run, float, int]:
    stalls = folder / "stall"
    started = command(Contender("ours", md5=True), path, "--stall-to", str(stalls), connections=connections)
    with watched(folder / "journal") as sizes:
        run = measure(started, receiver.environment(folder))
    return run, float(stalls.read_text()), max(sizes)


@contextmanager
def watched(journal: Path) -> Iterator[list[int]]:
    """How large the journal is, looked at again and again; it shrinks when an upload is done."""
    sizes, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            sizes.append(sum(path.stat().st_size for path in journal.rglob("*.jsonl") if path.exists()))

    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield sizes
    finally:
        over.set()
        watching.join()


if __name__ == "__main__":
    main()
