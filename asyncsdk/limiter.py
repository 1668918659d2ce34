"""Makes requests wait for their turn under one rate limit of `ratelimit`, first come first served."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import anyio
from attrs import define, field

from asyncsdk.errors import RateLimitError
from asyncsdk.ratelimit import Permit, RateLimit, RateUnit, read_refusal


class Limiter(Protocol):
    """Permits to send: of this process alone, or of a pool that processes share."""

    @property
    def rate(self) -> float | None:
        """Units a minute now; None while nothing bounds them."""

    @property
    def retry_after(self) -> float:
        """Seconds until one more unit may be sent; 0.0 for now."""

    async def acquire(self, units: int) -> Permit:
        """Wait until `units` may be sent."""

    def accepted(self, permit: Permit) -> None:
        """The server processed the request that had this permit."""

    def refused(self, error: RateLimitError, permit: Permit) -> None:
        """The server responded 429 to the request that had this permit."""


@define(eq=False)
class RateLimiter:
    """Permits to send, first come first served. `per_minute` is the caller's limit on `unit`, None learns it from 429s.

    `clock` returns monotonic seconds. Raises ConfigurationError unless the limit is a number above 0.
    """

    unit: RateUnit
    per_minute: float | None = None
    clock: Callable[[], float] = time.monotonic
    _limit: RateLimit = field(init=False)
    _queue: anyio.Lock = field(factory=anyio.Lock, init=False)
    _nap: anyio.CancelScope | None = field(default=None, init=False)  # of the first in the queue

    def __attrs_post_init__(self) -> None:
        self._limit = RateLimit(self.unit, self.per_minute)

    @property
    def rate(self) -> float | None:
        """Units a minute now; None while nothing bounds them."""
        return self._limit.rate(self.clock())

    @property
    def retry_after(self) -> float:
        """Seconds until one more unit may be sent; 0.0 for now."""
        return self._limit.wait(1, self.clock())

    async def acquire(self, units: int) -> Permit:
        """Wait until `units` may be sent. A cancelled wait uses nothing of the limit."""
        async with self._queue:
            while (wait := self._limit.wait(units, self.clock())) > 0:
                with anyio.CancelScope() as self._nap:
                    await anyio.sleep(wait)
            return self._limit.admit(units, self.clock())

    def acquire_now(self, units: int) -> Permit | None:
        """A permit if `units` may be sent at once, else None: it waits for nothing."""
        if self._queue.locked() or self._limit.wait(units, self.clock()) > 0:
            return None
        return self._limit.admit(units, self.clock())

    def accepted(self, permit: Permit) -> None:
        """The server processed the request that had this permit."""
        self._limit.accepted(permit)

    def refused(self, error: RateLimitError, permit: Permit) -> None:
        """The server responded 429 to the request that had this permit. Wakes the first waiter, which recomputes."""
        refusal = read_refusal(error.message, error.headers, self.unit, now=time.time())
        self._limit.refused(permit, refusal, self.clock())
        if self._nap is not None:
            self._nap.cancel()
