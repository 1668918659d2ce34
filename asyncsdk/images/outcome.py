"""How an edit ended, as values: its status, its files, and what went wrong (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

from asyncsdk.images.edit import ImageEdit
from asyncsdk.models import Usage

if TYPE_CHECKING:
    from asyncsdk.images.result import EditResult

Status = Literal["done", "failed", "refused", "uncertain", "skipped"]


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(map(str, values))


@frozen(kw_only=True)
class Problem:
    """What went wrong with an edit, as it is written down: `type` is the class in `asyncsdk.errors`.

    `retryable`: the same edit, sent later, may pass, and nothing was paid for it. `moderation` is
    `{"stage": "input" | "output", "categories": [...]}` where the safety system said no. Of an edit that is paid and
    not wholly saved, `urls` are where the server keeps pictures for 60 minutes, and `raw_files` hold what came in the
    place of others.
    """

    type: str
    message: str
    code: str | None = None
    status_code: int | None = None
    request_id: str | None = None
    retryable: bool = False
    moderation: Mapping[str, Any] | None = None
    urls: tuple[str, ...] = field(default=(), converter=_texts)
    raw_files: tuple[str, ...] = field(default=(), converter=_texts)


@frozen(kw_only=True)
class EditOutcome:
    """One edit of many, and how it ended.

    `status`: *done*; *skipped* (done by an earlier run, nothing was sent); *failed* (nothing was paid, a later
    run tries again); *refused* (the picture, the prompt or a field is not accepted, and would not be again);
    *uncertain* (sent, its answer lost: it may have been paid; or paid, and not wholly saved: then `result` has it).
    `id` names it and its `files`, those that are on disk; `displaced` are older pictures of that name, where they are
    now. `error` is what was raised in this run; `problem` the
    same as a value, also where an earlier run met it, where fewer pictures came than were asked for, and where
    pictures of an earlier run are gone.
    """

    edit: ImageEdit
    id: str
    status: Status
    files: tuple[Path, ...] = ()
    displaced: tuple[Path, ...] = ()
    result: EditResult | None = field(default=None, repr=False)
    usage: Usage | None = None
    problem: Problem | None = None
    error: Exception | None = None

    @property
    def is_gone(self) -> bool:
        """Whether an earlier run paid for it and saved it, and a picture of it is not on disk any more."""
        return self.status == "skipped" and self.problem is not None and self.problem.type == "SaveError"


def shortfall(result: EditResult) -> Problem | None:
    """The Problem of a finished edit that returned fewer images than requested; None for any other."""
    came, asked, unusable = len(result.images), result.edit.n or 1, len(result.response.unreadable)
    if came >= asked and not unusable:
        return None
    rest = f" What came in the place of {unusable} is in result.response.unreadable." if unusable else ""
    message = f"{came} of {max(asked, came + unusable)} pictures came, and they are paid."
    message = f"{message} Another edit may make the others.{rest}"
    return Problem(type="EditError", message=message, request_id=result.request_id)
