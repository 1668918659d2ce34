"""The JSON objects of `edit --json` and `edit-many --json`: one for each edit, failures too (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

from attrs import asdict

from asyncsdk.images.billing import problem_of, status_of
from asyncsdk.images.outcome import EditOutcome, Problem, Status
from asyncsdk.models import Usage, to_json


class EditLine(TypedDict):
    """A line of `--json`; `error` is a Problem, `usage` what the edit cost in tokens, as the server
    reports it, `cost` the same in dollars. `earlier`: it ended so in an earlier run, and this one sent nothing for it.
    """

    id: str
    status: Status
    files: list[str]
    usage: Usage | None
    cost: float | None
    error: Problem | None
    displaced: NotRequired[list[str]]
    earlier: NotRequired[bool]


def record_of(outcome: EditOutcome) -> dict[str, Any]:
    """How an edit of a run ended; `displaced` is there if older pictures were moved aside, `earlier` if it is true."""
    entry = record(
        outcome.id,
        outcome.status,
        files=outcome.places,
        usage=outcome.usage,
        cost=outcome.cost,
        problem=outcome.problem,
    )
    displaced = [*map(str, outcome.displaced), *outcome.displaced_objects]
    earlier = {"earlier": True} if outcome.is_earlier else {}
    return entry | ({"displaced": displaced} if displaced else {}) | earlier


def record_of_error(edit_id: str, error: Exception) -> dict[str, Any]:
    """How a single edit failed."""
    return record(edit_id, status_of(error), problem=problem_of(error))


def record(
    edit_id: str,
    status: Status,
    *,
    files: Sequence[str] = (),
    usage: Usage | None = None,
    cost: float | None = None,
    problem: Problem | None = None,
) -> dict[str, Any]:
    """`cost` is in dollars, None where it is not known.

    `error` is a Problem: `type` is the class in `asyncsdk.errors`, `code` and `status_code` are from the server.
    """
    return {
        "id": edit_id,
        "status": status,
        "files": list(files),
        "usage": None if usage is None else to_json(usage),
        "cost": cost,
        "error": None if problem is None else asdict(problem),
    }
