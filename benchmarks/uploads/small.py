"""A thousand small files through one uploader, against a loop over openai-python's `upload_file_chunked`.

python -m benchmarks.uploads.small [--files 1000] [--bytes 100000] [--rounds 3] [--plain]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import Run, measure
from benchmarks.reporting import keep, machine, table
from benchmarks.uploads.files import random_file
from benchmarks.uploads.receiver import receiving

CONTENDERS = {
    "asyncsdk, upload_many, md5": ["ours_many", "--md5"],
    "openai, loop over upload_file_chunked, md5": ["openai_loop", "--md5"],
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--files", type=int, default=1000)
    options.add_argument("--bytes", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--plain", action="store_true")
    given = options.parse_args()
    runs: dict[str, list[Run]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = folder / "files"
        files.mkdir()
        for number in range(given.files):
            random_file(files / f"{number:04}.jsonl", given.bytes)
        with receiving(folder / "receiver", tls=not given.plain) as receiver:
            for turn in range(given.rounds):
                for name in list(CONTENDERS)[:: -1 if turn % 2 else 1]:
                    program, *flags = CONTENDERS[name]
                    command = [sys.executable, "-m", f"benchmarks.uploads.contenders.{program}", str(files), *flags]
                    runs[name].append(measure(command, receiver.environment(folder)))
    report(runs, given.files, given.bytes, "plain HTTP" if given.plain else "TLS")


def report(runs: dict[str, list[Run]], files: int, size: int, line: str) -> None:
    rates = {name: [files / run.wall for run in own] for name, own in runs.items()}
    ours = rates[next(iter(rates))]
    rows = [
        [
            name,
            f"{statistics.median(rates[name]):.0f}",
            f"{statistics.median(run.cpu for run in own) * 1000 / files:.1f}",
            f"{max(run.peak for run in own):.0f}",
            f"{statistics.median(our / its for our, its in zip(ours, rates[name], strict=True)):.2f}",
        ]
        for name, own in runs.items()
    ]
    keep(
        "uploads-small",
        f"# {files:,} files of {size:,} bytes over {line}, one process\n\n{machine()}; medians of {len(ours)} rounds, "
        f"the start of the process in them.\n\n"
        + table(["", "files/s", "CPU ms a file", "peak MiB", "our rate / its"], rows),
    )


if __name__ == "__main__":
    main()
