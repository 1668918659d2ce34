"""Reads how far all copies of a run are: now and then, and only while somebody looks at it."""

from __future__ import annotations

import logging
import math
import uuid
from collections import Counter

import anyio
from attrs import define, field

from asyncsdk.clock import boot_time
from asyncsdk.images.ledger.progress import LedgerProgress
from asyncsdk.postgres import DatabaseFault, NotMadeError
from asyncsdk.postgres.database import Database

PAUSE = 3.0  # seconds between two readings, of which each reads all edits
INTEREST = 15.0  # for how long after a look: who looks every ten seconds sees what was true a moment ago
LEAST_REST = 20  # times what a reading took: a large ledger is read more seldom

logger = logging.getLogger(__name__)


@define(eq=False)
class WholeWatch:
    """Reads the counts by the connection that is there, and only while somebody looks."""

    _database: Database
    _holder: uuid.UUID
    _last: LedgerProgress | None = field(default=None, init=False)
    _wanted: anyio.Event = field(factory=anyio.Event, init=False)
    _looked: float = field(default=-math.inf, init=False)  # in seconds of elapsed time

    def look(self) -> LedgerProgress | None:
        """The last reading, and ask for others."""
        self._looked = boot_time()
        self._wanted.set()
        return self._last

    async def keep(self) -> None:
        """Read every few seconds, as long as it is asked for, until this is cancelled."""
        while True:
            if boot_time() > self._looked + INTEREST:
                self._wanted = anyio.Event()
                await self._wanted.wait()
            began = boot_time()
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
