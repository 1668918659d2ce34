"""The connections that an uploader chooses by itself, on models of lines: no network, and no time passes.

python -m benchmarks.uploads.adapting [--seeds 8] [--line NAME ...]
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter

from asyncsdk.uploads.chunking import MIB
from asyncsdk.uploads.pacing.concurrency import ConnectionCount
from benchmarks.reporting import table
from tests.uploads.line_models import Fixed, Line, Simulation, lines

FIXED = (4, 8, 10, 16, 32)
SIZES = {"256 MiB": 256 * MIB, "1 GiB": 1 << 30, "4 GiB": 4 << 30}
END, LONGEST = 100.0, 400.0  # seconds of a run; a line that takes longer is left out


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=8)
    options.add_argument("--line", nargs="*", default=list(lines(0)))
    given = options.parse_args()
    head = ["line", "settled at (number: runs)", "after", "settled rate: median, least", *SIZES, "refused after 30 s"]
    rows = [row(name, [lines(seed)[name] for seed in range(given.seeds)]) for name in given.line]
    print(f"Rates as shares of the best of {FIXED} connections.\n\n{table(head, rows)}")


def row(name: str, seeded: list[Line]) -> list[str]:
    runs = [Simulation(line, ConnectionCount(), seed=seed, longest=END).run() for seed, line in enumerate(seeded)]
    shares = []
    for seed, (line, run) in enumerate(zip(seeded, runs, strict=True)):
        best = max(
            Simulation(line, Fixed(number), seed=seed, longest=END).run().rate_between(60, END) for number in FIXED
        )
        shares.append(run.rate_between(60, END) / best)
    numbers = sorted(Counter(run.seen[-1].best for run in runs).items())
    settled = [next((seen.time for seen in run.seen if seen.settled), END) for run in runs]
    return [
        name,
        ", ".join(f"{number}: {count}" for number, count in numbers),
        f"{statistics.median(settled):.1f} s",
        f"{statistics.median(shares):.2f}, {min(shares):.2f}",
        *(whole(seeded[:2], size) for size in SIZES.values()),
        f"{max(run.refused_after(30) for run in runs):.1%}",
    ]


def whole(seeded: list[Line], size: int) -> str:
    """The time that the best fixed number takes, as a share of ours."""
    shares = []
    for seed, line in enumerate(seeded):
        ours = Simulation(line, ConnectionCount(), size, seed, LONGEST).run().time
        if ours >= LONGEST:
            return ""
        shares.append(min(Simulation(line, Fixed(number), size, seed).run().time for number in FIXED) / ours)
    return f"{statistics.median(shares):.2f}"


if __name__ == "__main__":
    main()
