"""A thousand small files through one uploader, against what users write with openai-python, and against the floor.

    python -m benchmarks.uploads.small [--files 1000] [--bytes 100000] [--rounds 5] [--rtt-ms 40] [--proxy]

Over TLS, md5 and journal on; with --rtt-ms the server is that far away, as real ones are: real TCP through `wan.py`
where that is possible, else (or with --proxy) a proxy of our own, `shaped.py`. Five rounds take about three minutes on
loopback, eight at 40 ms, where the loop over `upload_file_chunked` sends every tenth file alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from attrs import evolve, frozen

from benchmarks.measuring import Run, measure, rotated
from benchmarks.reporting import bars, keep, machine, table
from benchmarks.uploads import wan
from benchmarks.uploads.files import random_file
from benchmarks.uploads.receiver import LOOPBACK, receiving
from benchmarks.uploads.slow import OF_PROXY, OF_WAN, Shape, at_distance

AS_IT_CHOOSES = 0  # connections
FAST = 8e9  # bytes a second: the line is late, not narrow
LINE_MBIT = FAST * 8 / 1e6
SPARED = 10  # of how many files the loop sends one where each takes half a second


@frozen
class Sender:
    """A contender; `rival` is what it is measured by: the same number in flight, ours as it comes against 8."""

    program: str
    connections: int = 8
    rival: str = ""
    method: str = ""

    def command(self, folder: Path) -> list[str]:
        method = ["--method", self.method] if self.method else []
        flags = ["--md5", "--connections", str(self.connections), *method]
        return [sys.executable, "-m", f"benchmarks.uploads.contenders.{self.program}", str(folder), *flags]


RIVAL_8, RIVAL_32 = "openai, files.create, 8 at once", "openai, files.create, 32 at once"
LOOP = "openai, loop over upload_file_chunked"
SENDERS = {
    "asyncsdk, upload_many": Sender("ours_many", AS_IT_CHOOSES, RIVAL_8),
    "asyncsdk, upload_many, 8": Sender("ours_many", 8, RIVAL_8),
    "asyncsdk, upload_many, 32": Sender("ours_many", 32, RIVAL_32),
    "asyncsdk, upload_many, Uploads API": Sender("ours_many", AS_IT_CHOOSES, RIVAL_8, "uploads"),
    "asyncsdk, upload_many, Uploads API, 8": Sender("ours_many", 8, RIVAL_8, "uploads"),
    RIVAL_8: Sender("openai_files", 8, RIVAL_8),
    RIVAL_32: Sender("openai_files", 32, RIVAL_32),
    LOOP: Sender("openai_loop", rival=RIVAL_8),
    "aiohttp alone, 8 at once": Sender("bare_files", 8, RIVAL_8),
    "aiohttp alone, 32 at once": Sender("bare_files", 32, RIVAL_32),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--files", type=int, default=1000)
    options.add_argument("--bytes", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--rtt-ms", type=float, default=0)
    options.add_argument("--proxy", action="store_true")
    given = options.parse_args()
    real = bool(given.rtt_ms) and wan.is_possible() and not given.proxy
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        files, tenth = made(folder / "files", given.files, given.bytes), folder / "tenth"
        tenth.mkdir()
        for path in sorted(files.iterdir())[::SPARED]:
            (tenth / path.name).hardlink_to(path)
        addresses = [LOOPBACK, *([stack.enter_context(wan.address())] if real else [])]
        receiver = stack.enter_context(receiving(folder / "receiver", tls=True, addresses=addresses))
        before: list[str] = []
        if given.rtt_ms:
            shape = Shape(given.rtt_ms / 1000, LINE_MBIT)
            receiver, before = stack.enter_context(at_distance(receiver, shape, real=real))

        def run(name: str) -> Run:
            spared = given.rtt_ms and name == LOOP
            with tempfile.TemporaryDirectory(dir=folder) as own:  # with a journal that knows none of them yet
                command = SENDERS[name].command(tenth if spared else files)
                used = measure([*before, *command], receiver.environment(Path(own)))
            count = given.files / SPARED if spared else given.files
            return evolve(used, wall=used.wall / count, cpu=used.cpu / count)

        runs = in_turn(run, given.rounds)
    report(runs, given, OF_WAN if real else OF_PROXY)


def made(folder: Path, count: int, size: int) -> Path:
    folder.mkdir()
    for number in range(count):
        random_file(folder / f"{number:06}.bin", size)
    return folder


def in_turn(run: Callable[[str], Run], rounds: int) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {name: [] for name in SENDERS}
    for turn in range(rounds):
        for name, _ in rotated(dict.fromkeys(SENDERS, ""), turn):
            runs[name].append(run(name))
            print(f"{name}: {1 / runs[name][-1].wall:.0f} files/s", file=sys.stderr, flush=True)
    return runs


def report(runs: dict[str, list[Run]], given: argparse.Namespace, line: str) -> None:
    where = f"{given.rtt_ms:g} ms away ({line})" if given.rtt_ms else "on loopback"
    title = f"{given.files:,} files of {given.bytes:,} bytes over TLS, the server {where}"
    middle = {name: statistics.median(1 / run.wall for run in own) for name, own in runs.items()}
    rows = [row(name, runs) for name in runs]
    head = [
        "",
        "files/s",
        "CPU ms a file",
        "peak MiB",
        "rate to files.create",
        "CPU to files.create",
        "rate to the loop",
    ]
    name = "uploads-small" + (f"-{given.rtt_ms:g}-ms" if given.rtt_ms else "")
    keep(
        name,
        f"# {title}, one process\n\n{machine()}; medians of {given.rounds} rounds, the start of the process in them. "
        "Ratios are of runs in the same round, to `files.create` with the same number in flight, and with 8 where we "
        f"choose the number.\n\n{table(head, rows)}",
    )
    bars(name, title, "files a second", {"median": middle})


def row(name: str, runs: dict[str, list[Run]]) -> list[str]:
    own, rival, loop = runs[name], runs[SENDERS[name].rival], runs[LOOP]
    return [
        name,
        f"{statistics.median(1 / run.wall for run in own):.0f}",
        f"{statistics.median(run.cpu for run in own) * 1000:.1f}",
        f"{max(run.peak for run in own):.0f}",
        paired(rival, own, lambda run: run.wall),
        paired(own, rival, lambda run: run.cpu),
        paired(loop, own, lambda run: run.wall),
    ]


def paired(one: list[Run], other: list[Run], of: Callable[[Run], float]) -> str:
    return f"{statistics.median(of(a) / of(b) for a, b in zip(one, other, strict=True)):.2f}"


if __name__ == "__main__":
    main()
