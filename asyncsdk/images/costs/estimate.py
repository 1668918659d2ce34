"""What an edit will cost, before it is sent: from its fields and the sizes of its pictures, as a range (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from asyncsdk.images.costs.money import CostRange
from asyncsdk.images.costs.prices import Bounds, PriceTable
from asyncsdk.images.costs.tokens import Size, input_tokens, output_tokens, text_tokens
from asyncsdk.images.edit import ImageEdit

_DECIDING = {"model", "n", "size", "quality", "input_fidelity", "output_format", "partial_images"}


def estimate(edit: ImageEdit, prices: PriceTable, sizes: Sequence[Size | None] | None = None) -> CostRange | None:
    """What `edit` costs if it is sent directly; None where its model has no price, or its tokens are not documented.

    `sizes` are those of its pictures, as far as they are known. Each of its `n` pictures is charged for the input
    again. The lower end takes nothing as cached.
    """
    price = prices.of(edit.model) if _is_plain(edit) else None
    if price is None or price.tokens is None or edit.output_format == "svg":  # an SVG's model is charged beside it
        return None
    known = sizes if sizes is not None else [None] * len(edit.image)
    overlays = (edit.mask is not None) + (edit.markup is not None)
    each = (
        _priced(text_tokens(edit.prompt, len(known) + overlays), price.text.input),
        _priced(input_tokens(price.tokens, edit, known, overlays), price.image.input),
        _priced(output_tokens(price.tokens, edit), price.image.output),
        _priced((0, price.tokens.text), price.written),
    )
    one, n = sum(each, CostRange()), edit.n or 1
    return CostRange(one.low * n, one.high * n)


def _is_plain(edit: ImageEdit) -> bool:
    """Whether what decides on the price is of its own kind, unchecked as it may be, and not in `extra`."""
    prompt: object = edit.prompt
    texts = (edit.model, edit.size, edit.quality, edit.input_fidelity, edit.output_format)
    counts = (edit.n, edit.partial_images)
    return (
        isinstance(prompt, str)
        and all(text is None or isinstance(text, str) for text in texts)
        and all(count is None or (type(count) is int and count >= 0) for count in counts)
        and _DECIDING.isdisjoint(edit.extra or ())
    )


def _priced(tokens: Bounds, rate: int) -> CostRange:
    return CostRange(tokens[0] * rate, tokens[1] * rate)
