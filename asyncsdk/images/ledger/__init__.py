"""The memory of edits: what was sent, what was paid, what is uncertain; and what a run asks of it, as a `Ledger`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from attrs import frozen

from asyncsdk.error_details import LedgerDamage
from asyncsdk.images.idempotency import EditKey
from asyncsdk.images.ledger.owner import PictureOwner
from asyncsdk.images.ledger.progress import Whole
from asyncsdk.images.ledger.states import ItemState
from asyncsdk.images.outcome import Problem, Status
from asyncsdk.models import Usage


@frozen
class KnownItem:
    """An edit of a ledger. `is_held`: a process works at it."""

    item: str
    state: ItemState
    is_held: bool = False


class ClaimLostError(Exception):
    """The claim of an edit is over, and nothing was sent under it: the edit is another's now."""


class Ledger(Protocol):
    """The state of each edit, by its item: how the ledger calls it.

    A ledger in files knows an edit by its content, which a run reads first; a shared one by its id. All may fail with
    LedgerError.
    """

    @property
    def directory(self) -> Path:
        """A directory of this machine for what came in the place of pictures, and for pictures that wait."""

    @property
    def damage(self) -> tuple[LedgerDamage, ...]:
        """What of it is not as it was written."""

    @property
    def patience(self) -> float:
        """For how many seconds it may be away while something is written, and is waited for."""

    @property
    def whole(self) -> Whole | None:
        """What knows how far all copies are; None for a ledger that one process has."""

    async def watch(self, out: Path) -> None:
        """Take no more facts once `out`, where the pictures go, is not the directory any more that it is now."""

    def drafts_for(self, out: Path) -> Path | None:
        """Where pictures for `out` are written before they take their place; None for beside it."""

    def stop_copies(self) -> None:
        """Stop all processes that work with it for this run."""

    def owner(self, item: str | None) -> PictureOwner:
        """An edit, for who gives its pictures their names."""

    async def look_up(self, ids: Sequence[str]) -> Sequence[ItemState | None]:
        """The states of a page of edits, by their ids, before their pictures are read; None for one it has not."""

    async def owners_of(self, stems: Sequence[str]) -> Sequence[KnownItem | None]:
        """The edits that have, or may have, pictures of these names: relative to the target, no suffix."""

    async def intend(
        self,
        item: str,
        *,
        id: str,  # noqa: A002 - its name
        n: int,
        source: str | None = None,
        cost: int | None = None,
        key: EditKey | None = None,
        again: bool = False,
    ) -> None:
        """Return once it is written that `item` is about to be sent, with the name of its `n` pictures.

        `cost`: what it costs at most, in billionths of a dollar. `key`: by which the server knows it again. `again`: it
        may have been made, and its answer is asked for again by that key.
        """

    def may_send(self, item: str) -> bool:
        """Whether the first byte of `item` may go out now: what `intend` wrote is true still, however long ago."""

    def release(self, item: str) -> None:
        """Write down that the server did nothing for `item`. Where that is lost it counts as uncertain, at no cost."""

    async def end(
        self,
        item: str,
        status: Status,
        *,
        id: str,  # noqa: A002 - as above
        problem: Problem | None = None,
        files: tuple[str, ...] = (),
        usage: Usage | None = None,
        cost: int | None = None,
        again: bool = False,
        images: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """Write down how `item` ended: what went wrong with it, what is on disk, what it cost.

        `again`: it was uncertain, and its answer was asked for again by its key.
        """

    async def moved(self, item: str, files: Mapping[str, str]) -> None:
        """Write down that pictures of `item` are moved aside for those of another: from where to where each."""

    async def delivered(self, item: str, files: Iterable[str], status: Status) -> None:
        """Write down that pictures of `item`, which waited in the ledger's directory, are in their bucket now."""

    async def redo_before(self, requested: float) -> float:
        """Up to when a redo as of `requested` (unix time) reaches; one that is ahead of the clock is written down."""
