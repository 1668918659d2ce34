"""How many tokens an edit is, by the rules that are documented for its model: from the least to the most (pure).

Of the input: GPT Image 1 counts tiles of 512 pixels after the shorter side is scaled down to 512, and adds a number by
the shape at high fidelity (OpenAI's guide on images and vision). GPT Image 2 counts patches of 32 pixels of a picture
that is scaled up to 1024 pixels at most twofold and down to 1,536 patches, which was measured and not documented: its
most is those 1,536.

Of the output: fixed numbers for three sizes and qualities (GPT Image 1, OpenAI's guide on image generation), or a
grid whose longer side is a factor of the quality (GPT Image 2, the calculator in that guide). Where the model chooses
size or quality, all that it may choose counts. GPT Image 1.5 also writes text, which nobody sees and which is paid:
about 210 tokens were measured.

Of the text: the prompt, and for each picture some tokens more, up to 40 of which were measured.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from asyncsdk.images.costs.prices import Bounds, TokenRules
from asyncsdk.images.edit import ImageEdit

Size = tuple[int, int]

PARTIAL = 100  # tokens for each partial image
PATCHES = 1536
_OVERHEAD = 64  # text tokens beside the prompt, at most, and as many again for each picture
_PATCH, _CANVAS, _SHAPE = 32, 1024, 3
_MEASURED = 0.97  # how exactly it is known to which size a picture is scaled down
_TILE, _BASE, _A_TILE, _LONGEST = 512, 65, 129, 2048
_SQUARE, _OBLONG = 4160, 6240
_LEAST_PIXELS, _MOST_PIXELS = 655_360, 8_294_400
_OFFSET, _SCALE = 2_000_000, 4_000_000
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")


def text_tokens(prompt: str, pictures: int) -> Bounds:
    """Tokens of a prompt with `pictures`: a token has at least one byte, and rarely more than six characters."""
    return len(prompt) // 6, len(prompt.encode(errors="replace")) + _OVERHEAD * (1 + pictures)


def input_tokens(rules: TokenRules, edit: ImageEdit, sizes: Sequence[Size | None], overlays: int = 0) -> Bounds:
    """Tokens of the pictures that go with an edit, of these sizes, None where that is not known.

    `overlays`: a mask and a markup, which may count as the first picture does.
    """
    each = [_patches(size) if rules.input == "patches" else _tiles(size, edit.input_fidelity) for size in sizes]
    more = overlays * each[0][1] if each else 0
    low, high = _added(each)
    return low, high + more


def output_tokens(rules: TokenRules, edit: ImageEdit) -> Bounds:
    """Tokens of one picture that is made, with its partial images."""
    size = _SIZE.fullmatch(edit.size or "")
    asked = (int(size[1]), int(size[2])) if size and edit.output_format != "gif" else None
    if rules.sizes is not None:
        low, high = _of_table(rules.sizes, edit)
    else:
        factors = _factors(rules, edit.quality)
        grids = [_grid(factor, each) for factor in factors for each in ([asked] if asked else _extremes())]
        low, high = min(grids), max(grids)
    return low, high + PARTIAL * (edit.partial_images or 0)


def left_open(rules: TokenRules, edit: ImageEdit) -> set[str]:
    """The fields that the edit leaves to the model, and that would narrow the range of its tokens."""
    by_table = rules.sizes is not None
    counts = {"size": by_table or edit.output_format != "gif", "quality": by_table or rules.factors is not None}
    return {name for name, does in counts.items() if does and (getattr(edit, name) or "auto") == "auto"}


def _factors(rules: TokenRules, quality: str | None) -> Iterable[int]:
    if rules.factors is None:
        return rules.bounds or (0, 0)
    known = rules.factors.get(quality or "auto")
    return rules.factors.values() if known is None else [known]


def _of_table(table: Mapping[str, Mapping[str, Bounds]], edit: ImageEdit) -> Bounds:
    size, quality = edit.size or "auto", edit.quality or "auto"
    rows = [table[size]] if size in table else table.values()
    cells = [cell for row in rows for cell in ([row[quality]] if quality in row else row.values())]
    return min(low for low, _ in cells), max(high for _, high in cells)


def _extremes() -> Iterable[Size]:
    """The sizes with the least and the most tokens of those that a model may choose."""
    short = math.isqrt(_LEAST_PIXELS // _SHAPE)
    side = math.isqrt(_MOST_PIXELS)
    return (short * _SHAPE, short), (side, side)


def _grid(factor: int, size: Size) -> int:
    long, short = max(size), min(size)
    cells = factor * ((2 * factor * short + long) // (2 * long))
    return math.ceil(cells * (_OFFSET + long * short) / _SCALE)


def _patches(size: Size | None) -> Bounds:
    if size is None:
        return 1, PATCHES
    scale = min(2.0, max(1.0, _CANVAS / max(size)))
    long = max(size) * scale
    short = max(min(size) * scale, long / _SHAPE)
    shrink = min(1.0, _MEASURED * math.sqrt(PATCHES * _PATCH**2 / (long * short)))
    cells = math.floor(long * shrink / _PATCH) * math.floor(short * shrink / _PATCH)
    return max(1, min(cells, PATCHES)), PATCHES


def _tiles(size: Size | None, fidelity: str | None) -> Bounds:
    if size is None:
        low, high, is_square = _BASE + _A_TILE, _BASE + _A_TILE * (_LONGEST // _TILE), None
    else:
        low = high = _BASE + _A_TILE * _tiles_along(max(size), min(size))
        is_square = size[0] == size[1]
    if fidelity in {None, "low"}:
        return low, high
    return low + _SQUARE, high + (_SQUARE if is_square else _OBLONG)


def _tiles_along(long: int, short: int) -> int:
    """Tiles of a picture, whose shorter side fits into one; in whole numbers, since a rounding error is a row more."""
    if short * _LONGEST > _TILE * max(long, _LONGEST):  # it is scaled down to one tile
        return -(-long // short)
    return -(-min(long, _LONGEST) // _TILE)


def _added(bounds: Iterable[Bounds]) -> Bounds:
    pairs = list(bounds)
    return sum(low for low, _ in pairs), sum(high for _, high in pairs)
