"""This checkout against another one, pair by pair: CPU of edits, of edits in bulk with a ledger, and of an upload.

    git worktree add ../before v0.1 && python -m benchmarks.against ../before [--pairs 15] [--what edits bulk upload]

Each side runs as a process of its own, started in its checkout, in turn; of each pair the ratio of CPU seconds counts.
Prints the median ratio with the upper end of its 95 % confidence interval (percentile bootstrap: Efron, "Bootstrap
Methods", 1979). Exits with 1 where that is above `--most`. Uploads need nginx.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.edits import OURS, answer_of, picture_of, serving
from benchmarks.measuring import Run, measure
from benchmarks.reporting import machine, table
from benchmarks.uploads.contenders.programs import CONTENDERS, command
from benchmarks.uploads.files import random_file
from benchmarks.uploads.receiver import receiving

HERE = Path(__file__).parent.parent
RESAMPLINGS = 10_000
UP, DOWN, MIB = 1_000_000, 1_572_864, 1 << 20

BULK = """
import asyncio, sys, tempfile
from pathlib import Path
from asyncsdk import Client, ImageEdit, ImageEditor
async def main():
    picture, numbers = Path(sys.argv[1]), range(int(sys.argv[2]))
    edits = (ImageEdit(image=picture, prompt=f"{number}", model="gpt-image-2") for number in numbers)
    with tempfile.TemporaryDirectory() as out:
        async with Client() as client:
            async with ImageEditor(client).edit_many(edits, out=out, concurrency=int(sys.argv[3])) as outcomes:
                assert all([outcome.status == "done" async for outcome in outcomes])
asyncio.run(main())
"""

Measure = Callable[[Path], Run]


def edits(program: str, picture: Path, number: int, url: str) -> Measure:
    environment = os.environ | {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-benchmark"}
    given = [sys.executable, "-c", program, str(picture)]

    def run(checkout: Path) -> Run:
        start = measure([*given, "0", "16", str(DOWN)], environment, checkout)
        whole = measure([*given, str(number), "16", str(DOWN)], environment, checkout)
        return Run(whole.wall - start.wall, whole.cpu - start.cpu, whole.peak)

    return run


def upload(path: Path, environment: dict[str, str]) -> Measure:
    return lambda checkout: measure(command(CONTENDERS["asyncsdk, md5"], path), environment, checkout)


def upper_end(ratios: list[float]) -> float:
    """The upper end of the median's 95 % confidence interval."""
    draw = random.Random(1).choices
    medians = sorted(statistics.median(draw(ratios, k=len(ratios))) for _ in range(RESAMPLINGS))
    return medians[int(0.975 * RESAMPLINGS)]


def compare(run: Measure, other: Path, pairs: int) -> list[float]:
    """CPU ratios, this checkout's to the other's, after one pair that warms up; who goes first alternates."""
    ratios = []
    for number in range(pairs + 1):
        order = (HERE, other) if number % 2 else (other, HERE)
        cpu = {checkout: run(checkout).cpu for checkout in order}
        ratios.append(cpu[HERE] / cpu[other])
    return ratios[1:]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("other", type=Path)
    options.add_argument("--pairs", type=int, default=15)
    options.add_argument("--what", nargs="+", choices=["edits", "bulk", "upload"], default=["edits", "bulk", "upload"])
    options.add_argument("--edits", type=int, default=200)
    options.add_argument("--mib", type=int, default=512, help="the size of the upload")
    options.add_argument("--most", type=float, default=1.05)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name, serving(answer_of(picture_of(DOWN))) as url:
        place = Path(name)
        picture = place / "picture.png"
        picture.write_bytes(picture_of(UP))
        with receiving(place / "receiver", tls=False) as receiver:
            runs: dict[str, Measure] = {
                "edits": edits(OURS, picture, given.edits, url),
                "bulk": edits(BULK, picture, given.edits, url),
                "upload": upload(random_file(place / "file", given.mib * MIB), receiver.environment(place)),
            }
            ratios = {what: compare(runs[what], given.other.resolve(), given.pairs) for what in given.what}
    ends = {what: upper_end(of_pairs) for what, of_pairs in ratios.items()}
    print(machine())
    head = ["what", "pairs", "median CPU ratio", "upper end, 95 %"]
    figures = {what: f"{statistics.median(of_pairs):.3f}" for what, of_pairs in ratios.items()}
    print(table(head, [[what, str(given.pairs), figures[what], f"{end:.3f}"] for what, end in ends.items()]))
    sys.exit(f"above {given.most}" if max(ends.values()) > given.most else None)


if __name__ == "__main__":
    main()
