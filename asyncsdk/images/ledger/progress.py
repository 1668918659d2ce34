"""How far all copies of a run are together, as a value, and what knows it (pure)."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen


@frozen(kw_only=True)
class LedgerProgress:
    """All edits of a ledger that machines share, of this run and of earlier ones, by how they are now.

    Attributes:
        done: Paid and kept.
        failed: Not paid; the next run sends them again.
        refused: Not paid; they are not sent again.
        uncertain: Maybe paid.
        here: This copy works at them.
        held: Other copies work at them.
        batched: In batches that have not ended.
        free: Nobody works at them, and they have not ended: they were given back.
        copies: How many copies are at work, this one included.
    """

    done: int = 0
    failed: int = 0
    refused: int = 0
    uncertain: int = 0
    here: int = 0
    held: int = 0
    batched: int = 0
    free: int = 0
    copies: int = 1

    @property
    def known(self) -> int:
        """How many edits the ledger has; of those of a list that it does not have, none was sent."""
        ended = self.done + self.failed + self.refused + self.uncertain
        return ended + self.here + self.held + self.batched + self.free


class Whole(Protocol):
    """What knows how far all copies are."""

    def look(self) -> LedgerProgress | None:
        """How far they were a few seconds ago; None where that is not known yet, or never."""
