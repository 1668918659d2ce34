"""Reads and checks the fields of an image edit, from a form or JSON, and which of them go together (pure).

Names, values and limits are those of the OpenAPI document and of openai-python. Error messages are the real server's,
where those are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import fields_dict, frozen

from asyncsdk.server.edits.sizes import Size, read_old_size, read_size
from asyncsdk.server.errors import invalid, missing, mistyped, too_long, unknown
from asyncsdk.server.fields import Fields, refuse_unknown

PROMPT_LIMIT, PROMPT_LIMIT_OLD = 32_000, 1000
DEFAULT_MODEL = "gpt-image-2"
OLD_MODEL = "dall-e-2"

_CHOICES: dict[str, tuple[str, ...]] = {
    "quality": ("low", "medium", "high", "xhigh", "max", "auto"),
    "background": ("transparent", "opaque", "auto"),
    "output_format": ("png", "jpeg", "webp", "gif", "svg"),
    "input_fidelity": ("high", "low"),
    "complexity": ("low", "medium", "high"),
    "moderation": ("auto", "low"),
}
_RANGES = {
    "n": (1, 10),
    "output_compression": (0, 100),
    "partial_images": (0, 3),
    "frame_count": (2, 16),
    "frame_duration_ms": (20, 10**9),
}
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_OF_ALL_MODELS = frozenset({"n", "size", "response_format", "user"})


@frozen(kw_only=True)
class EditRequest:
    """The fields of an edit; None where one was not sent. `size` None means that of the first picture."""

    prompt: str
    model: str
    pictures: int
    size: Size | None
    as_url: bool
    stream: bool
    n: int = 1
    quality: str = "auto"
    background: str = "auto"
    output_format: str = "png"
    output_compression: int | None = None
    partial_images: int = 0
    frame_count: int | None = None
    frame_duration_ms: int | None = None
    svg_model: str | None = None
    safety_identifier: str | None = None
    input_fidelity: str | None = None

    @property
    def is_old(self) -> bool:
        """Whether it is for the one model that has different rules."""
        return self.model == OLD_MODEL

    @property
    def input_images(self) -> int:
        """How much it counts against the limit of input images a minute."""
        return self.pictures * self.n


def read_edit(fields: Fields, *, pictures: int) -> EditRequest:
    """Read the fields that remain once the pictures are removed. Raises ApiError."""
    model = _text(fields, "model") or DEFAULT_MODEL
    old = model == OLD_MODEL
    if old:
        _refuse_new_fields(fields)
    if old and pictures > 1:
        raise mistyped("image", "a file", [])
    prompt = _prompt(fields, PROMPT_LIMIT_OLD if old else PROMPT_LIMIT)
    as_url = _response_format(fields, old=old) == "url"
    size = (read_old_size if old else read_size)(_text(fields, "size"))
    values: dict[str, Any] = {
        **{name: _number(fields, name, *limits) for name, limits in _RANGES.items()},
        **{name: _choice(fields, name, choices) for name, choices in _CHOICES.items()},
        **{name: _text(fields, name) for name in ("user", "safety_identifier")},
        "svg_model": _svg_model(fields),
    }
    stream = _flag(fields, "stream")
    refuse_unknown(fields)
    sent = {name: value for name, value in values.items() if value is not None and name in fields_dict(EditRequest)}
    return EditRequest(prompt=prompt, model=model, pictures=pictures, size=size, as_url=as_url, stream=stream, **sent)


def _refuse_new_fields(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if value is not None and name not in _OF_ALL_MODELS | {"prompt"}:
            raise unknown(name)


def _prompt(fields: Fields, limit: int) -> str:
    if "prompt" not in fields:
        raise missing("prompt")
    prompt = fields.pop("prompt")
    if not isinstance(prompt, str):
        raise mistyped("prompt", "a string", prompt)
    if not prompt:
        raise invalid("prompt", "it is empty")
    if len(prompt) > limit:
        raise too_long("prompt", limit, len(prompt))
    return prompt


def _response_format(fields: Fields, *, old: bool) -> str | None:
    if old:
        return _choice(fields, "response_format", ("url", "b64_json")) or "url"
    if "response_format" in fields:
        raise unknown("response_format")
    return None


def _text(fields: Fields, name: str) -> str | None:
    value = fields.pop(name, None)
    if value is not None and not isinstance(value, str):
        raise mistyped(name, "a string", value)
    return value


def _choice(fields: Fields, name: str, choices: tuple[str, ...]) -> str | None:
    value = _text(fields, name)
    if value is not None and value not in choices:
        raise invalid(name, f"'{value}' is not one of {list(choices)}")
    return value


def _number(fields: Fields, name: str, low: int, high: int) -> int | None:
    """Remove and return an integer, from JSON or from a form's text."""
    value = fields.pop(name, None)
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise mistyped(name, "an integer", value)
    if not low <= value <= high:
        raise invalid(name, f"{value} is not between {low} and {high}")
    return value


def _flag(fields: Fields, name: str) -> bool:
    value = fields.pop(name, None)
    if value is None or isinstance(value, bool):
        return bool(value)
    if not isinstance(value, str) or value not in {"true", "false"}:
        raise mistyped(name, "a boolean", value)
    return value == "true"


def _svg_model(fields: Fields) -> str | None:
    """The drawing model, from `svg` in JSON or from a form's flattened names such as `svg[model]`."""
    svg = fields.pop("svg", None)
    if svg is not None and not isinstance(svg, dict):
        raise mistyped("svg", "an object", svg)
    inside = {f"svg[{name}]": value for name, value in (svg or {}).items()}
    reasoning = inside.pop("svg[reasoning]", None)
    if reasoning is not None and not isinstance(reasoning, dict):
        raise mistyped("svg[reasoning]", "an object", reasoning)
    inside |= {f"svg[reasoning][{name}]": value for name, value in (reasoning or {}).items()}
    inside |= {name: fields.pop(name) for name in list(fields) if name.startswith("svg[")}
    _choice(inside, "svg[reasoning][effort]", _EFFORTS)
    model = _text(inside, "svg[model]")
    refuse_unknown(inside)
    return model


Conflict = tuple[str, str]

_WITH_ALPHA = ("png", "webp", "svg")
_COMPRESSED = ("jpeg", "webp")


def require_compatible(edit: EditRequest, overlay: str | None) -> None:
    """Raise ApiError for the first field that does not go with another; `overlay` is "mask", "markup" or None."""
    for name, why in (*_of_format(edit), *_of_animation(edit, overlay), *_of_drawing(edit)):
        raise invalid(name, why)


def _of_format(edit: EditRequest) -> Iterator[Conflict]:
    if edit.background == "transparent" and edit.output_format not in _WITH_ALPHA:
        yield "background", f"'transparent' is not possible in {edit.output_format}"
    compression = edit.output_compression
    if compression is not None and compression < 100 and edit.output_format not in _COMPRESSED:
        yield "output_compression", f"less than 100 is not possible in {edit.output_format}"
    if edit.stream and edit.output_format in {"gif", "svg"}:
        yield "stream", f"{edit.output_format} is not streamed"


def _of_animation(edit: EditRequest, overlay: str | None) -> Iterator[Conflict]:
    if edit.output_format == "gif":
        if overlay == "mask":
            yield "mask", "it does not go together with gif"
        return
    for name in ("frame_count", "frame_duration_ms"):
        if getattr(edit, name) is not None:
            yield name, "it is for gif alone"


def _of_drawing(edit: EditRequest) -> Iterator[Conflict]:
    if edit.output_format != "svg":
        if edit.svg_model is not None:
            yield "svg", "it is for output_format 'svg' alone"
    elif edit.n > 1:
        yield "n", "of svg there is only 1"
