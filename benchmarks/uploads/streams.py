"""Streams of known size against the path of the same file: memory, CPU and rate, at each number of connections.

    python -m benchmarks.uploads.streams [--gib 1] [--connections 8 32] [--rounds 3] [--tls] [--folder DIR]

md5 is on. A stream is an async generator over the file, or the response of an HTTP server in another process, which
runs on the same cores.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from attrs import frozen

from benchmarks.measuring import Run, measure
from benchmarks.reporting import keep, machine, table
from benchmarks.uploads.contenders.programs import Contender, command
from benchmarks.uploads.files import random_file
from benchmarks.uploads.receiver import LOOPBACK, Receiver, receiving

GIB = 1 << 30
WAYS = {
    "path": Contender("ours", md5=True),
    "generator": Contender("ours_stream", md5=True),
    "response": Contender("ours_stream", md5=True),
}
HEAD = ["", "connections", "peak MiB", "CPU s/GiB", "MiB/s", "its rate / that of the path"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--gib", type=float, default=1)
    options.add_argument("--connections", type=int, nargs="+", default=[8, 32])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--tls", action="store_true")
    options.add_argument("--folder", help="where the file is made; what is in memory there is counted to nobody")
    given = options.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=given.folder) as place,
        receiving(Path(place) / "receiver", tls=given.tls) as receiver,
    ):
        path = random_file(Path(place) / "large.bin", int(given.gib * GIB))
        with serving(path) as url:
            bench = Bench(receiver, path, url, given.rounds)
            rows = [row for number in given.connections for row in bench.rows(number)]
    line = "TLS" if given.tls else "plain HTTP"
    keep(
        "uploads-streams",
        f"# Streams of known size over {line}, {given.gib:g} GiB, md5 on\n\n{machine()}; received by {receiver.name} "
        f"on the same cores. Medians of {given.rounds} rounds, of the peaks the highest.\n\n{table(HEAD, rows)}",
    )


@frozen
class Bench:
    """What is measured: `path` by itself, as a generator, and as what the server at `url` gives."""

    receiver: Receiver
    path: Path
    url: str
    rounds: int

    def rows(self, connections: int) -> Iterator[list[str]]:
        runs: dict[str, list[Run]] = {name: [] for name in WAYS}
        for _ in range(self.rounds):
            for name, program in WAYS.items():
                options = ["--url", self.url] if name == "response" else []
                runs[name].append(self._run(command(program, self.path, *options, connections=connections)))
        gib = self.path.stat().st_size / GIB
        for name, its in runs.items():
            ratios = [base.wall / run.wall for base, run in zip(runs["path"], its, strict=True)]
            yield [
                name,
                str(connections),
                f"{max(run.peak for run in its):.0f}",
                f"{median(run.cpu for run in its) / gib:.2f}",
                f"{1024 * gib / median(run.wall for run in its):.0f}",
                f"{median(ratios):.2f}",
            ]

    def _run(self, program: list[str]) -> Run:
        self.receiver.empty()
        return measure(program, self.receiver.environment(self.path.parent))


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """An HTTP server in another process that gives `path`."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    started = [sys.executable, "-m", "benchmarks.uploads.producer", str(path), str(port)]
    process = subprocess.Popen(started, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield f"http://{LOOPBACK}:{port}/"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
