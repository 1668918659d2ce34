"""The fields of a job row, each with what it may be: from this come the check of a row and its JSON Schema (pure).

The bounds in the schema are those that the check of the edit has. A row beyond them is an edit, which is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from asyncsdk.api import ImageFile
from asyncsdk.cli.json_schema import DIALECT
from asyncsdk.images.check import LONGEST_URL, SMALLEST_MODEL, UNNAMED, Family, family_of
from asyncsdk.images.edit import EDIT_FIELDS, EditField

IGNORED = frozenset({"status", "error", "files"})  # what `failed.jsonl` has besides the fields of an edit
OVERLAYS = tuple(name for name, about in EDIT_FIELDS.items() if about.kind is ImageFile and name != "image")
REFERENCES = ("file_id", "image_url")  # of a picture that the server has, or can fetch

_WHOLE_CHARACTERS = re.compile(r"^[^\ud800-\udfff]*$")
_DATA = "data:"  # a picture as a URL of its own content is an `image_url`


@frozen
class JobValue:
    """What a field may be; null is as if it were not there.

    Attributes:
        word: What a message calls it.
        types: Its types in Python, by their names in JSON.
        is_text: Whether half a character is refused: names of files may have such.
        may_be_empty: Whether an empty text is one; else the field counts as missing.
        bounds: What is refused of these with the edit, in the words of JSON Schema.
    """

    word: str
    types: Mapping[str, type]
    is_text: bool = False
    may_be_empty: bool = True
    bounds: Mapping[str, int] = field(factory=dict)

    def misfit(self, name: str, value: Any) -> str | None:
        """What is wrong with the value of the field `name`; None if nothing is."""
        if type(value) not in self.types.values():
            kind = "the text " if isinstance(value, str) else ""
            return f"{name!r} is {kind}{value!r}, which is not {self.word}."
        if self.is_text and not _WHOLE_CHARACTERS.search(value):
            return f"{name!r} contains half a character, which is not text."
        return None

    @property
    def schema(self) -> dict[str, Any]:
        """The same as a JSON Schema."""
        pattern = {"pattern": _WHOLE_CHARACTERS.pattern} if self.is_text else {}
        least = {} if self.may_be_empty else {"minLength": 1}
        return {"type": [*self.types, "null"], **pattern, **least, **self.bounds}


def _bounded(value: JobValue, about: EditField) -> JobValue:
    """The same within what is allowed for the field of an edit."""
    return value if about.allowed is None else evolve(value, bounds=dict(zip(_ENDS, about.allowed, strict=True)))


def _of_family(family: Family) -> dict[str, dict[str, Any]]:
    """The bounds that hang on the model."""
    return {"prompt": {"maxLength": family.prompt}, "image": {"maxItems": family.pictures}}


_ENDS = ("minimum", "maximum")
_OF_KIND: Mapping[type, JobValue] = {
    int: JobValue("a whole number", {"integer": int}),
    bool: JobValue("true or false", {"boolean": bool}),
    Mapping: JobValue("an object", {"object": dict}),
    str: JobValue("text", {"string": str}, is_text=True),
}
_OF_FIELD = {
    "prompt": JobValue("text", {"string": str}, is_text=True, may_be_empty=False, bounds=_of_family(UNNAMED)["prompt"]),
    "id": JobValue("text", {"string": str, "integer": int}),
}
PICTURES = ("image", *OVERLAYS)
VALUES: Mapping[str, JobValue] = {
    name: _OF_FIELD.get(name) or _bounded(_OF_KIND[about.kind], about)
    for name, about in EDIT_FIELDS.items()
    if about.in_job_file and name not in PICTURES
}
KNOWN = IGNORED.union(PICTURES, VALUES)


def as_meant(name: str, value: Any) -> Any:
    """2.0 as 2: pandas writes such numbers in a column with a missing value."""
    if not isinstance(value, float):  # as nearly all are
        return value
    is_whole = name in VALUES and "integer" in VALUES[name].types
    return int(value) if is_whole and value.is_integer() else value


def picture_misfit(value: Any) -> str | None:
    """What is wrong with one picture as it is written; None if nothing is. Whether its URL can be used is not asked."""
    if not isinstance(value, str) and isinstance(value, Mapping) and set(value) <= set(REFERENCES):
        named = [each for each in value.values() if each is not None]
        wrong = [each for each in named if not isinstance(each, str) or not each]
        if wrong:
            return f"a file_id and an image_url are text, not {wrong[0]!r}"
        return None if len(named) == 1 else "an ImageRef has a file_id or an image_url, exactly one"
    if not isinstance(value, str) or not value:
        return f"a picture is a path, or an object with a file_id or an image_url, not {value!r}"
    if value.startswith(_DATA):
        return f'a picture as text is written as {{"image_url": "{value[:60]}"}}'
    return None


def job_schema() -> dict[str, Any]:
    """The JSON Schema of a row. The prompt is not required: `--prompt` may give it to rows without one."""
    overlay = {"anyOf": [_PICTURE, {"type": "null"}]}
    properties: dict[str, dict[str, Any]] = {
        "image": {"anyOf": [_PICTURE, _PICTURES]},
        **dict.fromkeys(OVERLAYS, overlay),
        **{name: value.schema for name, value in VALUES.items()},
        **{name: {} for name in sorted(IGNORED)},
    }
    return {
        "$schema": DIALECT,
        "title": "A row of a job file of asyncsdk edit-many",
        "description": "One edit. Relative paths start at the job file's directory. A field that is null is not sent.",
        "type": "object",
        "properties": {name: schema | _description(name) for name, schema in properties.items()},
        "required": ["image"],
        "if": {"properties": {"model": {"const": SMALLEST_MODEL}}, "required": ["model"]},
        "then": {"properties": _of_family(family_of(SMALLEST_MODEL))},
        "additionalProperties": {"type": "null", **_UNKNOWN},
        "$defs": {"picture": _PICTURE_SCHEMA},
    }


_PICTURE = {"$ref": "#/$defs/picture"}
_PICTURES = {"type": "array", "items": _PICTURE, "minItems": 1, **_of_family(UNNAMED)["image"]}
_REFERENCE = {"type": ["string", "null"], "minLength": 1}
_PICTURE_SCHEMA: Mapping[str, Any] = {
    "anyOf": [
        {"type": "string", "minLength": 1, "pattern": f"^(?!{_DATA})"},
        {
            "type": "object",
            "properties": {"file_id": _REFERENCE, "image_url": {**_REFERENCE, "maxLength": LONGEST_URL}},
            "additionalProperties": False,
            "oneOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in REFERENCES],
        },
    ]
}
_UNKNOWN = {  # `errorMessage` is for editors: else they say that it should be null
    "description": "Not a field of an edit: refused, unless it is null.",
    "errorMessage": "This is not a field of an edit.",
}
_DESCRIPTIONS = {
    "image": "The picture to edit: a path, a URL, an object with a file_id or an image_url; or a list of several.",
    "prompt": "What to change.",
    "id": "What the edit and its pictures are called. Unique within a run.",
    **dict.fromkeys(IGNORED, "Of failed.jsonl, not of an edit; one whose status is 'uncertain' may be paid."),
}


def _description(name: str) -> dict[str, str]:
    text = _DESCRIPTIONS.get(name) or (EDIT_FIELDS[name].help if name in EDIT_FIELDS else None)
    return {"description": text} if text else {}
