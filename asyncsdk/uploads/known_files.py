"""`KnownFiles`: the Files in the journal, none of which is that of a request whose response was lost."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from attrs import define, field

from asyncsdk.uploads.journal import Completed, Journal
from asyncsdk.uploads.rounds import Rounds

_SHARE = 20.0  # a journal that takes a second to read is read again after so many: where many responses are lost


@define(eq=False)
class KnownFiles:
    """The ids of all Files that the journal has, also of other processes; as new as reading it allows."""

    _journal: Journal
    _ids: frozenset[str] = field(default=frozenset(), init=False)
    _stale_at: float = field(default=-math.inf, init=False)
    _rounds: Rounds[None, frozenset[str]] = field(factory=Rounds, init=False)

    async def ids(self) -> frozenset[str]:
        """Read them, once for all that ask at the time. Raises JournalError."""
        return self._ids if time.monotonic() < self._stale_at else await self._rounds.ask(None, self._read)

    async def _read(self, _: Sequence[None]) -> frozenset[str]:
        began = time.monotonic()
        records = (record for entry in await self._journal.entries() for record in entry.records)
        self._ids = frozenset(str(record.file.get("id")) for record in records if isinstance(record, Completed))
        self._stale_at = began + _SHARE * (time.monotonic() - began)
        return self._ids
