"""A hundred thousand tiny files through one uploader: memory and rate from first to last, the journal, a second run.

    python -m benchmarks.uploads.course [--files 100000] [--bytes 1000] [--method uploads]

Plain HTTP to `keeper.py`, which keeps names and lists them, on the same cores. It takes about six minutes; --files 5000
for a quick look.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measuring import Run, measure
from benchmarks.reporting import keep, lines, machine, table
from benchmarks.uploads.keeper import keeping
from benchmarks.uploads.receiver import Receiver
from benchmarks.uploads.small import made

Course = list[dict[str, Any]]
Ended = tuple[Run, Course]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--files", type=int, default=100_000)
    options.add_argument("--bytes", type=int, default=1000)
    options.add_argument("--method", default="", help="asyncsdk's own choice where none is given")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as place, keeping() as url:
        folder, journal = Path(place), Path(place) / "journal"
        files, told = made(folder / "files", given.files, given.bytes), folder / "course"
        environment = Receiver("keeper", url).environment(folder)
        command = [sys.executable, "-m", "benchmarks.uploads.contenders.ours_course", str(files), str(given.files)]
        command += [str(told), *([given.method] if given.method else [])]
        first = (measure(command, environment), course_of(told))
        journals = [path.stat() for path in journal.rglob("*") if path.is_file()]
        second = (measure(command, environment), course_of(told))
    report(given, first, second, (len(journals), sum(each.st_size for each in journals)))


def course_of(told: Path) -> Course:
    return [json.loads(line) for line in told.read_text().splitlines()]


def report(given: argparse.Namespace, first: Ended, second: Ended, kept: tuple[int, int]) -> None:
    (run, course), (again, repeated) = first, second
    marks, name = course[:-1], "uploads-course" + (f"-{given.method}" if given.method else "")
    rates = rates_of(marks)
    rows = [
        [f"{mark['done']:,}", f"{rate:.0f}", f"{mark['cpu'] * 1000 / mark['done']:.2f}", f"{mark['mib']:.1f}"]
        for mark, rate in zip(marks, rates, strict=True)
    ]
    head = ["files", "a second since the line before", "CPU ms a file so far", "MiB"]
    title = f"{given.files:,} files of {given.bytes:,} bytes, one process"
    keep(
        name,
        f"# {title}\n\n{machine()}; received by a stub on the same cores, over plain HTTP.\n\n"
        f"{table(head, rows)}\n\n"
        f"{run.wall:.0f} s, peak {run.peak:.1f} MiB. Rate of the last tenth to that of the first: "
        f"{tenth(marks, last=True) / tenth(marks, last=False):.2f}. "
        f"The journal: {kept[1] / given.files:.0f} bytes a file in {kept[0]} files.\n\n"
        f"The same again: {again.wall:.1f} s, {again.cpu:.1f} s of CPU, peak {again.peak:.1f} MiB, "
        f"{repeated[-1]['reused']:,} of them reused.",
    )
    lines(name, title, "files", "MiB", {"resident memory": [(mark["done"], mark["mib"]) for mark in marks]})


def rates_of(marks: Course) -> list[float]:
    before = [{"done": 0, "seconds": 0.0}, *marks]
    return [
        (mark["done"] - last["done"]) / (mark["seconds"] - last["seconds"])
        for last, mark in zip(before, marks, strict=False)
    ]


def tenth(marks: Course, *, last: bool) -> float:
    """Files a second in the last or the first tenth, that is in two marks."""
    two = rates_of(marks)[-2:] if last else rates_of(marks)[:2]
    return 2 / sum(1 / rate for rate in two)


if __name__ == "__main__":
    main()
