"""`EditPlan`: what a run of edits would do and cost, before anything is sent."""

from __future__ import annotations

from attrs import define, field, frozen

from asyncsdk.error_details import LedgerDamage
from asyncsdk.images.bulk.intake import PreparedEdit
from asyncsdk.images.outcome import EditOutcome


@frozen(kw_only=True)
class EditPlan:
    """What a run would do.

    Attributes:
        to_send: How many edits would be sent.
        done: How many an earlier run did.
        uncertain: How many may have been paid by an earlier run, and would not be sent.
        refused: How many the server refused in an earlier run, and would not be sent.
        problems: The edits that can't be sent as they are, and those done before whose pictures are gone.
        input_images: The pictures of what would be sent, times `n`: what counts against the rate limit.
        minutes: How long they take at the given `images_per_minute`; None without it.
        damage: The damaged parts of the ledger. A run stops at them unless `accept_damage` is set.
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
    """Counts prepared edits."""

    _to_send: int = 0
    _input_images: int = 0
    _earlier: dict[str, int] = field(factory=lambda: {"skipped": 0, "uncertain": 0, "refused": 0})
    _problems: list[EditOutcome] = field(factory=list)

    def count(self, prepared: PreparedEdit | EditOutcome | None) -> None:
        """Add one edit; None is outside the run's filter."""
        if isinstance(prepared, PreparedEdit):
            self._to_send += 1
            self._input_images += prepared.edit.input_images
        elif prepared is not None and (prepared.error is not None or prepared.is_gone):
            self._problems.append(prepared)
        elif prepared is not None:
            self._earlier[prepared.status] += 1

    def plan(self, images_per_minute: float | None, *, damage: tuple[LedgerDamage, ...] = ()) -> EditPlan:
        """The plan of all that were counted."""
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
