"""A server that refuses parts above ten at once, with 503 or by resetting the connection: how many it has to refuse.

    python -m benchmarks.uploads.refusing [--size-mib 1536] [--most 10] [--proxy]

Each flow has 25 Mbit/s, 80 ms away, so that more connections would pay. Takes about three minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measuring import measure
from benchmarks.reporting import keep, machine, table
from benchmarks.uploads import wan
from benchmarks.uploads.contenders.programs import CONTENDERS, command
from benchmarks.uploads.files import random_file
from benchmarks.uploads.receiver import LOOPBACK, RESETTING, receiving
from benchmarks.uploads.slow import OF_PROXY, OF_WAN, Shape, at_distance

REFUSALS = {"503": 503, "resets": RESETTING}
LEARNING = 30.0  # seconds
FAR = Shape(0.08, 25)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size-mib", type=int, default=1536)
    options.add_argument("--most", type=int, default=10)
    options.add_argument("--proxy", action="store_true")
    given = options.parse_args()
    real = wan.is_possible() and not given.proxy
    with tempfile.TemporaryDirectory() as place:
        path = random_file(Path(place) / "data.bin", given.size_mib << 20)
        rows = [row(Path(place), name, status, path, given.most, real=real) for name, status in REFUSALS.items()]
    head = ["it answers", "MiB/s", "parts refused", f"refused in the first {LEARNING:.0f} s", "after", "of them"]
    keep(
        "uploads-refusing",
        f"# A server that refuses parts above {given.most} at once\n\n{machine()}; {given.size_mib} MiB over TLS, each "
        f"flow with {FAR.mbit:g} Mbit/s, {FAR.rtt * 1000:g} ms away ({OF_WAN if real else OF_PROXY}); connections as "
        f"we choose.\n\n{table(head, rows)}",
    )


def row(place: Path, name: str, status: int, path: Path, most: int, *, real: bool) -> list[str]:
    folder, limit = place / name, f"limit_conn parts {most}; limit_conn_status {status};"
    with ExitStack() as stack:
        addresses = [LOOPBACK, *([stack.enter_context(wan.address())] if real else [])]
        near = stack.enter_context(receiving(folder, tls=True, addresses=addresses, limit=limit))
        receiver, before = stack.enter_context(at_distance(near, FAR, real=real))
        made = command(CONTENDERS["asyncsdk, md5"], path, connections=0)
        run = measure([*before, *made], receiver.environment(place))
        seen = parts_of(folder / "access.log")
    begin = seen[0][0]
    early = [status for at, status in seen if at < begin + LEARNING]
    late = [status for at, status in seen if at >= begin + LEARNING]
    rate = path.stat().st_size / run.wall / (1 << 20)
    return [name, f"{rate:.1f}", share(early + late), share(early), share(late), str(len(late))]


def parts_of(log: Path) -> list[tuple[float, int]]:
    """When each request for a part ended, in unix seconds, and its status."""
    lines = (line.split() for line in log.read_text().splitlines())
    return [(float(at), int(status)) for at, _, target, status, _ in lines if target.endswith("/parts")]


def share(statuses: list[int]) -> str:
    return f"{sum(status != 200 for status in statuses) / max(1, len(statuses)):.1%}"


if __name__ == "__main__":
    main()
