"""What the ledger is told of one edit of a run. Where there is no ledger, nothing is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from asyncsdk.errors import LedgerError
from asyncsdk.images.bulk.ledger import Ledger
from asyncsdk.images.bulk.preparing import Ready
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.images.saving import RAW


@frozen
class Entry:
    """The edit's part of the ledger."""

    _ledger: Ledger | None
    _ready: Ready

    @property
    def drafts(self) -> Path | None:
        """Where its pictures are written before they take their place; None for beside that."""
        if self._ledger is None or self._ready.place is None:
            return None
        return self._ledger.drafts_for(self._ready.place.directory)

    @property
    def name(self) -> str:
        """What the caller calls the edit."""
        return self._ready.id

    @property
    def raw_folder(self) -> Path | None:
        """Where what came in the place of its pictures is kept; None for nowhere."""
        return None if self._ledger is None else self._ledger.directory / RAW

    async def intend(self) -> None:
        """Write down that it is about to be sent. Raises LedgerError."""
        if self._ledger is not None and self._ready.item is not None:
            await self._ledger.intend(
                self._ready.item, id=self._ready.name, n=self._ready.edit.n or 1, source=self._ready.source
            )

    def release(self) -> None:
        """Write down that the server did nothing for it."""
        if self._ledger is not None and self._ready.item is not None:
            self._ledger.release(self._ready.item)

    def is_anothers(self, stem: str) -> bool:
        """Whether a picture of this name, relative to the directory and without suffix, is or may be another edit's."""
        return self._owner_of(stem) not in {None, self._ready.item}

    async def moved(self, files: Mapping[str, str]) -> None:
        """Write down which pictures of other edits made way for its own, from where to where."""
        owners = {was: self._owner_of(was.rpartition(".")[0]) for was in files}
        for item in dict.fromkeys(owners.values()):
            if self._ledger is not None and item is not None and item != self._ready.item:
                with suppress(LedgerError):  # the last word meets it too; the pictures are saved first
                    await self._ledger.moved(item, {was: now for was, now in files.items() if owners[was] == item})

    def _owner_of(self, stem: str) -> str | None:
        return None if self._ledger is None else self._ledger.owner_of(stem)

    async def end(self, outcome: EditOutcome) -> None:
        """Write down how it ended. Raises LedgerError."""
        if self._ledger is None or self._ready.item is None:
            return
        place, result = self._ready.place, outcome.result
        await self._ledger.end(
            self._ready.item,
            outcome.status,
            id=self._ready.name,
            problem=outcome.problem,
            files=tuple(path.relative_to(place.directory).as_posix() for path in outcome.files) if place else (),
            usage=outcome.usage,
            images=None if result is None else len(result.images),
            request_id=None if result is None else result.request_id,
        )
