"""Whose a picture's name is, as far as the ledger knows, for who gives pictures their names."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from attrs import frozen

from asyncsdk.errors import LedgerError
from asyncsdk.images.ledger.file import Ledger


@frozen
class PictureOwner:
    """One edit, by its item, whose pictures get their names; without a ledger nothing is known of others."""

    ledger: Ledger | None
    item: str | None

    def is_anothers(self, stem: str) -> bool:
        """Whether a picture of this name, relative to the target and without suffix, may be another edit's."""
        return self._owner_of(stem) not in {None, self.item}

    async def moved(self, files: Mapping[str, str]) -> None:
        """Record which pictures of other edits were moved aside for its own, from where to where."""
        owners = {was: self._owner_of(was.rpartition(".")[0]) for was in files}
        for item in dict.fromkeys(owners.values()):
            if self.ledger is not None and item is not None and item != self.item:
                with suppress(LedgerError):  # the end of the edit raises it too; the pictures are saved first
                    await self.ledger.moved(item, {was: now for was, now in files.items() if owners[was] == item})

    def _owner_of(self, stem: str) -> str | None:
        return None if self.ledger is None else self.ledger.owner_of(stem)
