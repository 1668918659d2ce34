"""Uploads over slow lines, and loopback: the number of connections that we choose beside fixed ones.

    python -m benchmarks.uploads.line [--line NAME ...] [--size-mib N] [--rounds 5] [--peers] [--parts] [--proxy]

Real TCP through `wan.py` where that is possible, else (or with --proxy) a proxy of our own, `shaped.py`. `SIZES` says
how much goes over each line. Where each flow has its own rate, a fixed number that has less than 0.6 of the best one's
rate in the first round is left out of the others, but for the 8 of the first line. All lines take about 30 minutes, in
their order 9, 4, 4, 5, 5, 3 and 1; each prints what it took.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import field, frozen

from benchmarks.measuring import measure, rotated
from benchmarks.reporting import bars, keep, machine, table
from benchmarks.uploads import wan
from benchmarks.uploads.contenders.programs import CONTENDERS, Contender, command
from benchmarks.uploads.files import cut, random_file
from benchmarks.uploads.receiver import LOOPBACK, Receiver, receiving
from benchmarks.uploads.slow import OF_PROXY, OF_WAN, Shape, at_distance

MIB = 1 << 20
CHOSEN = 0  # connections
FIXED = (4, 8, 16, 32)
HOPELESS = 0.6
SETTLED = (0.5, 0.95)  # of the bytes: later some connections have nothing left to send
SHORTEST = 0.5  # seconds
LONGER = 4  # times: what the table computes for larger files

LINES: dict[str, Shape | None] = {
    "25 Mbit/s a flow, 80 ms": Shape(0.08, 25),
    "50 Mbit/s a flow, 150 ms": Shape(0.15, 50),
    "100 Mbit/s a flow, 40 ms": Shape(0.04, 100),
    "200 Mbit/s shared, 40 ms": Shape(0.04, 200, of="all"),
    "200 Mbit/s shared, 40 ms, bursts of others": Shape(0.04, 200, of="bursts"),
    "200 Mbit/s a flow, 40 ms, 1 % loss": Shape(0.04, 200, loss=0.01),
    "loopback": None,
}
SIZES = {  # MiB; else 1024
    "200 Mbit/s shared, 40 ms": 256,
    "200 Mbit/s shared, 40 ms, bursts of others": 256,
    "200 Mbit/s a flow, 40 ms, 1 % loss": 512,
}
ALWAYS = {"25 Mbit/s a flow, 80 ms": 8}  # to compare with, however slow: what was the default


@frozen
class Setting:
    contender: Contender = CONTENDERS["asyncsdk, md5"]
    flags: list[str] = field(factory=list)
    connections: int = CHOSEN

    @property
    def is_ours(self) -> bool:
        return self.contender.program == "ours"


Course = list[tuple[float, int, int]]  # seconds, bytes, connections
USUAL = "asyncsdk: as it chooses"
OURS = {count: f"asyncsdk: {count} connections" for count in FIXED}
SETTINGS = {USUAL: Setting(), **{name: Setting(connections=count) for count, name in OURS.items()}}
PARTS = {f"asyncsdk: parts of {mib} MiB": Setting(flags=["--part-size", str(mib << 20)]) for mib in (2, 8, 32, 64)}
PEERS = {
    "curl --parallel: 8 connections": Setting(CONTENDERS["curl --parallel, md5"], connections=8),
    "openai gather 8 x 16 MiB": Setting(CONTENDERS["openai gather 8 x 16 MiB, md5"], connections=8),
}


@frozen
class Upload:
    """MiB a second of the whole, without the start of the process if it is ours, and once settled.

    `connections` are those at the end.
    """

    whole: float
    settled: float
    connections: int
    seconds: float
    cpu: float
    peak: float


@frozen
class Table:
    line: str
    text: str
    bars: dict[str, dict[str, float]]


@frozen
class Bench:
    """`near` is the receiver without a line."""

    near: Receiver
    folder: Path
    rounds: int
    more: dict[str, Setting]
    once: dict[str, Setting]
    real: bool

    def on(self, name: str, shape: Shape | None, path: Path) -> Table:
        """What was seen on a line."""
        began, seen = time.monotonic(), dict[str, list[Upload]]()
        with self.far(shape) as (receiver, before):
            for turn in range(self.rounds):
                settings = SETTINGS | self.more | ({} if turn else self.once)
                for which, _ in rotated(dict.fromkeys(settings, ""), turn):
                    each = shape is not None and shape.of == "each"
                    if turn and each and which != OURS.get(ALWAYS.get(name, 0)) and is_hopeless(which, seen):
                        continue
                    seen.setdefault(which, []).append(self.one(receiver, settings[which], path, before))
                    print(f"{name}: {which}: {seen[which][-1].whole:.1f} MiB/s", flush=True)
        best = best_of(seen)
        minutes = (time.monotonic() - began) / 60
        told = f"{path.stat().st_size >> 20} MiB, {minutes:.0f} minutes; the best fixed number was {best}."
        text = f"## {name}\n\n{told}\n\n{table(HEAD, [row(which, seen, best) for which in seen])}"
        return Table(name, text, bars_of(seen))

    @contextmanager
    def far(self, shape: Shape | None) -> Iterator[tuple[Receiver, list[str]]]:
        with ExitStack() as stack:
            near: tuple[Receiver, list[str]] = (self.near, [])
            yield near if shape is None else stack.enter_context(at_distance(self.near, shape, real=self.real))

    def one(self, receiver: Receiver, setting: Setting, path: Path, before: list[str]) -> Upload:
        course = self.folder / "course"
        told = ["--course-to", str(course)] if setting.is_ours else []
        made = command(setting.contender, path, *setting.flags, *told, connections=setting.connections)
        run = measure([*before, *made], receiver.environment(self.folder))
        seen: Course = json.loads(course.read_text()) if setting.is_ours else [(0, 0, 0), (run.wall, 0, 0)]
        size, took = path.stat().st_size / MIB, seen[-1][0] - seen[0][0]
        settled = settled_rate(seen) / MIB if setting.is_ours else size / took
        return Upload(size / took, settled, seen[-1][2], took, run.cpu, run.peak)


def settled_rate(course: Course) -> float:
    """Bytes a second in the middle of the run, when the number of connections has been learned; else in all of it."""
    size = course[-1][1]
    first = next(seen for seen in course if seen[1] >= SETTLED[0] * size)
    last = next(seen for seen in course if seen[1] >= SETTLED[1] * size)
    if last[0] - first[0] < SHORTEST:
        first, last = course[0], course[-1]
    return (last[1] - first[1]) / (last[0] - first[0])


def is_hopeless(which: str, seen: dict[str, list[Upload]]) -> bool:
    best = max(seen[name][0].whole for name in OURS.values())
    return which in OURS.values() and seen[which][0].whole < HOPELESS * best


def best_of(seen: dict[str, list[Upload]]) -> int:
    """The fixed number with the best median, of those that ran in all rounds."""
    rounds = len(seen[USUAL])
    whole = {count: medians(seen[name], "whole") for count, name in OURS.items() if len(seen[name]) == rounds}
    return max(whole, key=lambda count: whole[count])


HEAD = [
    "",
    "MiB/s",
    "from, to",
    "settled",
    "whole / best",
    "settled / best",
    f"{LONGER} times the size",
    "CPU s",
    "MiB",
]


HOW = (
    "the lines are {line}. Medians of {rounds} rounds, without the start of the process where it is ours; ratios are "
    "of runs in the same round, to the best fixed number. "
    f"*Settled* is the rate while the bytes from {SETTLED[0]:.0%} to {SETTLED[1]:.0%} went. "
    f"In brackets: connections at the end. *{LONGER} times the size* is computed: what whole / best would be for such "
    "a file at the settled rates. Where each flow has its own rate, a fixed number with less than "
    f"{HOPELESS} of the best one's rate in the first round was left out of the others."
)


def row(which: str, seen: dict[str, list[Upload]], best: int) -> list[str]:
    own, its = seen[which], seen[OURS[best]]
    rates = [upload.whole for upload in own]
    connections = f" ({', '.join(str(upload.connections) for upload in own)})" if which == USUAL else ""
    return [
        which + connections,
        f"{medians(own, 'whole'):.1f}",
        f"{min(rates):.1f} to {max(rates):.1f}",
        f"{medians(own, 'settled'):.1f}",
        paired(own, its, "whole"),
        paired(own, its, "settled"),
        longer(own, its),
        f"{medians(own, 'cpu'):.1f}",
        f"{max(upload.peak for upload in own):.0f}",
    ]


def medians(uploads: list[Upload], what: str) -> float:
    middle: float = statistics.median(getattr(upload, what) for upload in uploads)
    return middle


def paired(own: list[Upload], its: list[Upload], what: str) -> str:
    """The median ratio, round by round."""
    ratios = [getattr(a, what) / getattr(b, what) for a, b in zip(own, its, strict=False)]
    return f"{statistics.median(ratios):.2f}"


def longer(own: list[Upload], its: list[Upload]) -> str:
    """The ratio of whole rates where more goes at the settled rates; computed, not measured."""

    def took(upload: Upload) -> float:
        return upload.seconds + (LONGER - 1) * upload.seconds * upload.whole / upload.settled

    return f"{statistics.median(took(b) / took(a) for a, b in zip(own, its, strict=False)):.2f}"


def bars_of(seen: dict[str, list[Upload]]) -> dict[str, dict[str, float]]:
    return {what: {which: medians(own, what) for which, own in seen.items()} for what in ("whole", "settled")}


def plot_of(name: str) -> str:
    words = "".join(character if character.isalnum() else " " for character in name.lower()).split()
    return "-".join(["uploads-line", *words])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size-mib", type=int, help="the same for all lines")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--line", nargs="*", default=list(LINES), choices=list(LINES))
    options.add_argument("--peers", action="store_true", help="also curl and openai-python, once")
    options.add_argument("--parts", action="store_true", help="also with fixed sizes of parts")
    options.add_argument("--proxy", action="store_true")
    given = options.parse_args()
    real, tables, paths = wan.is_possible() and not given.proxy, list[Table](), dict[int, Path]()
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        addresses = [LOOPBACK, *([stack.enter_context(wan.address())] if real else [])]
        near = stack.enter_context(receiving(folder / "receiver", tls=True, addresses=addresses))
        more, once = PARTS if given.parts else {}, PEERS if given.peers else {}
        bench = Bench(near, folder, given.rounds, more, once, real)
        for name in given.line:
            shape, size = LINES[name], given.size_mib or SIZES.get(name, 1024)
            if real or shape is None or not shape.needs_wan:
                path = paths.setdefault(size, folder / f"{size}.bin")
                if not path.exists():
                    cut(random_file(path, size << 20))
                tables.append(bench.on(name, shape, path))
                print(tables[-1].text, flush=True)  # it takes long, and may be cut off
    name = "uploads-line" if set(given.line) == set(LINES) else plot_of(given.line[0])
    how = HOW.format(rounds=given.rounds, line=OF_WAN if real else OF_PROXY)
    texts = "\n\n".join(each.text for each in tables)
    keep(name, f"# Uploads over slow lines, TLS, md5\n\n{machine()}; {how}\n\n{texts}")
    for each in tables:  # last: what this process has grown to then would be counted to the contenders
        bars(plot_of(each.line), f"Over {each.line}", "MiB/s", each.bars)


if __name__ == "__main__":
    main()
