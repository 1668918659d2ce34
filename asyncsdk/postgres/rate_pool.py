"""`PoolLimiter`: makes requests wait for their turn under a rate limit that processes share, kept in a database."""

from __future__ import annotations

import json
import math
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

import anyio
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.clock import boot_time
from asyncsdk.errors import ConfigurationError, RateLimitError
from asyncsdk.postgres import DatabaseFault
from asyncsdk.postgres.database import Database
from asyncsdk.ratelimit import Permit, RateUnit, read_refusal
from asyncsdk.ratepool import PoolRow, PoolShare, Reading

LAST_LOOK_SECONDS = 2.0  # on leaving, for what is to be reported
LONGEST_JITTER = 0.02  # seconds before it is read again, after another process has changed it


@define(eq=False)
class PoolLimiter:
    """Permits to send, first come first served in this process, at a rate that all processes of a pool have together.

    `per_minute` is the limit of `unit` in `run`, None takes what the pool has, or learns it from 429s. `worded` makes
    of a DatabaseFault what the caller raises.
    """

    unit: RateUnit
    per_minute: float | None
    name: str
    run: int
    _database: Database
    _worded: Callable[[], AbstractContextManager[None]] = nullcontext
    _share: PoolShare = field(factory=PoolShare, init=False)
    _changed: anyio.Event = field(factory=anyio.Event, init=False)  # there is something to look for
    _settled: anyio.Event = field(factory=anyio.Event, init=False)  # the pool was looked at
    _failure: DatabaseFault | None = field(default=None, init=False)
    _is_over: bool = field(default=False, init=False)

    @property
    def rate(self) -> float | None:
        """Units a minute now, of all processes; None while nothing bounds them."""
        reading = self._share.reading
        return None if reading is None else reading.limit.rate(reading.clock_at(boot_time()))

    @property
    def retry_after(self) -> float:
        """Seconds until one more unit may be sent, by any process; 0.0 for now."""
        reading = self._share.reading
        return 0.0 if reading is None else reading.limit.wait(1, reading.clock_at(boot_time()))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Use the pool for the length of the block.

        Raises ConfigurationError where it has another limit in this run, and what `worded` makes of a DatabaseFault.
        """
        with self._worded():
            await self._look()
        async with tasks.group() as group:
            group.start_soon(self._keep)
            try:
                yield
            finally:
                self._is_over = True
                self._changed.set()
                group.cancel_scope.deadline = anyio.current_time() + LAST_LOOK_SECONDS

    async def acquire(self, units: int) -> Permit:
        """Wait until `units` may be sent. A cancelled wait forfeits its slot, if it has one. Raises as `open` does."""
        if self._share.is_free(units, boot_time()):
            self._changed.set()
            return self._share.send_now(units, boot_time())
        place = self._share.join(units)
        try:
            while True:
                self._check()
                self._changed.set()
                wait, settled = self._share.wait(place, boot_time()), self._settled
                if wait <= 0:
                    return self._share.use(place)
                with anyio.move_on_after(wait):
                    await settled.wait()
        finally:
            self._share.leave(place)

    def accepted(self, permit: Permit) -> None:
        """The server processed the request that had this permit."""
        self._share.accepted(permit)
        self._changed.set()

    def refused(self, error: RateLimitError, permit: Permit) -> None:
        """The server responded 429 to the request that had this permit: all processes of the pool hear of it."""
        refusal = read_refusal(error.message, error.headers, self.unit, now=time.time())
        self._share.refused(permit, refusal)
        self._changed.set()

    def _check(self) -> None:
        if self._failure is not None:
            with self._worded():
                raise self._failure.again()

    async def _keep(self) -> None:
        """Look at the pool as often as `PoolShare` says."""
        try:
            while not self._is_over:
                pause, changed = self._share.until_look(boot_time()), self._changed
                if pause <= 0:
                    await self._look()
                    continue
                with anyio.move_on_after(pause):
                    await changed.wait()
                if changed.is_set():
                    self._changed = anyio.Event()
            if math.isfinite(self._share.until_look(boot_time())):
                await self._look()
        except DatabaseFault as failed:
            self._failure = failed
            self._settled.set()

    async def _look(self) -> None:
        """Report to the pool, and take from it."""
        while True:
            asked = boot_time()
            row = await self._read()
            answered = boot_time()
            if self._share.reading is None and row.is_anothers(self.run, self.per_minute):
                raise _other_limit(self.name, row.limit.given, self.per_minute)
            joined = row.joined(self.run, self.per_minute)
            before = joined.columns() if joined is row else None
            turn = self._share.take(joined.limit, row.clock, asked=asked, took=answered - asked)
            columns = joined.columns()
            if columns == before or await self._is_written(row, columns):
                self._share.settle(turn, Reading(asked, answered, row.clock, joined.limit))
                settled, self._settled = self._settled, anyio.Event()
                settled.set()
                return
            await anyio.sleep(random.uniform(0.0, LONGEST_JITTER))

    async def _read(self) -> PoolRow:
        rows = await self._database.run("pool_look", self.name)
        while not rows:
            await self._database.run("pool_make", self.name)
            rows = await self._database.run("pool_look", self.name)
        return PoolRow.of(rows[0], self.unit)

    async def _is_written(self, row: PoolRow, columns: dict[str, object]) -> bool:
        [done] = await self._database.run("pool_change", self.name, row.version, json.dumps(columns), uuid.uuid4())
        written: bool = done["is_written"]
        return written


def _other_limit(name: str, has: float | None, given: float | None) -> ConfigurationError:
    return ConfigurationError(
        f"rate_pool={name} has a limit of {has:g} a minute in this run, and this call gives {given:g}. Nothing was "
        "sent.\n  Give all copies the same limit, or give it in one of them only. For another key, name another pool."
    )
