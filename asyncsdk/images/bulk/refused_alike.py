"""What the server refuses in each edit in the same way, whatever its picture is: when a run stops for that (pure).

::

    what is refused                           it is known by                          and the run
    ────────────────────────────────────────  ──────────────────────────────────────  ───────────────────────────────
    a key, credit, a model not there          `billing.is_fatal_for_run`              ends with the first
    a field: quality, prompt, model, …        status, code and `param`                ends after `MOST_REFUSED_ALIKE`
    that there is a mask, a markup, an image  the same, code or message               ends after `MOST_REFUSED_ALIKE`
    something that the server does not name   status, code and the message            ends after `MOST_REFUSED_ALIKE`
    a picture, mask or markup itself          413, `param`, else code, message        goes on
    the size that a picture has: none given   `param`                                 goes on
    what it shows, or what is requested       the safety system's code or message     goes on

They are counted in a row: an edit that is paid between two of them shows that others may pass, and a different refusal
begins a count of its own. Refusals of the pictures themselves say neither. Refusals come at once, and what is paid
takes its time: a run does not stop before all have ended that were under way when the row began, or ten in a row were
refused for each edit that runs at a time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import define, field, frozen

from asyncsdk.errors import APIStatusError, EditError, ModerationBlockedError
from asyncsdk.images.billing import (
    is_about_model,
    is_fatal_for_run,
    is_safe_to_repeat,
    may_be_charged,
    problem_of,
    status_of,
)
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.outcome import words_of

# where 30 % are refused in one way, that many come in a row once in 170,000 edits
MOST_REFUSED_ALIKE = 10

_PICTURE_FIELDS = frozenset(
    {"file", "file_id", "id", "image", "image_url", "images", "input_image", "markup", "mask", "picture"}
)
_PICTURE = r"(?<!output )(?<![\w./-])(images?|masks?|pictures?|photos?|files?)\b"
_NO_PICTURE = (  # "image" in the name of something else
    r"(?! (api|count|detail|edit|endpoint|generation|input|model|option|output|param|quality|request|size|tool))"
)
# not how a picture is, but that there is one, or in which form it came: as of any other field
_FIELD_WORDS = re.compile(
    r"(duplicate|missing|unexpected|unknown|unrecogni[sz]ed|unsupported)[ _]([a-z]{1,20}[ _]){0,2}"
    r"(argument|field|parameter)"
    r"|invalid[ _]type\b|extra inputs|not[ _]enabled|disabled"
    r"|\b(mask|markup)s?['`\"]? (is|are) not supported"
    r"|: images? (is|are) not supported (by|for|with)\b"
)
_PICTURE_CODES = re.compile(r"(image|mask|picture)(?!s?_?(edit|endpoint|generation|model))|(?<!pro)file|mimetype")
_PICTURE_WORDS = re.compile(
    r"\b(bad|broken|corrupt(ed)?|damaged|empty|invalid|malformed|truncated|unreadable|unsupported) "
    rf"((base64|input|source|uploaded) )?{_PICTURE}{_NO_PICTURE}"
    rf"|{_PICTURE} (bytes|data|dimensions?|format|header|mode|must|url)\b"
    rf"|{_PICTURE} (file )?(resolution|size)s? .{{0,20}}\b(exceeds?|larger|less|smaller|too)\b"
    rf"|{_PICTURE} (you [a-z]{{1,20}} )?(can ?not|can't|could not|do(es)? not|exceeds?|is|are|was|were|appears|seems)\b"
    rf"|(convert|decod|download|fetch|identify|load|open|pars|process|read)(e|ing)? ([a-z]{{1,20}} ){{0,3}}?"
    rf"{_PICTURE}{_NO_PICTURE}"
    r"|mimetype|\bno such file\b"
)
_SAFETY_CODES = re.compile(
    r"moderation|polic(y|ies)|safety|content.?(block|filter)|inspection|prohibited|sensitive|nsfw"
)
_SAFETY_WORDS = re.compile(
    r"moderation|safety|content\b.{0,20}\b(polic(y|ies)|filter)|filtered|(?<!case[- ])sensitive|nsfw"
    r"|inappropriate|prohibited|violat\w{1,5} .{0,30}\bpolic(y|ies)"
)


@frozen
class CommonRefusal:
    """What refusals have in common that are one and the same: the field in `param`, else the server's `words`.

    `error` is one of them.
    """

    status_code: int
    code: str | None
    param: str | None
    words: str
    error: APIStatusError = field(eq=False)


def refusal_of(error: Exception, edit: ImageEdit) -> CommonRefusal | None:
    """What the server refused in `edit`, if others may be refused in the same way; None for any other error."""
    if not isinstance(error, APIStatusError) or error.status_code >= 500:
        return None
    if is_fatal_for_run(error) or may_be_charged(error) or is_safe_to_repeat(error) or _is_of_one(edit, error):
        return None
    words = "" if error.param else _words_of(error)
    return CommonRefusal(error.status_code, error.code, error.param or None, words, error)


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


def _is_of_one(edit: ImageEdit, error: APIStatusError) -> bool:
    """Whether the picture of this edit is refused, or what it shows or asks for."""
    if isinstance(error, ModerationBlockedError) or error.status_code == 413:
        return True
    code, words = (error.code or "").lower(), _words_of(error).lower()
    if _SAFETY_CODES.search(f"{code} {error.type}".lower()):
        return True
    if error.param == "size":
        return edit.size is None or edit.size == "auto"  # then it is the picture's
    if _FIELD_WORDS.search(f"{code} {words}"):
        return False
    if error.param and error.param != "prompt":
        return re.split(r"[\[.]", error.param)[0] in _PICTURE_FIELDS
    if _SAFETY_WORDS.search(words):
        return True
    return not error.param and bool(_PICTURE_CODES.search(code) or _PICTURE_WORDS.search(words))


def _words_of(error: APIStatusError) -> str:
    """What the server says of it, without ids; '' for a page, which is of something before the API."""
    return words_of(problem_of(error)) if isinstance(error.body, Mapping) else ""


def _advice(error: APIStatusError) -> str:
    if is_about_model(error):
        return "Once `model` is another one, or the account has access to it, the same call goes on, with these too."
    if status_of(error) != "refused":
        return "Once its cause is gone, the same call goes on, with these too."
    others = "the same call goes on with the others, and with only=['refused'] it sends these again."
    if error.param:
        return f"With another `{error.param}` all of them are sent. If the server takes this one later, {others}"
    return f"Once its cause is gone, {others}"
