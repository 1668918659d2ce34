"""Uploads over slow lines, 40 ms away: one that limits each connection, one that all share; peers and fixed settings.

python -m benchmarks.uploads.line [--size-mib 512] [--rounds 5] [--rtt-ms 40] [--mbit 100]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from attrs import evolve, field, frozen

from benchmarks.measuring import measure
from benchmarks.reporting import keep, machine, table
from benchmarks.uploads.contenders.programs import CONTENDERS, Contender, command
from benchmarks.uploads.files import cut, random_file
from benchmarks.uploads.receiver import Receiver, port_of, receiving
from benchmarks.uploads.shaped import shaped

FLOWS = 8
USUAL = "asyncsdk, md5: as it chooses"


@frozen
class Setting:
    contender: Contender = CONTENDERS["asyncsdk, md5"]
    flags: list[str] = field(factory=list)
    connections: int = FLOWS


def parts_of(mib: int) -> Setting:
    return Setting(flags=["--part-size", str(mib << 20)])


SETTINGS = {
    USUAL: Setting(),
    **{f"asyncsdk, md5: parts of {mib} MiB": parts_of(mib) for mib in (2, 8, 16, 32, 64)},
    **{f"asyncsdk, md5: {count} connections": Setting(connections=count) for count in (4, 16)},
    "curl --parallel, md5": Setting(CONTENDERS["curl --parallel, md5"]),
    "openai gather 8 x 16 MiB, md5": Setting(CONTENDERS["openai gather 8 x 16 MiB, md5"]),
}
ONCE = {
    **{f"asyncsdk, md5: {count} connections": Setting(connections=count) for count in (1, 2)},
    "openai upload_file_chunked, md5": Setting(CONTENDERS["openai upload_file_chunked, md5"]),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size-mib", type=int, default=512)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--rtt-ms", type=float, default=40)
    options.add_argument("--mbit", type=float, default=100)
    given = options.parse_args()
    told = []
    with tempfile.TemporaryDirectory() as place, receiving(Path(place) / "receiver", tls=True) as near:
        path = cut(random_file(Path(place) / "data.jsonl", given.size_mib << 20))
        small = cut(random_file(Path(place) / "small.jsonl", 1000))
        for shared in (False, True):
            told.append(on_line(near, (path, small), given, shared=shared))
            print(told[-1], flush=True)  # it takes long, and may be cut off
    keep(
        "uploads-line",
        f"# Uploads over slow lines: {given.size_mib} MiB, {given.rtt_ms:g} ms round trip, TLS\n\n{machine()}; the "
        f"lines are a proxy of our own (no slow start, no loss). Medians of {given.rounds} rounds, the start of the "
        "process taken off; what has one or two flows ran once.\n\n" + "\n\n".join(told),
    )


def on_line(near: Receiver, files: tuple[Path, Path], given: argparse.Namespace, *, shared: bool) -> str:
    flow = given.mbit * 1e6 / 8
    rate = flow * FLOWS if shared else flow
    path, small = files
    speeds: dict[str, list[float]] = {}
    with shaped(port_of(near), rtt=given.rtt_ms / 1000, rate=rate, shared=shared) as port:
        far = evolve(near, url=near.url.replace(str(port_of(near)), str(port)))
        for turn in range(given.rounds):
            for name, setting in (SETTINGS | ({} if turn else ONCE)).items():
                took = seconds(far, setting, path) - seconds(near, setting, small)
                speeds.setdefault(name, []).append(path.stat().st_size / took)
    line = "All connections share" if shared else f"Each connection has {given.mbit:g} Mbit/s, {FLOWS} have"
    middle = {name: statistics.median(own) for name, own in speeds.items()}
    rows = [
        [name, f"{speed / (1 << 20):.1f}", f"{speed / flow / FLOWS:.2f}", f"{middle[USUAL] / speed:.2f}"]
        for name, speed in middle.items()
    ]
    head = ["", "MiB/s", "share of the line", "our speed / its"]
    return f"## {line} {given.mbit * FLOWS:g} Mbit/s\n\n{table(head, rows)}"


def seconds(receiver: Receiver, setting: Setting, path: Path) -> float:
    made = command(setting.contender, path, *setting.flags, connections=setting.connections)
    return measure(made, receiver.environment(path.parent)).wall


if __name__ == "__main__":
    main()
