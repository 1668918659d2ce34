"""`EditPlan`: what a run of edits would do and cost, told before anything is sent (pure)."""

from __future__ import annotations

from attrs import define, field, frozen

from asyncsdk.error_details import LedgerDamage
from asyncsdk.images.bulk.intake import PreparedEdit
from asyncsdk.images.outcome import EditOutcome


@frozen(kw_only=True)
class EditPlan:
    """Counts of edits. `to_send` would be sent; `done`, `uncertain` and `refused` would not: earlier runs met them.

    `problems` are those that can't be sent as they are, and those done before whose pictures are gone. `input_images`
    is the sum over what would be sent of pictures times `n`, and `minutes` how long they take at the given rate, None
    without one. `damage` is what of the ledger can't be believed: a run stops at it unless `accept_damage` is set.
    """

    to_send: int
    done: int
    uncertain: int
    refused: int
    problems: tuple[EditOutcome, ...]
    input_images: int
    minutes: float | None
    damage: tuple[LedgerDamage, ...] = ()


@define
class PlanBuilder:
    """Adds up what preparing each edit came to."""

    _to_send: int = 0
    _input_images: int = 0
    _earlier: dict[str, int] = field(factory=lambda: {"skipped": 0, "uncertain": 0, "refused": 0})
    _problems: list[EditOutcome] = field(factory=list)

    def count(self, prepared: PreparedEdit | EditOutcome | None) -> None:
        """Add one edit; None is one that the run is not about."""
        if isinstance(prepared, PreparedEdit):
            self._to_send += 1
            self._input_images += prepared.edit.input_images
        elif prepared is not None and (prepared.error is not None or prepared.is_gone):
            self._problems.append(prepared)
        elif prepared is not None:
            self._earlier[prepared.status] += 1

    def plan(self, images_per_minute: float | None, *, damage: tuple[LedgerDamage, ...] = ()) -> EditPlan:
        """What it all comes to."""
        return EditPlan(
            to_send=self._to_send,
            done=self._earlier["skipped"],
            uncertain=self._earlier["uncertain"],
            refused=self._earlier["refused"],
            problems=tuple(self._problems),
            input_images=self._input_images,
            minutes=self._input_images / images_per_minute if images_per_minute else None,
            damage=damage,
        )
