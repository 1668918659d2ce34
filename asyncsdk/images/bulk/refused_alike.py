"""What the server refuses in each edit in the same way, whatever its picture is: when a run stops for that (pure).

::

    what is refused                       it is known by                      and the run
    ────────────────────────────────────  ──────────────────────────────────  ───────────────────────────────
    a key, credit, a model not there      `billing.is_fatal_for_run`          ends with the first
    a field: quality, background, model   status, code and `param`            ends after `MOST_REFUSED_ALIKE`
    a picture, mask, markup or prompt     `param`                             goes on
    the size that a picture has           `param`, where no size is given     goes on
    what it shows, or what is requested   the safety system's code            goes on
    something that the server leaves out  no `param`                          goes on: it may be the picture's

They are counted in a row: an edit that is paid between two of them shows that others may pass, and a different refusal
begins a count of its own. Refusals that go on say neither. Refusals come at once, and what is paid takes its time: a
run does not stop before all have ended that were under way when the row began, or ten in a row were refused for each
edit that runs at a time.
"""

from __future__ import annotations

import re

from attrs import define, field, frozen

from asyncsdk.errors import APIStatusError, EditError, ModerationBlockedError
from asyncsdk.images.billing import is_about_model, is_fatal_for_run, is_safe_to_repeat, may_be_charged, status_of
from asyncsdk.images.edit import ImageEdit

# where 30 % are refused in one way, that many come in a row once in 170,000 edits
MOST_REFUSED_ALIKE = 10

_OWN_FIELDS = frozenset(
    {"file", "file_id", "id", "image", "image_url", "images", "input_image", "markup", "mask", "prompt"}
)


@frozen
class CommonRefusal:
    """What refusals have in common that are one and the same; `error` is one of them."""

    status_code: int
    code: str | None
    param: str
    error: APIStatusError = field(eq=False)


def refusal_of(error: Exception, edit: ImageEdit) -> CommonRefusal | None:
    """What the server refused in `edit`, if others may be refused in the same way; None for any other error."""
    if not isinstance(error, APIStatusError) or error.status_code >= 500 or not error.param:
        return None
    if is_fatal_for_run(error) or may_be_charged(error) or is_safe_to_repeat(error) or _is_its_own(error, edit):
        return None
    return CommonRefusal(error.status_code, error.code, error.param, error)


@define
class RefusedAlike:
    """How many edits in a row were refused in one way, and none was paid between."""

    count: int = field(default=0, init=False)
    _refusal: CommonRefusal | None = field(default=None, init=False)

    def note(self, error: Exception, edit: ImageEdit) -> bool:
        """Count an `edit` that ended with `error`, if others may be refused in that way; whether it begins a row."""
        refusal = refusal_of(error, edit)
        if refusal is None:
            return False
        self.count = self.count + 1 if refusal == self._refusal else 1
        self._refusal = refusal
        return self.count == 1

    def note_paid(self) -> None:
        """The server took an edit: what it refused before may have been in those alone."""
        self.count, self._refusal = 0, None

    def reason(self) -> EditError | None:
        """The error of a run that stops; None while there are not too many."""
        if self._refusal is None or self.count < MOST_REFUSED_ALIKE:
            return None
        last = self._refusal.error
        error = EditError(
            f"{self.count} edits in a row were refused in the same way, and none was done between: {last}\n"
            f"  Nothing was paid for them, and nothing more was sent. {_advice(last)}"
        )
        error.__cause__ = last
        return error


def _is_its_own(error: APIStatusError, edit: ImageEdit) -> bool:
    """Whether the picture of this edit is refused, or what it shows or asks for."""
    if isinstance(error, ModerationBlockedError):
        return True
    if error.param == "size":
        return edit.size is None or edit.size == "auto"  # then it is the picture's
    return re.split(r"[\[.]", error.param or "")[0] in _OWN_FIELDS


def _advice(error: APIStatusError) -> str:
    if is_about_model(error):
        return "Once `model` is another one, or the account has access to it, the same call goes on, with these too."
    if status_of(error) != "refused":
        return "Once its cause is gone, the same call goes on, with these too."
    return (
        f"With another `{error.param}` all of them are sent. If the server takes this one later, the same call goes on "
        "with the others, and with only=['refused'] it sends these again."
    )
