"""The fields of an image edit, taken from a form or from JSON and checked (pure).

Names, values and limits are those of the OpenAPI document and of openai-python; the words of the refusals are the
real server's, where they are known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from asyncsdk.server.errors import ApiError, invalid, missing, mistyped, refuse, unknown
from asyncsdk.server.fields import Fields, refuse_unknown

PROMPT_LIMIT, PROMPT_LIMIT_OLD = 32_000, 1000
PICTURES_LIMIT = 16
DEFAULT_MODEL = "gpt-image-2"
OLD_MODEL = "dall-e-2"
OLD_SIZES = ("256x256", "512x512", "1024x1024")
EDGE_LIMIT, PIXELS_MOST = 3840, 8_294_400
PIXELS_LEAST = 256  # the real server wants 655,360; small pictures keep tests quick

_CHOICES: dict[str, tuple[str, ...]] = {
    "quality": ("low", "medium", "high", "xhigh", "max", "auto"),
    "background": ("transparent", "opaque", "auto"),
    "output_format": ("png", "jpeg", "webp", "gif", "svg"),
    "input_fidelity": ("high", "low"),
    "complexity": ("low", "medium", "high"),
    "moderation": ("auto", "low"),
}
_RANGES = {"n": (1, 10), "output_compression": (0, 100), "partial_images": (0, 3), "frame_count": (2, 16)}
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")


@frozen(kw_only=True)
class Wanted:
    """What an edit is asked to be. `size` None means that of the first picture."""

    prompt: str
    model: str
    n: int
    size: tuple[int, int] | None
    quality: str
    background: str
    output_format: str
    output_compression: int | None
    as_url: bool
    stream: bool
    partial_images: int
    pictures: int

    @property
    def input_images(self) -> int:
        """What it counts against the limit of input images a minute."""
        return self.pictures * self.n


def read_edit(fields: Fields, *, pictures: int) -> Wanted:
    """Read what is left of an edit's fields once its pictures are taken out. Raises ApiError."""
    model = _text(fields, "model") or DEFAULT_MODEL
    old = model == OLD_MODEL
    prompt = _prompt(fields, PROMPT_LIMIT_OLD if old else PROMPT_LIMIT)
    response_format = _response_format(fields, old=old)
    numbers = {name: _number(fields, name, *limits) for name, limits in _RANGES.items()}
    chosen = {name: _choice(fields, name, choices) for name, choices in _CHOICES.items()}
    if old:
        _refuse_new_fields({**numbers, **chosen, "stream": fields.get("stream")})
    _number(fields, "frame_duration_ms", 20, 10**9)
    size, stream = _size(fields, old=old), _flag(fields, "stream")
    for name in ("user", "safety_identifier"):
        _text(fields, name)
    _take_nested(fields, "svg")
    refuse_unknown(fields)
    return Wanted(
        prompt=prompt,
        model=model,
        n=numbers["n"] or 1,
        size=size,
        quality=chosen["quality"] or "auto",
        background=chosen["background"] or "opaque",
        output_format=chosen["output_format"] or "png",
        output_compression=numbers["output_compression"],
        as_url=response_format == "url",
        stream=stream,
        partial_images=numbers["partial_images"] or 0,
        pictures=pictures,
    )


def _prompt(fields: Fields, limit: int) -> str:
    if "prompt" not in fields:
        raise missing("prompt")
    prompt = fields.pop("prompt")
    if not isinstance(prompt, str):
        raise mistyped("prompt", "a string", prompt)
    if not prompt:
        raise invalid("prompt", "it is empty")
    if len(prompt) > limit:
        raise ApiError(
            400,
            f"Invalid 'prompt': string too long. Expected a string with maximum length {limit}, but got a string "
            f"with length {len(prompt)} instead.",
            "prompt",
            "string_above_max_length",
        )
    return prompt


def _response_format(fields: Fields, *, old: bool) -> str:
    if "response_format" not in fields:
        return "url" if old else "b64_json"
    if not old:
        raise unknown("response_format")
    return _choice(fields, "response_format", ("url", "b64_json")) or "url"


def _refuse_new_fields(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if value is not None and name != "n":
            raise unknown(name)


def _size(fields: Fields, *, old: bool) -> tuple[int, int] | None:
    text = _text(fields, "size")
    if old and text not in {None, *OLD_SIZES}:
        raise invalid("size", f"'{text}' is not one of {list(OLD_SIZES)}")
    if text in {None, "auto"}:
        return (1024, 1024) if old else None
    found = _SIZE.fullmatch(text or "")
    if found is None:
        raise invalid("size", f"'{text}' is neither 'auto' nor WIDTHxHEIGHT")
    width, height = int(found[1]), int(found[2])
    if not old:
        _check_pixels(text or "", width, height)
    return width, height


def _check_pixels(text: str, width: int, height: int) -> None:
    if width % 16 or height % 16:
        raise refuse(f"Invalid size '{text}'. Width and height must both be divisible by 16.", "size", "invalid_value")
    if max(width, height) > EDGE_LIMIT:
        message = f"Invalid size '{text}'. The longest edge must be less than or equal to {EDGE_LIMIT}."
        raise refuse(message, "size", "invalid_value")
    if width * height > PIXELS_MOST:
        message = f"Invalid size '{text}'. Requested resolution exceeds the current pixel budget."
        raise refuse(message, "size", "invalid_value")
    if width * height < PIXELS_LEAST:
        message = f"Invalid size '{text}'. Requested resolution is below the current minimum pixel budget."
        raise refuse(message, "size", "invalid_value")


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
    """A whole number, as JSON has it or as a form's text."""
    value = fields.pop(name, None)
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise mistyped(name, "an integer", value)
    if not low <= value <= high:
        raise invalid(name, f"{value} is not between {low} and {high}")
    return value


def _flag(fields: Fields, name: str) -> bool:
    value = fields.pop(name, False)
    if isinstance(value, bool):
        return value
    if value not in {"true", "false"}:
        raise mistyped(name, "a boolean", value)
    return bool(value == "true")


def _take_nested(fields: Fields, name: str) -> None:
    for known in [field for field in fields if field == name or field.startswith(f"{name}[")]:
        fields.pop(known)
