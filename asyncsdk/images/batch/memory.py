"""What a run of batches asks of its ledger besides rows, as a `BatchMemory`; and the one of a ledger in files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from attrs import evolve, frozen

from asyncsdk.images.batch.rows import BatchRow
from asyncsdk.images.ledger import Ledger
from asyncsdk.images.ledger.book import BatchBook, BatchRecord, creating_of, needs_of
from asyncsdk.images.ledger.file import FileLedger
from asyncsdk.images.ledger.states import ItemState


class BatchMemory(Protocol):
    """The batches of a ledger. All of it may fail with LedgerError."""

    @property
    def rows(self) -> Ledger:
        """The ledger itself."""

    @property
    def book(self) -> BatchBook:
        """The batches, as far as this process has read them."""

    async def refresh(self) -> None:
        """Read what other processes have written of batches."""

    async def note(self, *facts: Mapping[str, Any]) -> None:
        """Return once these facts of `ledger/book.py` are written, in their order."""

    async def of_batch(self, batch: str) -> dict[str, ItemState]:
        """The edits that are in a batch, or ended in it, in the order of its lines."""

    async def states(self, items: Collection[str]) -> dict[str, ItemState]:
        """The states of edits as they are now, of those that have one."""

    async def begin(self, record: BatchRecord, rows: Sequence[BatchRow]) -> tuple[BatchRecord | None, frozenset[str]]:
        """Return once it is written that these edits are in a batch, and that it is created next.

        With the number that it has. None, and nothing is written, where some of them are another process's by now:
        these items.
        """

    def may_create(self, record: BatchRecord) -> bool:
        """Whether no other process can have taken it for lost since `begin`: it is asked before the first byte."""

    async def withdraw(self, record: BatchRecord, keep: Collection[str]) -> frozenset[str]:
        """Write down that surely nothing of a batch was done. Returns those of `keep` that may go into others."""

    async def give_back(self, items: Iterable[str]) -> None:
        """Leave edits to others, which are in no batch."""

    async def take_up(self, batches: Iterable[str]) -> frozenset[str]:
        """Those of these open batches that are this process's to bring to their ends."""

    async def is_last(self) -> bool:
        """Claim nothing more; whether no other process works with the ledger."""

    async def set_aside(self, pictures: Sequence[str]) -> bool:
        """After `is_last`: write down that no line refers to these any more, also of processes that begin now.

        False, and nothing is written, where one has begun since.
        """

    async def compact(self) -> None:
        """Forget what only batches that are closed needed, where that pays."""

    def attempt(self, item: str) -> int:
        """The number of the attempt that an edit has next, by which its `custom_id` is another one each time."""

    def tries(self, item: str) -> int:
        """In how many batches it failed."""

    async def failed(self, item: str) -> None:
        """An edit is about to be recorded as failed in a batch."""

    def digest(self, item: str) -> str:
        """What is of an edit in its `custom_id`: a digest, `#`, and a number."""


@frozen
class FileBatches:
    """The batches of a ledger in files, which one process has at a time."""

    rows: FileLedger

    @property
    def book(self) -> BatchBook:
        """The batches."""
        return self.rows.book

    async def refresh(self) -> None:
        """No other process writes."""

    async def note(self, *facts: Mapping[str, Any]) -> None:
        """Write down facts. Raises LedgerError."""
        await self.rows.note(*facts)

    async def of_batch(self, batch: str) -> dict[str, ItemState]:
        """The edits that are in a batch, or ended in it, in the order of its lines."""
        return dict(self.rows.of_batch(batch))

    async def states(self, items: Collection[str]) -> dict[str, ItemState]:
        """The states of edits, of those that have one."""
        return {item: state for item in items if (state := self.rows.state(item)) is not None}

    async def begin(self, record: BatchRecord, rows: Sequence[BatchRow]) -> tuple[BatchRecord | None, frozenset[str]]:
        """Write down the rows, and then that the batch is created: rows alone are in no batch. Raises LedgerError."""
        numbered = evolve(record, number=self.book.last + 1)
        await self.note(*(_batched(row, record.key) for row in rows))
        needs = needs_of(record.key, (file_id for row in rows for file_id in row.needs))
        await self.note(*needs, creating_of(numbered))
        return numbered, frozenset()

    def may_create(self, record: BatchRecord) -> bool:  # noqa: ARG002 - as the protocol
        """Always: the ledger's lock is held as long as its process lives."""
        return True

    async def withdraw(self, record: BatchRecord, keep: Collection[str]) -> frozenset[str]:
        """Its rows are as they were before it. Raises LedgerError."""
        await self.note({"t": "withdrawn", "batch": record.key})
        return frozenset(keep)

    async def give_back(self, items: Iterable[str]) -> None:
        """There are no others."""

    async def take_up(self, batches: Iterable[str]) -> frozenset[str]:
        """All."""
        return frozenset(batches)

    async def is_last(self) -> bool:
        """Always."""
        return True

    async def set_aside(self, pictures: Sequence[str]) -> bool:  # noqa: ARG002 - as the protocol
        """Nobody else can refer to them: the ledger is locked."""
        return True

    async def compact(self) -> None:
        """That is done when the ledger is opened."""

    def attempt(self, item: str) -> int:
        """One more than it was in batches."""
        state = self.rows.state(item)
        return 1 + (0 if state is None else state.attempt)

    def tries(self, item: str) -> int:
        """How often it was in one, if it failed."""
        state = self.rows.state(item)
        return state.attempt if state is not None and state.status == "failed" else 0

    async def failed(self, item: str) -> None:
        """Its state counts that."""

    def digest(self, item: str) -> str:
        """The item is made of that."""
        return item


def _batched(row: BatchRow, batch: str) -> dict[str, Any]:
    """The fact that an edit is in a batch."""
    fact: dict[str, Any] = {"t": "batched", "item": row.item, "id": row.name, "n": row.n, "source": row.source}
    return fact | {"batch": batch, "try": row.attempt} | ({} if row.most is None else {"cost": row.most})
