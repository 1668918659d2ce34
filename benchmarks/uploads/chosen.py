"""What it costs that we choose the number of connections: CPU against a fixed 8 over TLS on loopback, pair by pair.

    python -m benchmarks.uploads.chosen [--pairs 20] [--size-mib 1024]

Prints the median ratio with the upper end of its 95 % confidence interval. Takes about three minutes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.against import upper_end
from benchmarks.measuring import Run, measure
from benchmarks.reporting import keep, machine, table
from benchmarks.uploads.contenders.programs import CONTENDERS, command
from benchmarks.uploads.files import random_file
from benchmarks.uploads.receiver import receiving

CHOSEN, FIXED = 0, 8  # connections


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=int, default=20)
    options.add_argument("--size-mib", type=int, default=1024)
    given = options.parse_args()
    runs: dict[int, list[Run]] = {CHOSEN: [], FIXED: []}
    with tempfile.TemporaryDirectory() as place, receiving(Path(place) / "receiver", tls=True) as receiver:
        path = random_file(Path(place) / "data.bin", given.size_mib << 20)
        for pair in range(given.pairs + 1):
            for connections in (CHOSEN, FIXED) if pair % 2 else (FIXED, CHOSEN):
                made = command(CONTENDERS["asyncsdk, md5"], path, connections=connections)
                run = measure(made, receiver.environment(Path(place)))
                if pair:  # the first warms up
                    runs[connections].append(run)
    cpu = [ours.cpu / fixed.cpu for ours, fixed in zip(runs[CHOSEN], runs[FIXED], strict=True)]
    wall = [ours.wall / fixed.wall for ours, fixed in zip(runs[CHOSEN], runs[FIXED], strict=True)]
    rows = [
        [what, f"{statistics.median(ratios):.3f}", f"{upper_end(ratios):.3f}"]
        for what, ratios in {"CPU": cpu, "wall": wall}.items()
    ]
    head = ["", f"as we choose / {FIXED} connections", "upper end, 95 %"]
    keep(
        "uploads-chosen",
        f"# The number of connections chosen, {given.size_mib} MiB over TLS on loopback\n\n{machine()}; medians of "
        f"{given.pairs} pairs, the start of the process in them; md5 on.\n\n{table(head, rows)}",
    )


if __name__ == "__main__":
    main()
