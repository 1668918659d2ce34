"""Uploads over slow lines: the number of connections that we choose beside fixed ones, and peers.

python -m benchmarks.uploads.line [--size-mib 512] [--rounds 5] [--line NAME ...] [--parts] [--proxy]

Real TCP through `wan.py` where that is possible, else (or with --proxy) a proxy of our own, `shaped.py`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import evolve, field, frozen

from benchmarks.measuring import measure, rotated
from benchmarks.reporting import keep, machine, table
from benchmarks.uploads import wan
from benchmarks.uploads.contenders.programs import CONTENDERS, Contender, command
from benchmarks.uploads.files import cut, random_file
from benchmarks.uploads.receiver import LOOPBACK, Receiver, port_of, receiving
from benchmarks.uploads.shaped import shaped

USUAL = "asyncsdk, md5: as it chooses"
CHOSEN = 0  # connections
FIXED = (4, 8, 16, 32)
OF_WAN = "real TCP between two network namespaces"
OF_PROXY = "a proxy of our own, without slow start and loss"


@frozen
class Shape:
    """`rtt` in seconds, `mbit` a second of each flow, or of all; `loss` a share of the packets."""

    rtt: float
    mbit: float
    loss: float = 0.0
    shared: bool = False

    @property
    def rate(self) -> float:
        return self.mbit * 1e6 / 8


LINES = {
    "25 Mbit/s a flow, 80 ms": Shape(0.08, 25),
    "50 Mbit/s a flow, 150 ms": Shape(0.15, 50),
    "100 Mbit/s a flow, 40 ms": Shape(0.04, 100),
    "200 Mbit/s shared, 40 ms": Shape(0.04, 200, shared=True),
    "200 Mbit/s a flow, 40 ms, 1 % loss": Shape(0.04, 200, loss=0.01),
}


@frozen
class Setting:
    contender: Contender = CONTENDERS["asyncsdk, md5"]
    flags: list[str] = field(factory=list)
    connections: int = CHOSEN


SETTINGS = {
    USUAL: Setting(),
    **{f"asyncsdk, md5: {count} connections": Setting(connections=count) for count in FIXED},
}
PARTS = {f"asyncsdk, md5: parts of {mib} MiB": Setting(flags=["--part-size", str(mib << 20)]) for mib in (2, 8, 32, 64)}
ONCE = {
    "curl --parallel, md5: 8 connections": Setting(CONTENDERS["curl --parallel, md5"], connections=8),
    "openai gather 8 x 16 MiB, md5": Setting(CONTENDERS["openai gather 8 x 16 MiB, md5"], connections=8),
}


@frozen
class Bench:
    """`near` is the receiver without a line; `small` is a file whose upload is nearly the start of a process alone."""

    near: Receiver
    path: Path
    small: Path
    rounds: int
    more: dict[str, Setting]
    real: bool

    def on(self, name: str, shape: Shape) -> str:
        """The table of a line."""
        speeds: dict[str, list[float]] = {}
        with self.far(shape) as (receiver, before):
            for turn in range(self.rounds):
                settings = SETTINGS | self.more | ({} if turn else ONCE)
                for which, _ in rotated(dict.fromkeys(settings, ""), turn):
                    took = self.seconds(receiver, settings[which], self.path, before)
                    took -= self.seconds(self.near, settings[which], self.small, [])
                    speeds.setdefault(which, []).append(self.path.stat().st_size / took / (1 << 20))
        middle = {which: statistics.median(own) for which, own in speeds.items()}
        best = max(middle[f"asyncsdk, md5: {count} connections"] for count in FIXED)
        rows = [
            [which, f"{middle[which]:.1f}", f"{min(own):.1f} to {max(own):.1f}", f"{middle[which] / best:.2f}"]
            for which, own in speeds.items()
        ]
        return f"## {name}\n\n{table(['', 'MiB/s', 'from, to', 'of the best fixed'], rows)}"

    @contextmanager
    def far(self, shape: Shape) -> Iterator[tuple[Receiver, list[str]]]:
        """The receiver at the other end of a line, and what comes before a command that uses it."""
        with ExitStack() as stack:
            if self.real:
                line = wan.wan(rtt=shape.rtt, rate=shape.rate, loss=shape.loss, shared=shape.shared)
                stack.enter_context(line)
                yield evolve(self.near, url=self.near.url.replace(LOOPBACK, wan.SERVER)), wan.INSIDE
            else:
                near = port_of(self.near)
                port = stack.enter_context(shaped(near, rtt=shape.rtt, rate=shape.rate, shared=shape.shared))
                yield evolve(self.near, url=self.near.url.replace(str(near), str(port))), []

    def seconds(self, receiver: Receiver, setting: Setting, path: Path, before: list[str]) -> float:
        made = command(setting.contender, path, *setting.flags, connections=setting.connections)
        return measure([*before, *made], receiver.environment(path.parent)).wall


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size-mib", type=int, default=512)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--line", nargs="*", default=list(LINES), choices=list(LINES))
    options.add_argument("--parts", action="store_true", help="also with fixed sizes of parts")
    options.add_argument("--proxy", action="store_true")
    given = options.parse_args()
    real, tables = wan.is_possible() and not given.proxy, []
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        addresses = [LOOPBACK, *([stack.enter_context(wan.address())] if real else [])]
        near = stack.enter_context(receiving(Path(place) / "receiver", tls=True, addresses=addresses))
        path = cut(random_file(Path(place) / "data.jsonl", given.size_mib << 20))
        small = cut(random_file(Path(place) / "small.jsonl", 1000))
        bench = Bench(near, path, small, given.rounds, PARTS if given.parts else {}, real)
        for name in given.line:
            if real or not LINES[name].loss:
                tables.append(bench.on(name, LINES[name]))
                print(tables[-1], flush=True)  # it takes long, and may be cut off
    keep(
        "uploads-line",
        f"# Uploads over slow lines: {given.size_mib} MiB over TLS\n\n{machine()}; the lines are "
        f"{OF_WAN if real else OF_PROXY}. Medians of {given.rounds} rounds, the start of the process taken off; peers "
        "ran once.\n\n" + "\n\n".join(tables),
    )


if __name__ == "__main__":
    main()
