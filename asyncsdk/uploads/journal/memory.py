"""`MemoryJournal`: forgets with the process."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from attrs import define, field

from asyncsdk.errors import JournalError
from asyncsdk.uploads.journal import JournalEntry, Log, Owner, Record
from asyncsdk.uploads.journal.messages import tell_busy
from asyncsdk.uploads.journal.retention import compacted, keep_until, purge_is_due, sure_time
from asyncsdk.wal.lock import this_host


@define(eq=False)
class MemoryLog:
    """The log of one claim."""

    _records: list[Record]
    _purge: Callable[[float], Awaitable[None]]
    _closed: bool = field(default=False, init=False)

    @property
    def records(self) -> Sequence[Record]:
        return tuple(self._records)

    async def append(self, record: Record) -> None:
        if self._closed:
            raise JournalError("the claim is over; the record was not kept")
        self._records.append(record)

    async def append_final(self, record: Record) -> None:
        await self.append(record)
        now = sure_time(self._records, record, local=time.time())
        self._records[:] = compacted(self._records, record)
        await self._purge(now)

    def close(self) -> None:
        self._closed = True


@define(eq=False)
class _Shelf:
    records: list[Record] = field(factory=list)
    turn: anyio.Semaphore = field(factory=lambda: anyio.Semaphore(1))

    @property
    def is_held(self) -> bool:
        return self.turn.value == 0


@define(eq=False)
class MemoryJournal:
    """Remembers as long as the process lives. Claims keep each other out within one event loop."""

    _shelves: dict[str, _Shelf] = field(factory=dict, init=False, repr=False)
    _purged_at: float = field(factory=time.time, init=False, repr=False)

    @asynccontextmanager
    async def claim(
        self, key: str, *, wait: bool = True, on_busy: Callable[[Owner | None], None] | None = None
    ) -> AsyncIterator[Log]:
        """Own `key` for the length of the block, as `Journal.claim` says."""
        shelf = self._shelves.setdefault(key, _Shelf())
        if shelf.is_held:
            tell_busy(_this_process(), wait=wait, on_busy=on_busy)
        async with shelf.turn:
            log = MemoryLog(shelf.records, self._purge_daily)
            try:
                yield log
            finally:
                log.close()

    async def entries(self) -> Sequence[JournalEntry]:
        """Return all keys with their records."""
        return [
            JournalEntry(key, tuple(shelf.records), _this_process() if shelf.is_held else None)
            for key, shelf in sorted(self._shelves.items())
            if shelf.records or shelf.is_held
        ]

    async def purge(self, *, now: float | None = None) -> int:
        """Forget the keys that nobody can use any more and nobody holds; return how many."""
        now = time.time() if now is None else now
        useless = [
            key
            for key, shelf in self._shelves.items()
            if not shelf.is_held and now >= keep_until(shelf.records, touched=None)
        ]
        for key in useless:
            del self._shelves[key]
        return len(useless)

    async def _purge_daily(self, now: float) -> None:
        if purge_is_due(self._purged_at, now):
            self._purged_at = now
            await self.purge(now=now)


def _this_process() -> Owner:
    return Owner(os.getpid(), this_host())
