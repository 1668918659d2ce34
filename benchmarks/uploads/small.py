"""A thousand small files through one uploader, against a loop over openai-python's `upload_file_chunked`.

python -m benchmarks.uploads.small [--files 1000] [--bytes 100000] [--rounds 3] [--rtt-ms 40]

Over TLS; with --rtt-ms the server is that far away, as real ones are.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import evolve

from benchmarks.measuring import Run, measure
from benchmarks.reporting import keep, machine, table
from benchmarks.uploads.files import random_file
from benchmarks.uploads.receiver import Receiver, port_of, receiving
from benchmarks.uploads.shaped import shaped

CONTENDERS = {
    "asyncsdk, upload_many, md5": ["ours_many", "--md5"],
    "openai, loop over upload_file_chunked, md5": ["openai_loop", "--md5"],
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--files", type=int, default=1000)
    options.add_argument("--bytes", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--rtt-ms", type=float, default=0)
    given = options.parse_args()
    runs: dict[str, list[Run]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = folder / "files"
        files.mkdir()
        for number in range(given.files):
            random_file(files / f"{number:04}.jsonl", given.bytes)
        with receiving(folder / "receiver", tls=True) as near, at_distance(near, given.rtt_ms / 1000) as receiver:
            for turn in range(given.rounds):
                for name in list(CONTENDERS)[:: -1 if turn % 2 else 1]:
                    program, *flags = CONTENDERS[name]
                    command = [sys.executable, "-m", f"benchmarks.uploads.contenders.{program}", str(files), *flags]
                    with tempfile.TemporaryDirectory(dir=folder) as own:  # with a journal that knows none of them yet
                        runs[name].append(measure(command, receiver.environment(Path(own))))
    report(runs, given)


@contextmanager
def at_distance(receiver: Receiver, rtt: float) -> Iterator[Receiver]:
    """The same receiver, a round trip of `rtt` seconds away."""
    if not rtt:
        yield receiver
        return
    near = port_of(receiver)
    with shaped(near, rtt=rtt, rate=1e9) as port:
        yield evolve(receiver, url=receiver.url.replace(str(near), str(port)))


def report(runs: dict[str, list[Run]], given: argparse.Namespace) -> None:
    files, where = given.files, f"{given.rtt_ms:g} ms away" if given.rtt_ms else "on loopback"
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
        "uploads-small" + (f"-{given.rtt_ms:g}-ms" if given.rtt_ms else ""),
        f"# {files:,} files of {given.bytes:,} bytes over TLS, the server {where}, one process\n\n"
        f"{machine()}; medians of {len(ours)} rounds, "
        f"the start of the process in them.\n\n"
        + table(["", "files/s", "CPU ms a file", "peak MiB", "our rate / its"], rows),
    )


if __name__ == "__main__":
    main()
