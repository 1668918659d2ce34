"""What the server refuses in each edit in the same way, whatever its picture is: when a run stops for that (pure).

::

    what is refused                           it is known by                          and the run
    ────────────────────────────────────────  ──────────────────────────────────────  ───────────────────────────────
    a key, credit, a model not there          `billing.is_fatal_for_run`              ends with the first
    a field: quality, prompt, model, …        status, code and `param`                ends after `MOST_REFUSED_ALIKE`
    something that the server does not name   status, code and the message            ends after `MOST_REFUSED_ALIKE`
    a picture, mask or markup                 413, 415, `param`, else code, message   goes on
    the size that a picture has: none given   `param`                                 goes on
    what it shows, or what is requested       the safety system's code or message     goes on

They are counted in a row: an edit that is paid between two of them shows that others may pass, and a different refusal
begins a count of its own. Refusals of the pictures themselves say neither.
"""

from __future__ import annotations

import re

from attrs import define, field, frozen

from asyncsdk.errors import APIStatusError, EditError, ModerationBlockedError
from asyncsdk.images.billing import is_about_model, is_fatal_for_run, is_safe_to_repeat, may_be_charged, status_of
from asyncsdk.images.edit import ImageEdit

# where 30 % are refused in one way, that many come in a row once in 170,000 edits
MOST_REFUSED_ALIKE = 10

_OF_ONE_PICTURE = frozenset({413, 415})
_PICTURE_FIELDS = frozenset(
    {"file", "file_id", "id", "image", "image_url", "images", "input_image", "markup", "mask", "picture"}
)
_PICTURE_CODES = re.compile(r"(image|mask|picture)(?!_generation|_model)|(?<!pro)file|mimetype|media_type")
_PICTURE_WORDS = re.compile(
    r"\b(invalid|unsupported|corrupt(ed)?|damaged|broken|empty|unreadable) (image|mask|picture|file)s?\b"
    r"|\b(image|mask|picture) (file|format|mode|data|dimensions)\b|mimetype"
)
_SAFETY_CODES = re.compile(r"moderation|polic(y|ies)|safety|content.?filter|sensitive|nsfw")
_SAFETY_WORDS = re.compile(r"moderation|safety|content\b.{0,20}\b(polic(y|ies)|filter)|filtered|sensitive|nsfw")


@frozen
class CommonRefusal:
    """What refusals have in common that are one and the same: the field in `param`, else the server's `words`."""

    status_code: int
    code: str | None
    param: str | None = None
    words: str = ""


def refusal_of(error: Exception, edit: ImageEdit) -> CommonRefusal | None:
    """What the server refused in `edit`, if others may be refused in the same way; None for any other error."""
    if not isinstance(error, APIStatusError) or error.status_code >= 500:
        return None
    if is_fatal_for_run(error) or may_be_charged(error) or is_safe_to_repeat(error) or _is_of_one(edit, error):
        return None
    if error.param:
        return CommonRefusal(error.status_code, error.code, error.param)
    return CommonRefusal(error.status_code, error.code, words=_words_of(error))


@define
class RefusedAlike:
    """How many edits in a row were refused in one way, and none was paid between."""

    count: int = field(default=0, init=False)
    _refusal: CommonRefusal | None = field(default=None, init=False)
    _last: APIStatusError | None = field(default=None, init=False)

    def note(self, error: Exception, edit: ImageEdit) -> None:
        """Count an `edit` that ended with `error`, if that is a refusal that others may meet."""
        refusal = refusal_of(error, edit)
        if refusal is not None and isinstance(error, APIStatusError):
            self.count = self.count + 1 if refusal == self._refusal else 1
            self._refusal, self._last = refusal, error

    def note_paid(self) -> None:
        """The server took an edit: what it refused before may have been in those alone."""
        self.count, self._refusal, self._last = 0, None, None

    @property
    def are_too_many(self) -> bool:
        """Whether the run stops."""
        return self.count >= MOST_REFUSED_ALIKE

    def reason(self) -> EditError:
        """The error of a run that stops."""
        advice = "" if self._last is None else _advice(self._last)
        error = EditError(
            f"{self.count} edits in a row were refused in the same way, and none was done between: {self._last}\n"
            f"  Nothing was paid for them, and nothing more was sent. {advice}"
        )
        error.__cause__ = self._last
        return error


def _is_of_one(edit: ImageEdit, error: APIStatusError) -> bool:
    """Whether the picture of this edit is refused, or what it shows or asks for."""
    if isinstance(error, ModerationBlockedError) or error.status_code in _OF_ONE_PICTURE:
        return True
    if _SAFETY_CODES.search(f"{error.code} {error.type}".lower()):
        return True
    if error.param == "size":
        return edit.size is None or edit.size == "auto"  # then it is the picture's
    if error.param:
        return re.split(r"[\[.]", error.param)[0] in _PICTURE_FIELDS
    code, words = (error.code or "").lower(), _words_of(error).lower()
    return bool(_PICTURE_CODES.search(code) or _PICTURE_WORDS.search(words) or _SAFETY_WORDS.search(words))


def _words_of(error: APIStatusError) -> str:
    """The server's message, without its name for the request; '' where it gave none."""
    message = error.body.get("message") if isinstance(error.body, dict) else None
    words = message if isinstance(message, str) else ""
    return words.replace(error.request_id, "") if error.request_id else words


def _advice(error: APIStatusError) -> str:
    if is_about_model(error):
        return "Once `model` is another one, or the account has access to it, the same call goes on, with these too."
    if status_of(error) != "refused":
        return "Once its cause is gone, the same call goes on, with these too."
    others = "the same call goes on with the others, and with only=['refused'] it sends these again."
    if error.param:
        return f"Change `{error.param}`, and the same call sends all of them, as new edits. Unchanged, {others}"
    return f"Once its cause is gone, {others}"
