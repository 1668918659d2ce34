"""How many tokens an edit is by the rules that OpenAI documents for its image models, or that were measured (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterable

from asyncsdk.server.edits.fields import EditRequest
from asyncsdk.server.edits.sizes import Size

_CELLS = {
    "gpt-image-2": {"low": 16, "medium": 48, "high": 96, "xhigh": 96, "max": 96},
    "gpt-image-2.": {"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96},
}
_OF_SHAPES = {  # taller than wide, square, wider than tall
    "low": (408, 272, 400), "medium": (1584, 1056, 1568), "high": (6240, 4160, 6208),
}  # fmt: skip
_FIDELITY = (6240, 4160, 6240)
_LARGEST_BUDGET = 1536
_PARTIAL = 100


def has_rules(model: str) -> bool:
    """Whether the tokens of a model are documented."""
    return model.startswith("gpt-image-")


def output_of(edit: EditRequest, size: Size) -> int:
    """The tokens of one picture of this size, with its partial images."""
    quality = "medium" if edit.quality == "auto" else edit.quality
    partials = _PARTIAL * edit.partial_images
    if edit.model.startswith("gpt-image-1"):
        return _OF_SHAPES[quality if quality in _OF_SHAPES else "high"][_shape(size)] + partials
    cells = _CELLS["gpt-image-2." if edit.model.startswith("gpt-image-2.") else "gpt-image-2"][quality]
    long, short = max(size), min(size)
    across = cells * math.floor(cells * short / long + 0.5)
    return math.ceil(across * (2e6 + long * short) / 4e6) + partials


def input_of(edit: EditRequest, sizes: Iterable[Size]) -> int:
    """The tokens of the input pictures."""
    return sum(_tiled(edit, size) if edit.model.startswith("gpt-image-1") else _patched(size) for size in sizes)


def _shape(size: Size) -> int:
    width, height = size
    return 1 if width == height else 0 if height > width else 2


def _tiled(edit: EditRequest, size: Size) -> int:
    width, height = _scaled(size, min(1.0, 2048 / max(size)))
    width, height = _scaled((width, height), min(1.0, 512 / min(width, height)))
    tiles = math.ceil(width / 512) * math.ceil(height / 512)
    return 65 + 129 * tiles + (_FIDELITY[_shape(size)] if edit.input_fidelity == "high" else 0)


def _scaled(size: tuple[float, float], factor: float) -> tuple[float, float]:
    return size[0] * factor, size[1] * factor


def _patched(size: Size) -> int:
    """32-pixel patches of the picture, which is enlarged to 1024 pixels, at most twofold, and no narrower than 1:3."""
    long, short = _scaled((max(size), min(size)), min(2.0, max(1.0, 1024 / max(size))))
    short = max(short, long / 3)
    patches = math.ceil(long / 32) * math.ceil(short / 32)
    while patches > _LARGEST_BUDGET:
        long, short = _scaled((long, short), 0.995)
        patches = math.ceil(long / 32) * math.ceil(short / 32)
    return patches
