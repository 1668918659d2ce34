"""`failed.jsonl`: the edits that did not go well, each with its problem, as a job file that sends them again."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict

from asyncsdk import files
from asyncsdk.cli.edits.jobs import row_of
from asyncsdk.images.outcome import EditOutcome

NAME = "failed.jsonl"


def left_of(outcome: EditOutcome) -> dict[str, Any]:
    """The job line of an edit that did not go well."""
    problem = None if outcome.problem is None else asdict(outcome.problem)
    return {**row_of(outcome.edit, outcome.id), "status": outcome.status, "error": problem}


def still_left(text: str, told: Collection[str]) -> list[str]:
    """The lines of an earlier file that the run did not come to: it told of other ids."""
    return [line for line in text.splitlines() if line.strip() and _id_of(line) not in told]


def ids_left(out: Path) -> frozenset[str]:
    """Whom an earlier file tells of. Blocking; a file that can't be read is told of when it is to be replaced."""
    try:
        lines = (out / NAME).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return frozenset()
    return frozenset(name for line in lines if isinstance(name := _id_of(line), str))


async def save_left(
    out: Path,
    left: Sequence[dict[str, Any]],
    *,
    told: Collection[str],
    is_whole: bool,
    again: files.Again | None = None,
) -> Path | None:
    """Write what is left in `out`, and return where; None if nothing is. Raises OSError, also where `out` is gone.

    A run that is not whole did not come to every edit: what an earlier one left of the others stays. `again` says
    whether to try once more after a failure.
    """
    path = out / NAME
    earlier = [] if is_whole or not path.exists() else still_left(path.read_text(encoding="utf-8"), told)
    lines = [*earlier, *(json.dumps(row) for row in left)]
    if not lines:
        path.unlink(missing_ok=True)
        return None
    await files.save(path, "".join(f"{line}\n" for line in lines).encode(), below=out, again=again)
    return path


def _id_of(line: str) -> object:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row.get("id") if isinstance(row, dict) else None
