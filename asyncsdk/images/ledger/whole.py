"""Reads how far all copies of a run are: now and then, and only while somebody looks at it."""

from __future__ import annotations

import logging
import uuid
from collections import Counter

import anyio
from attrs import define, field

from asyncsdk.clock import boot_time
from asyncsdk.images.ledger.progress import LedgerProgress
from asyncsdk.postgres import DatabaseFault, NotMadeError
from asyncsdk.postgres.database import Database

PAUSE = 3.0  # seconds between two readings, of which each reads all edits
LEAST_REST = 20  # times what a reading took: a large ledger is read more seldom

logger = logging.getLogger(__name__)


@define(eq=False)
class WholeWatch:
    """Reads the counts by the connection that is there, and only where somebody looked since the last reading."""

    _database: Database
    _holder: uuid.UUID
    _last: LedgerProgress | None = field(default=None, init=False)
    _wanted: anyio.Event = field(factory=anyio.Event, init=False)

    def look(self) -> LedgerProgress | None:
        """The last reading, and ask for another one."""
        self._wanted.set()
        return self._last

    async def keep(self) -> None:
        """Read as often as it is asked for, and not more often than every few seconds, until this is cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted, began = anyio.Event(), boot_time()
            try:
                rows = await self._database.run("ledger_whole", self._holder, writes=False, patience=0)
            except (DatabaseFault, NotMadeError) as failed:  # it is only looked at
                logger.debug("how far all copies are is not known now: %s", failed)
            else:
                self._last = _progress(rows[0]["copies"], {row["state"]: row["number"] for row in rows})
            await anyio.sleep(max(PAUSE, LEAST_REST * (boot_time() - began)))


def _progress(copies: int, numbers: dict[str | None, int]) -> LedgerProgress:
    states = Counter({state: number for state, number in numbers.items() if state is not None})
    return LedgerProgress(copies=copies, **states)
