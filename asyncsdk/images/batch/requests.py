"""The lines of an input file: an edit as a request of a batch, and a `custom_id` that leads back to it (pure).

Its pictures are references: each was uploaded before. What an edit is in the ledger does not depend on that, so one
that was done directly is found again here, and the other way round.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from asyncsdk import api
from asyncsdk.api import ImageRef
from asyncsdk.images.check import invalid
from asyncsdk.images.edit import ImageEdit

ENDPOINT = "/v1/images/edits"
NOT_IN_BATCHES = "not for a batch"  # the reason of an edit that is refused for that
_REFUSED_MODELS = frozenset({"dall-e-2"})
_DIGEST, _NUMBER = 26, 6  # characters: no two edits have the same 104 bits, and 36 to the 6th is two thousand millions
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_CUSTOM_ID = re.compile(rf"[0-9a-f]{{{_DIGEST}}}-[0-9a-z]{{{_NUMBER}}}-[0-9a-z]{{{_NUMBER}}}")
_OF_STREAMS = ("stream", "partial_images")
_NOT_IN_LINES = frozenset({"prompt", *_OF_STREAMS})  # what is given apart, or is false
_DIRECTLY = "Leave it out, or send this edit directly. Nothing was sent."


def custom_id_of(item: str, attempt: int) -> str:
    """40 characters of a-z, 0-9 and "-", other ones for each item of the ledger and each attempt, from 1."""
    digest, _, ordinal = item.rpartition("#")
    return f"{digest[:_DIGEST]}-{_base_36(int(ordinal))}-{_base_36(attempt)}"


def is_custom_id(text: str) -> bool:
    """Whether `text` is in the form of `custom_id_of`."""
    return _CUSTOM_ID.fullmatch(text) is not None


def require_batchable(edit: ImageEdit) -> None:
    """Raise InvalidEditError for an edit that can't be in a batch, though it may be sent directly."""
    problem = _problem(edit)
    if problem is not None:
        raise invalid(problem, NOT_IN_BATCHES)


def _problem(edit: ImageEdit) -> str | None:
    if edit.model is None:
        return "model: the edits of a batch need one: all in a file have the same. Nothing was sent."
    if edit.model in _REFUSED_MODELS:
        return f"model: batches do not take {edit.model}. Send this edit directly. Nothing was sent."
    if edit.markup is not None:
        return f"markup: in a batch pictures are references, and it can't be one. {_DIRECTLY}"
    if "model" in (edit.extra or ()):
        return "model: it is in extra=, and a batch is cut by model=. Give it there. Nothing was sent."
    streams = (name for name in _OF_STREAMS if getattr(edit, name) or name in (edit.extra or ()))
    return next((f"{name}: a batch has no streams. {_DIRECTLY}" for name in streams), None)


def line_of(edit: ImageEdit, custom_id: str, *, images: Sequence[ImageRef], mask: ImageRef | None = None) -> bytes:
    """The line of an edit, with its newline. `images` and `mask` are where its pictures are on the server.

    Raises InvalidEditError for an edit that can't be in a batch.
    """
    require_batchable(edit)
    options: Any = {name: value for name, value in edit.options.items() if name not in _NOT_IN_LINES}
    request = api.edit_image_by_reference(images=images, prompt=edit.prompt, mask=mask, extra=edit.extra, **options)
    line = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": request.json}
    # all in ASCII: some servers take the line separators of Unicode for ends of lines
    return json.dumps(line, separators=(",", ":"), default=dict).encode() + b"\n"


def _base_36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits.rjust(_NUMBER, "0")
