"""Uploads against peers and the floor: openai-python, curl with openssl, raw sockets in threads, md5 alone.

    python -m benchmarks.uploads [--plain] [--size-mib 1024] [--rounds 5] [--seconds N]

Over TLS unless told otherwise. Each contender runs as a process of its own and is measured from outside; what it takes
to start, an upload of one small file, is measured likewise and taken off. Rounds begin with another contender each
time, and ratios are medians of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import frozen

from benchmarks.measuring import Run, measure
from benchmarks.reporting import bars, keep, machine, table
from benchmarks.uploads.contenders.programs import CONTENDERS, Contender, command
from benchmarks.uploads.files import cut, random_file
from benchmarks.uploads.receiver import Receiver, receiving

OURS, OURS_MD5 = "asyncsdk", "asyncsdk, md5"
STALL_RUNS = 5


@frozen
class Measured:
    """All runs of one contender over `gib`, and its start, which `cpu` and `wall` (a GiB) leave out."""

    start: Run
    runs: list[Run]
    gib: float

    @property
    def cpu(self) -> list[float]:
        return [(run.cpu - self.start.cpu) / self.gib for run in self.runs]

    @property
    def wall(self) -> list[float]:
        return [(run.wall - self.start.wall) / self.gib for run in self.runs]

    @property
    def peak(self) -> float:
        return max(run.peak for run in self.runs)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--plain", action="store_true")
    options.add_argument("--size-mib", type=int, default=1024)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=math.inf, help="begin no round after so many")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = cut(random_file(folder / "data.bin", given.size_mib << 20))
        small = cut(random_file(folder / "small.bin", 1000))
        with receiving(folder / "receiver", tls=not given.plain) as receiver:
            stall = longest_stall(receiver, folder, path)
            measured = in_turn(receiver, folder, (path, small), rounds(given.rounds, given.seconds))
    report(measured, stall, receiver.name, given.size_mib, "plain HTTP" if given.plain else "TLS")


def rounds(count: int, seconds: float) -> Iterator[int]:
    until = time.monotonic() + seconds
    return itertools.takewhile(lambda turn: turn == 0 or time.monotonic() < until, range(count))


def in_turn(receiver: Receiver, folder: Path, files: tuple[Path, Path], turns: Iterator[int]) -> dict[str, Measured]:
    (path, small), environment = files, receiver.environment(folder)

    def run(contender: Contender, file: Path) -> Run:
        receiver.empty()
        return measure(command(contender, file), environment)

    gib = path.stat().st_size / (1 << 30)
    programs = {each.program: each for each in CONTENDERS.values()}
    starts = {name: min((run(each, small) for _ in range(3)), key=by_cpu) for name, each in programs.items()}
    measured = {name: Measured(starts[each.program], [], gib) for name, each in CONTENDERS.items()}
    names = list(CONTENDERS)
    for turn in turns:
        start = turn * 3 % len(names)
        for name in names[start:] + names[:start]:
            measured[name].runs.append(run(CONTENDERS[name], path))
    return measured


def by_cpu(run: Run) -> float:
    return run.cpu


def longest_stall(receiver: Receiver, folder: Path, path: Path) -> float:
    """Milliseconds: the median of some runs' longest delays of the event loop."""
    told, stalls = folder / "stall", []
    for _ in range(STALL_RUNS):
        measure(command(CONTENDERS[OURS_MD5], path, "--stall-to", str(told)), receiver.environment(folder))
        stalls.append(float(told.read_text()))
    return statistics.median(stalls) * 1000


def report(measured: dict[str, Measured], stall: float, receiver: str, size_mib: int, line: str) -> None:
    name = "uploads-" + line.split(maxsplit=1)[0].lower()
    made = len(measured[OURS].runs)
    rows = [row(each, measured) for each in measured]
    head = ["", "CPU s/GiB", "MiB/s", "peak MiB", "start, CPU s", "our CPU / its", "our wall / its"]
    keep(
        name,
        f"# Uploads over {line}, {size_mib} MiB on loopback\n\n{machine()}; received by {receiver} on the same cores. "
        f"Medians of {made} rounds; CPU and speed without the start, which is told beside them; ratios are of "
        f"asyncsdk with md5 to those with md5, else without, round by round.\n\n{table(head, rows)}\n\n"
        f"Longest stall of our event loop, median of {STALL_RUNS} runs: {stall:.0f} ms.\n",
    )
    cpu = {each: statistics.median(measured[each].cpu) for each in measured}
    groups = {
        "with md5": {each.removesuffix(", md5"): value for each, value in cpu.items() if "md5" in each},
        "without": {each: value for each, value in cpu.items() if "md5" not in each},
    }
    bars(name, f"CPU of an upload over {line}", "CPU seconds a GiB, start left out", groups)


def row(name: str, measured: dict[str, Measured]) -> list[str]:
    its, ours = measured[name], measured[OURS_MD5 if "md5" in name else OURS]
    speed = 1024 / statistics.median(its.wall)
    figures = [f"{statistics.median(its.cpu):.2f}", f"{speed:.0f}", f"{its.peak:.0f}", f"{its.start.cpu:.2f}"]
    return [name, *figures, *(paired(ours, its, of) for of in (lambda each: each.cpu, lambda each: each.wall))]


def paired(ours: Measured, its: Measured, of: Callable[[Measured], list[float]]) -> str:
    if ours is its:
        return ""
    return f"{statistics.median(our / other for our, other in zip(of(ours), of(its), strict=True)):.2f}"


if __name__ == "__main__":
    main()
