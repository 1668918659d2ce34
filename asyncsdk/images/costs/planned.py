"""What the edits of a plan cost together: directly and in a batch, and what of them has no price (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from attrs import define, field, frozen

from asyncsdk.images.costs.money import CostRange
from asyncsdk.images.costs.pricing import Pricing
from asyncsdk.images.edit import ImageEdit, Loaded


@frozen
class PricesRead:
    """When the prices of an estimate were read, where from, and a warning if that is long ago."""

    read: date | None
    origin: str
    warning: str | None = None


@define
class PlannedCosts:
    """The sums of the edits that were added so far, as of `today`."""

    pricing: Pricing
    today: date
    total: CostRange = field(factory=CostRange, init=False)
    _batch: CostRange | None = field(factory=CostRange, init=False)
    _priced: int = field(default=0, init=False)
    _unpriced: int = field(default=0, init=False)
    _open: set[str] = field(factory=set, init=False)
    _models: dict[str, None] = field(factory=dict, init=False)

    def add(self, edit: ImageEdit, images: Sequence[Loaded] | None = None) -> None:
        """Add one edit; `images` are its pictures as they were read, if they were."""
        cost, price = self.pricing.estimate(edit, images), self.pricing.table.of(edit.model)
        if cost is None or price is None:
            self._unpriced += 1
            self._models[str(edit.model or "")] = None
            return
        self._priced += 1
        self.total += cost
        self._open |= self.pricing.left_open(edit)
        part = price.batch
        self._batch = None if part is None or self._batch is None else self._batch + cost.times(part)

    def hold_back(self, edit: ImageEdit) -> None:
        """Note what an edit that has no room leaves to the server: with that given it may have."""
        self._open |= self.pricing.left_open(edit)

    def fields(self) -> dict[str, Any]:
        """The sums, as an `EditPlan` has them."""
        table = self.pricing.table
        return {
            "cost": self.total if self._priced else None,
            "batch_cost": self._batch if self._priced else None,
            "left_to_server": tuple(sorted(self._open, reverse=True)),
            "unpriced": self._unpriced,
            "unpriced_models": tuple(self._models),
            "prices": PricesRead(table.read, table.origin, table.warning(self.today)),
        }
