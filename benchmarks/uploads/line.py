"""Uploads over a slow line: 40 ms round trip, 100 Mbit/s for each connection; peers, and fixed settings of ours.

python -m benchmarks.uploads.line [--size-mib 512] [--rounds 3] [--rtt-ms 40] [--mbit 100]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from attrs import evolve

from benchmarks.measuring import measure
from benchmarks.reporting import keep, machine, table
from benchmarks.uploads.contenders.programs import CONTENDERS, Contender, command
from benchmarks.uploads.files import cut, random_file
from benchmarks.uploads.receiver import Receiver, port_of, receiving
from benchmarks.uploads.shaped import shaped

FLOWS = 8
OURS = CONTENDERS["asyncsdk, md5"]
USUAL = "asyncsdk, md5: parts as it chooses"
SETTINGS: dict[str, tuple[Contender, list[str]]] = {
    USUAL: (OURS, []),
    **{f"asyncsdk, md5: parts of {mib} MiB": (OURS, ["--part-size", str(mib << 20)]) for mib in (2, 8, 16, 32, 64)},
    "curl --parallel, md5": (CONTENDERS["curl --parallel, md5"], []),
    "openai gather 8 x 16 MiB, md5": (CONTENDERS["openai gather 8 x 16 MiB, md5"], []),
}
ONCE = {"openai upload_file_chunked, md5": (CONTENDERS["openai upload_file_chunked, md5"], list[str]())}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size-mib", type=int, default=512)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--rtt-ms", type=float, default=40)
    options.add_argument("--mbit", type=float, default=100)
    given = options.parse_args()
    rate = given.mbit * 1e6 / 8
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = cut(random_file(folder / "data.jsonl", given.size_mib << 20))
        small = cut(random_file(folder / "small.jsonl", 1000))
        with (
            receiving(folder / "receiver", tls=True) as near,
            shaped(port_of(near), rtt=given.rtt_ms / 1000, rate=rate) as port,
        ):
            far = evolve(near, url=near.url.replace(str(port_of(near)), str(port)))
            speeds: dict[str, list[float]] = {}
            for turn in range(given.rounds):
                for name, setting in (SETTINGS | ({} if turn else ONCE)).items():
                    start = seconds(near, folder, setting, small)
                    took = seconds(far, folder, setting, path) - start
                    speeds.setdefault(name, []).append(path.stat().st_size / took)
    report(speeds, given, rate)


def seconds(receiver: Receiver, folder: Path, setting: tuple[Contender, list[str]], path: Path) -> float:
    contender, flags = setting
    return measure(command(contender, path, *flags, connections=FLOWS), receiver.environment(folder)).wall


def report(speeds: dict[str, list[float]], given: argparse.Namespace, rate: float) -> None:
    middle = {name: statistics.median(own) for name, own in speeds.items()}
    rows = [
        [name, f"{speed / (1 << 20):.1f}", f"{speed / rate / FLOWS:.2f}", f"{middle[USUAL] / speed:.2f}"]
        for name, speed in middle.items()
    ]
    keep(
        "uploads-line",
        f"# Uploads over a slow line: {given.size_mib} MiB, {given.rtt_ms:g} ms round trip, {FLOWS} flows of "
        f"{given.mbit:g} Mbit/s, TLS\n\n{machine()}; the line is a proxy of our own (no slow start, no loss). Medians "
        f"of {given.rounds} rounds, the start of the process taken off; upload_file_chunked, with its one flow, once."
        f"\n\n" + table(["", "MiB/s", f"share of {FLOWS} flows", "our speed / its"], rows),
    )


if __name__ == "__main__":
    main()
