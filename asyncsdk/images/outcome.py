"""How an edit ended, as values: its status, its files, and what went wrong (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen

from asyncsdk.images.edit import ImageEdit
from asyncsdk.models import Usage

if TYPE_CHECKING:
    from asyncsdk.images.result import EditResult

Status = Literal["done", "failed", "refused", "uncertain", "skipped", "batched"]


# of requests, and the time: as servers and gateways write them into a message
_LONGER_WORD = re.compile(r"[\w.:+-]{12,}")


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(map(str, values))


@frozen(kw_only=True)
class Problem:
    """What went wrong with an edit, as it is recorded and shown.

    Attributes:
        type: The name of the class in `asyncsdk.errors`.
        message: What happened, what is safe and what to do next.
        code: The server's code of the error, such as `moderation_blocked`.
        status_code: The HTTP status of the response.
        request_id: The server's id of the request, for its support.
        retryable: Whether the same edit may pass later with nothing changed, and nothing was paid for it.
        moderation: `{"stage": "input" | "output", "categories": [...]}` where the safety system refused the edit.
        urls: Where the server keeps pictures that are paid and not saved, for 60 minutes.
        raw_files: The files that have what came in the place of pictures.
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
    """How one edit of a run ended.

    Attributes:
        edit: The edit itself.
        id: Its name: its own `id`, or the one that it was given.
        status: *done*; *skipped*: an earlier run did it, nothing was sent; *failed*: nothing was paid, the next run
            tries again; *refused*: the picture, the prompt or a field is not accepted and would not be later;
            *uncertain*: its response was lost and it may have been paid, or it is paid and not wholly saved;
            *batched*: it is in a batch that has not ended, and nothing else was sent; `edit_batch` collects it.
        files: Its pictures on disk.
        objects: Its pictures in a bucket, by their URLs, where `out` is one.
        displaced: Older pictures of that name, where they are now.
        displaced_objects: The same in a bucket.
        is_replaced: Whether an earlier run did it, and its pictures were moved aside since for those of another edit.
        is_earlier: Whether it ended so in an earlier run, and this one sent nothing for it: of *skipped*, *refused* and
            *uncertain*.
        result: The pictures and what they cost, if this run paid for the edit.
        usage: What it cost in tokens, also in an earlier run.
        cost: The same in dollars, by the table of prices at that time; None where the price of its model is not known.
        problem: What went wrong, in this run or an earlier one; also where fewer pictures came than were requested,
            and where pictures of an earlier run are gone.
        error: The exception of this run.
    """

    edit: ImageEdit
    id: str
    status: Status
    files: tuple[Path, ...] = ()
    objects: tuple[str, ...] = ()
    displaced: tuple[Path, ...] = ()
    displaced_objects: tuple[str, ...] = ()
    is_replaced: bool = False
    is_earlier: bool = False
    result: EditResult | None = field(default=None, repr=False)
    usage: Usage | None = None
    cost: float | None = None
    problem: Problem | None = None
    error: Exception | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """Where its pictures are, on disk or in a bucket."""
        return (*self.objects, *map(str, self.files))

    @property
    def is_gone(self) -> bool:
        """Whether an earlier run paid for it and saved it, and a picture of it is not there any more."""
        return self.status == "skipped" and self.problem is not None and self.problem.type == "SaveError"


def words_of(problem: Problem) -> str:
    """The message of a problem, without what differs from one request to the next that met the same."""
    words = problem.message.replace(problem.request_id, "") if problem.request_id else problem.message
    return _LONGER_WORD.sub(lambda word: "" if any(map(str.isdigit, word[0])) else word[0], words)


def shortfall(result: EditResult) -> Problem | None:
    """The Problem of a finished edit that returned fewer images than requested; None for any other."""
    came, requested, unusable = len(result.images), result.edit.n or 1, len(result.response.unreadable)
    if came >= requested and not unusable:
        return None
    rest = f" What came in the place of {unusable} is in result.response.unreadable." if unusable else ""
    message = f"{came} of {max(requested, came + unusable)} pictures came, and they are paid."
    message = f"{message} Another edit may make the others.{rest}"
    return Problem(type="EditError", message=message, request_id=result.request_id)
