"""Proves, from what the server did, the table and the pictures, that nothing was paid twice and nothing paid is lost.

It shares no code with the product: the table is read by psql, and a picture's end is looked at byte by byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

TABLE = """
select json_build_object('id', id, 'status', status, 'phase', phase, 'files', files, 'epoch', epoch, 'late', late)
from asyncsdk.edit order by key
"""
COUNTED = "select coalesce(sum(edits), 0) from asyncsdk.ledger_worker"
MINUTE = 60.0
MOST_ABOVE = 0.03  # of the limit
LEAST_OF_IT = 0.97  # where nothing fails
END_OF_PNG = b"IEND\xaeB`\x82"


def violations(
    made: Mapping[str, int],
    sql: Callable[[str], str],
    out: Path,
    *,
    ids: set[str],
    released: int = 0,
    asked_again: bool = False,
) -> list[str]:
    """What must not be, once all processes have ended. `made` is how often the server made each edit, by its id.

    `released` is how many a person let be sent again. `asked_again`: the server knows each edit by its key. One that
    was killed between its picture and the ledger then leaves that, and whoever asks again has the same one beside it.
    """
    rows = {row["id"]: row for row in map(json.loads, sql(TABLE).splitlines())}
    found = [f"{each} is not in the table" for each in sorted(ids - rows.keys())]
    twice = {name: number for name, number in made.items() if number > 1}
    if sum(number - 1 for number in twice.values()) > released:
        found.append(f"made more than once: {dict(sorted(twice.items())[:5])}")
    for name, row in rows.items():
        found += _of_row(name, row, made.get(name, 0), out)
    there = {path.relative_to(out).as_posix() for path in out.rglob("*.png") if ".asyncsdk" not in path.parts}
    recorded = {file for row in rows.values() for file in _files(row)}
    strays = there - recorded - {f"{name}.png" for name, row in rows.items() if row["status"] == "uncertain"}
    if asked_again:
        strays -= {f"{name}.png" for name, row in rows.items() if _is_twin(out / f"{name}.png", row, out)}
    found += [f"pictures that no row has: {sorted(strays)[:5]}"] if strays else []
    paid = sum(row["status"] in {"done", "uncertain"} for row in rows.values())
    counted = int(sql(COUNTED))
    if counted != paid + released:
        found.append(f"{counted} edits are counted, {paid} are or may be paid, {released} were released")
    return found


Arrivals = Sequence[tuple[float, int]]  # when the server got how many pictures times n, in order


def rate_violations(arrivals: Arrivals, limit: float, *, largest: int = 1) -> list[str]:
    """The minute in which most came, if that is above the limit, 3 % of it and one item of the `largest` size."""
    most, begin = busiest_minute(arrivals)
    allowed = limit * (1 + MOST_ABOVE) + largest
    return [f"{most} came within the minute from {begin:.2f} s on, {allowed:g} are allowed"] if most > allowed else []


def busiest_minute(arrivals: Arrivals) -> tuple[int, float]:
    """The most that came in any 60 s, and when these began."""
    most, begin, count, oldest = 0, 0.0, 0, 0
    for at, pictures in arrivals:
        count += pictures
        while arrivals[oldest][0] <= at - MINUTE:
            count -= arrivals[oldest][1]
            oldest += 1
        if count > most:
            most, begin = count, arrivals[oldest][0]
    return most, begin


def slowest_minute(arrivals: Arrivals, *, quiet: Sequence[tuple[float, float]]) -> int | None:
    """The fewest that came in any 60 s within the spans in which nothing failed; None where none is that long."""
    counts = list[int]()
    for begin, end in quiet:
        start = begin
        while start + MINUTE <= end:
            counts.append(sum(pictures for at, pictures in arrivals if start < at <= start + MINUTE))
            start += 1.0
    return min(counts, default=None)


def _of_row(name: str, row: Mapping[str, Any], made: int, out: Path) -> list[str]:
    status, found = row["status"], []
    if row["phase"] is not None:
        found.append(f"{name} is {row['phase']}, and nobody works at it")
    if status == "done":
        files = _files(row)
        whole = [file for file in files if _is_whole(out / file)]
        if not files or whole != files:
            found.append(f"{name} is done, and of its pictures {files} these are whole: {whole}")
        if made < 1:
            found.append(f"{name} is done, and the server never made it")
    elif status == "uncertain" and made > 1:
        found.append(f"{name} is uncertain, and was made {made} times")
    elif status in {None, "failed", "refused"} and made > 0:
        found.append(f"{name} is {status}, and was made {made} times")
    return found


def _files(row: Mapping[str, Any]) -> list[str]:
    late = [file for each in row["late"] or () for file in each.get("files") or ()]
    return [*dict.fromkeys([*(row["files"] or ()), *late])]


def _is_twin(path: Path, row: Mapping[str, Any], out: Path) -> bool:
    """Whether a picture is, byte by byte, the one that the row has, of an edit that was claimed more than once."""
    if row["status"] != "done" or row["epoch"] < 2 or not path.is_file():
        return False
    return any((out / file).is_file() and (out / file).read_bytes() == path.read_bytes() for file in _files(row))


def _is_whole(path: Path) -> bool:
    return path.is_file() and path.read_bytes().endswith(END_OF_PNG)
