"""Whose a picture's name is, as far as the ledger knows, for who gives pictures their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Protocol

from attrs import frozen

from asyncsdk.errors import LedgerError
from asyncsdk.images.destination import beside


class NameKeeper(Protocol):
    """A ledger that knows whose each name is."""

    def owner_of(self, stem: str) -> str | None:
        """The edit that has, or may have, written a picture of this name: relative to the target, no suffix."""

    async def moved(self, item: str, files: Mapping[str, str]) -> None:
        """Write down that pictures of `item` are moved aside for those of another. Raises LedgerError."""


@frozen
class PictureOwner:
    """One edit, by its item, whose pictures get their names; without a keeper nothing is known of others.

    `apart` is what is added to a name that is taken. None: what has the name is moved aside.
    """

    keeper: NameKeeper | None
    item: str | None
    apart: str | None = None

    @property
    def is_shared(self) -> bool:
        """Whether other processes may have edits of the same ledger now: what has a name keeps it."""
        return self.apart is not None

    def beside(self, name: str) -> Iterator[str]:
        """Names for a picture in place of `name`, without suffix, in the order in which they are tried."""
        if self.apart is not None:
            yield f"{name}{self.apart}"
        yield from beside(f"{name}{self.apart or ''}")

    def is_anothers(self, stem: str) -> bool:
        """Whether a picture of this name, relative to the target and without suffix, may be another edit's."""
        return self._owner_of(stem) not in {None, self.item}

    async def moved(self, files: Mapping[str, str]) -> None:
        """Record which pictures of other edits were moved aside for its own, from where to where."""
        owners = {was: self._owner_of(was.rpartition(".")[0]) for was in files}
        for item in dict.fromkeys(owners.values()):
            if self.keeper is not None and item is not None and item != self.item:
                with suppress(LedgerError):  # the end of the edit raises it too; the pictures are saved first
                    await self.keeper.moved(item, {was: now for was, now in files.items() if owners[was] == item})

    def _owner_of(self, stem: str) -> str | None:
        return None if self.keeper is None else self.keeper.owner_of(stem)
