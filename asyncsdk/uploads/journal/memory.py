"""`MemoryJournal`: a journal in memory, gone with the process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias
from weakref import WeakKeyDictionary

import anyio
from attrs import define, field

from asyncsdk.errors import JournalError
from asyncsdk.loops import PerLoop
from asyncsdk.uploads.journal import JournalEntry, Log, Owner, Record
from asyncsdk.uploads.journal.messages import report_busy
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


_Locks: TypeAlias = dict[str, anyio.Semaphore]


@define(eq=False)
class _EachLoop:
    """The locks of each loop, as long as it lives."""

    _locks: WeakKeyDictionary[asyncio.AbstractEventLoop, _Locks] = field(factory=WeakKeyDictionary, init=False)

    def get(self) -> _Locks:
        return self._locks.setdefault(asyncio.get_running_loop(), {})


@define(eq=False)
class MemoryJournal:
    """Keeps records as long as the process lives. Claims exclude each other, on one event loop at a time.

    Args:
        instead: Why no journal is kept on disk, where one was to be; '' where memory was asked for. Such a journal is
            that of all loops, also of several at once, whose claims then exclude each other on the same loop only.
    """

    instead: str = ""
    _keys: dict[str, list[Record]] = field(factory=dict, init=False, repr=False)
    _locks: PerLoop[_Locks] | _EachLoop = field(init=False, repr=False)
    _purged_at: float = field(factory=time.time, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._locks = _EachLoop() if self.instead else PerLoop("MemoryJournal", dict)

    @asynccontextmanager
    async def claim(
        self, key: str, *, wait: bool = True, on_busy: Callable[[Owner | None], None] | None = None
    ) -> AsyncIterator[Log]:
        """Own `key` for the length of the block, as `Journal.claim` describes."""
        records = self._keys.setdefault(key, [])
        lock = self._locks.get().setdefault(key, anyio.Semaphore(1))
        if self._is_held(key):
            report_busy(_this_process(), wait=wait, on_busy=on_busy)
        async with lock:
            log = MemoryLog(records, self._purge_daily)
            try:
                yield log
            finally:
                log.close()

    async def entries(self) -> Sequence[JournalEntry]:
        """Return all keys with their records."""
        return [
            JournalEntry(key, tuple(records), _this_process() if self._is_held(key) else None)
            for key, records in sorted(self._keys.items())
            if records or self._is_held(key)
        ]

    async def purge(self, *, now: float | None = None) -> int:
        """Remove the keys that are of no use any more and not claimed; return how many."""
        now = time.time() if now is None else now
        useless = [
            key
            for key, records in list(self._keys.items())
            if not self._is_held(key) and now >= keep_until(records, touched=None)
        ]
        for key in useless:
            self._keys.pop(key, None)
            self._locks.get().pop(key, None)
        return len(useless)

    def _is_held(self, key: str) -> bool:
        lock = self._locks.get().get(key)
        return lock is not None and lock.value == 0

    async def _purge_daily(self, now: float) -> None:
        if purge_is_due(self._purged_at, now):
            self._purged_at = now
            await self.purge(now=now)


def _this_process() -> Owner:
    return Owner(os.getpid(), this_host())
