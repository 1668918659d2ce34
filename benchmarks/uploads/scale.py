"""How cost grows: with the file's size, with parts, with connections, with uploads at the same time in one process.

    python -m benchmarks.uploads.scale [--largest-mib 8192] [--runs 3] [--plain]

Our own uploads, md5 on. CPU is without the start of the process. Sizes above 1 GiB run once.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from attrs import field, frozen

from asyncsdk.uploads.journal import Part
from asyncsdk.uploads.journal.codec import encode
from benchmarks.measuring import Run, measure
from benchmarks.reporting import keep, lines, machine, table
from benchmarks.uploads.contenders.programs import Contender, command
from benchmarks.uploads.files import random_file
from benchmarks.uploads.receiver import Receiver, receiving

MIB = 1 << 20
SIZES = (64, 256, 1024, 4096, 8192)
FILES = (1, 10, 50, 100, 200)
CONNECTIONS = (1, 2, 4, 8, 16, 32)
PARTS = {1600: MIB // 2, 800: MIB, 100: 8 * MIB, 13: 64 * MIB}
SMALL_FILE = 100_000

Plot = Callable[[], None]


@frozen
class Bench:
    """Where a run finds what it needs."""

    receiver: Receiver
    folder: Path
    runs: int
    start: Run = field(init=False)

    def __attrs_post_init__(self) -> None:
        small = random_file(self.folder / "small.bin", 1000)
        object.__setattr__(self, "start", self.best("ours", small, runs=3))

    def best(self, program: str, path: Path, *options: str, connections: int = 8, runs: int = 0) -> Run:
        """The cheapest of some runs."""
        started = command(Contender(program, md5=True), path, *options, connections=connections)
        made = [measure(started, self.receiver.environment(self.folder)) for _ in range(runs or self.runs)]
        return min(made, key=lambda run: run.cpu)

    def cost(self, run: Run) -> float:
        return max(0.0, run.cpu - self.start.cpu)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--largest-mib", type=int, default=SIZES[-1])
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--plain", action="store_true")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as place, receiving(Path(place) / "receiver", tls=not given.plain) as receiver:
        bench = Bench(receiver, Path(place), given.runs)
        told, plots = [], list[Plot]()
        for part in (by_files, by_connections, by_parts, partial(by_size, largest=given.largest_mib)):
            told.append(part(bench, plots))
            print(told[-1], flush=True)  # it takes long, and may be cut off
    for plot in plots:  # at the end: what this process grows to would be counted to those that it starts
        plot()
    line = "plain HTTP" if given.plain else "TLS"
    keep(
        "uploads-scale",
        f"# How the cost of uploads grows, over {line}, md5 on\n\n{machine()}; received by {receiver.name} on the same "
        "cores. CPU seconds are those of the client without its start.\n\n" + "\n\n".join(told),
    )


def by_size(bench: Bench, plots: list[Plot], largest: int) -> str:
    rows, points = [], []
    for mebibytes in (size for size in SIZES if size <= largest):
        path = random_file(bench.folder / "sized.bin", mebibytes * MIB)
        run = bench.best("ours", path, runs=1 if mebibytes > 1024 else 0)
        path.unlink()
        cost = bench.cost(run)
        rows.append([f"{mebibytes:,}", f"{cost:.2f}", f"{cost * 1024 / mebibytes:.2f}", f"{run.peak:.0f}"])
        points.append((mebibytes, cost))
    series = {"asyncsdk, md5": points}
    plots.append(partial(lines, "uploads-by-size", "CPU by the file's size", "MiB", "CPU seconds", series))
    return "## By size\n\n" + table(["MiB", "CPU s", "CPU s/GiB", "peak MiB"], rows)


def by_files(bench: Bench, plots: list[Plot]) -> str:
    rows, points = [], []
    for count in FILES:
        files = bench.folder / f"files-{count}"
        files.mkdir()
        for number in range(count):
            random_file(files / f"{number:03}.bin", SMALL_FILE)
        run = bench.best("ours_at_once", files)
        cost = bench.cost(run)
        rows.append([f"{count}", f"{cost:.3f}", f"{cost * 1000 / count:.1f}", f"{run.peak:.0f}"])
        if cost:  # one file is what the start consists of
            points.append((count, cost))
    series = {"asyncsdk, md5": points}
    plots.append(partial(lines, "uploads-by-files", "CPU by files at once", "files of 100 KB", "CPU seconds", series))
    return "## By small files at once in one process\n\n" + table(["files", "CPU s", "CPU ms a file", "peak MiB"], rows)


def by_connections(bench: Bench, _: list[Plot]) -> str:
    path = random_file(bench.folder / "connected.bin", 512 * MIB)
    made = {count: bench.best("ours", path, connections=count) for count in CONNECTIONS}
    rows = [[str(count), f"{bench.cost(run) * 2:.2f}", f"{run.peak:.0f}"] for count, run in made.items()]
    path.unlink()
    return "## By connections, 512 MiB\n\n" + table(["connections", "CPU s/GiB", "peak MiB"], rows)


def by_parts(bench: Bench, _: list[Plot]) -> str:
    path = random_file(bench.folder / "parted.bin", 800 * MIB)
    rows = []
    for count, size in PARTS.items():
        run = bench.best("ours", path, "--part-size", str(size))
        rows.append([str(count), f"{bench.cost(run):.2f}", f"{run.peak:.0f}", f"{journal_bytes(count, size):,}"])
    return "## By parts, 800 MiB\n\n" + table(["parts", "CPU s", "peak MiB", "journal bytes before compaction"], rows)


def journal_bytes(parts: int, size: int) -> int:
    return sum(
        len(encode(Part(upload="upload_" + "0" * 32, offset=n * size, length=size, id=f"part_{n:032}", xxh3="0" * 32)))
        for n in range(parts)
    )


if __name__ == "__main__":
    main()
