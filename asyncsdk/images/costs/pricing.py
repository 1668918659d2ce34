"""What the edits of one run cost by one table: each at most before it is sent, and what it was after (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from asyncsdk.api import ImageFile
from asyncsdk.errors import InvalidEditError
from asyncsdk.images.check import invalid
from asyncsdk.images.costs.estimate import estimate
from asyncsdk.images.costs.money import CostRange
from asyncsdk.images.costs.prices import PriceTable
from asyncsdk.images.costs.tokens import Size, left_open
from asyncsdk.images.edit import HeicImage, ImageEdit, Loaded
from asyncsdk.images.header import BadPicture, look
from asyncsdk.models import Usage


@frozen
class Pricing:
    """A table of prices, and whether the run has a limit in dollars: then it knows what each edit costs at most."""

    table: PriceTable
    is_limited: bool = False

    def estimate(self, edit: ImageEdit, images: Sequence[Loaded] | None = None) -> CostRange | None:
        """What an edit will cost; `images` are its pictures as they were read, if they were."""
        return estimate(edit, self.table, None if images is None else [size_of(image) for image in images])

    def most(self, edit: ImageEdit, images: Sequence[Loaded] | None = None, *, batched: bool = False) -> int | None:
        """What an edit costs at most, directly or in a batch, in billionths of a dollar; None where that is not known.

        Raises InvalidEditError for one that has a `refusal`.
        """
        known = self.estimate(edit, images)
        if known is None and (refusal := self.refusal(edit)) is not None:
            raise refusal
        price = self.table.of(edit.model) if batched else None
        part = 1.0 if price is None or price.batch is None else price.batch
        return None if known is None else known.times(part).high

    def refusal(self, edit: ImageEdit) -> InvalidEditError | None:
        """Why a limit in dollars can't count an edit, whatever its pictures are; None: it can."""
        if not self.is_limited or self.estimate(edit) is not None:
            return None
        why = f"a limit in dollars needs to know what each edit costs, and {self._unknown(edit)} Nothing was sent."
        return invalid(why, "without a known price")

    def left_open(self, edit: ImageEdit) -> frozenset[str]:
        """Which of "size" and "quality" it leaves to the server: given, it counts with less."""
        price = self.table.of(edit.model)
        return frozenset() if price is None or price.tokens is None else frozenset(left_open(price.tokens, edit))

    def cost(self, edit: ImageEdit, usage: Usage | None, *, batched: bool = False) -> int | None:
        """What an edit that used this cost, in billionths of a dollar; None where that is not known."""
        if edit.output_format == "svg" or "model" in (edit.extra or ()):  # an SVG's own model is charged beside it
            return None
        return self.table.cost(edit.model, usage, batched=batched)

    def _unknown(self, edit: ImageEdit) -> str:
        """What is not known of an edit, and what to do about it."""
        if edit.output_format == "svg":
            return "for an SVG that is not known. Limit tokens or edits instead."
        if edit.model is None:
            return "this one leaves its model to the server. Give it a `model`."
        if self.table.of(edit.model) is not None:
            return "that of this one can't be told from its fields. Limit tokens or edits instead."
        none = f"the prices from {self.table.origin} have none for {edit.model}"
        return f"{none}. Give its price in a table of your own, or limit tokens or edits instead."


def size_of(image: Loaded) -> Size | None:
    """The size of a picture that was read; None for a reference, and for what has none."""
    if isinstance(image, HeicImage):
        return image.header.size
    if not isinstance(image, ImageFile):
        return None
    try:
        header = look(image.content)
    except BadPicture:
        return None
    return None if header is None else header.size
