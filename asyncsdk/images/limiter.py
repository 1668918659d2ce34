"""Turns in order: whoever wants to send waits here until the pace allows it."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
from attrs import define, field

from asyncsdk.errors import RateLimitError
from asyncsdk.images.ratelimit import Permit, RateLimit, read_refusal


@define(eq=False)
class RateLimiter:
    """Gives turns first come, first served. `images_per_minute` is the caller's, None to learn from 429s.

    Raises ConfigurationError for a rate that is none. `clock` gives monotonic seconds.
    """

    images_per_minute: float | None = None
    clock: Callable[[], float] = time.monotonic
    _pace: RateLimit = field(init=False)
    _line: anyio.Lock = field(factory=anyio.Lock, init=False)
    _nap: anyio.CancelScope | None = field(default=None, init=False)  # of the first in line

    def __attrs_post_init__(self) -> None:
        self._pace = RateLimit(self.images_per_minute)

    @property
    def rate(self) -> float | None:
        """Images a minute now; None while nothing bounds them."""
        return self._pace.rate(self.clock())

    @property
    def holding(self) -> float:
        """Seconds until the next image may go."""
        return self._pace.wait(1, self.clock())

    async def turn(self, images: int) -> Permit:
        """Wait for a turn to send `images`. Cancelling the wait takes nothing from the others."""
        async with self._line:
            while (wait := self._pace.wait(images, self.clock())) > 0:
                with anyio.CancelScope() as self._nap:
                    await anyio.sleep(wait)
            return self._pace.admit(images, self.clock())

    def accepted(self, ticket: Permit) -> None:
        """The server did what had this turn."""
        self._pace.accepted(ticket)

    def refused(self, error: RateLimitError, ticket: Permit) -> None:
        """The server answered 429 to what had this turn. Whoever is first in line looks again when it may go."""
        refusal = read_refusal(error.message, error.headers, now=time.time())
        self._pace.refused(ticket, refusal, self.clock())
        if self._nap is not None:
            self._nap.cancel()
