"""What --json writes: one object for each edit, failures too (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import asdict

from asyncsdk.images.billing import problem_of, status_of
from asyncsdk.images.outcome import EditOutcome, Problem, Status
from asyncsdk.models import Usage, to_json


def record_of(outcome: EditOutcome) -> dict[str, Any]:
    """How an edit of many ended; `displaced` is there if older pictures made way for its own."""
    files = [str(path) for path in outcome.files]
    known = record(outcome.id, outcome.status, files=files, usage=outcome.usage, problem=outcome.problem)
    return known | ({"displaced": list(map(str, outcome.displaced))} if outcome.displaced else {})


def record_of_error(edit_id: str, error: Exception) -> dict[str, Any]:
    """How a single edit ended that did not go well."""
    return record(edit_id, status_of(error), problem=problem_of(error))


def record(
    edit_id: str,
    status: Status,
    *,
    files: Sequence[str] = (),
    usage: Usage | None = None,
    problem: Problem | None = None,
) -> dict[str, Any]:
    """`error` is a Problem: `type` is the class in `asyncsdk.errors`, `code` and `status_code` are the server's own."""
    return {
        "id": edit_id,
        "status": status,
        "files": list(files),
        "usage": None if usage is None else to_json(usage),
        "error": None if problem is None else asdict(problem),
    }
