"""What a run of batches asks of its ledger, as a `BatchLedger`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from asyncsdk.images.batch.rows import BatchRow
from asyncsdk.images.ledger import Ledger
from asyncsdk.images.ledger.book import BatchBook
from asyncsdk.images.ledger.states import ItemState


class BatchLedger(Ledger, Protocol):
    """A ledger that has batches. All of it may fail with LedgerError."""

    @property
    def book(self) -> BatchBook:
        """The batches, as far as this process has read them."""

    def state(self, item: str) -> ItemState | None:
        """The state of an edit; None for one that was never sent."""

    def of_batch(self, batch: str) -> Iterator[tuple[str, ItemState]]:
        """The edits that are in a batch, or ended in it, in the order of its lines."""

    async def note(self, *facts: Mapping[str, Any]) -> None:
        """Return once these facts of `ledger/book.py` are written, in their order."""

    async def next_number(self) -> int:
        """The number of the next batch."""

    async def put_in_batch(self, batch: str, rows: Sequence[BatchRow]) -> None:
        """Return once it is written that these edits are in the batch that is created next."""

    async def take_up(self, batches: Iterable[str]) -> frozenset[str]:
        """Those of these open batches that are this process's to bring to their ends."""
