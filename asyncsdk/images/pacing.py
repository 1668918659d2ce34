"""Turns in order: whoever wants to send waits here until the pace allows it."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
from attrs import define, field

from asyncsdk.errors import RateLimitError
from asyncsdk.images.pace import Pace, Ticket, read_refusal
from asyncsdk.retry import ordered_delay

LONGEST_NAP = 1.0  # a refusal meanwhile may move what is waited for


@define(eq=False)
class Pacer:
    """Gives turns first come, first served. `images_per_minute` is the caller's, None to learn from 429s."""

    images_per_minute: float | None = None
    clock: Callable[[], float] = time.monotonic
    _pace: Pace = field(init=False)
    _line: anyio.Lock = field(factory=anyio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._pace = Pace(self.images_per_minute)

    @property
    def rate(self) -> float | None:
        """Images a minute now; None while nothing bounds them."""
        return self._pace.rate(self.clock())

    @property
    def holding(self) -> float:
        """Seconds until the next may go."""
        return self._pace.wait(self.clock())

    async def turn(self, images: int) -> Ticket:
        """Wait for a turn to send `images`. Cancelling the wait takes nothing from the others."""
        async with self._line:
            while (wait := self._pace.wait(self.clock())) > 0:  # noqa: ASYNC110 - it is time that is waited for
                await anyio.sleep(min(wait, LONGEST_NAP))
            return self._pace.admit(images, self.clock())

    def refused(self, error: RateLimitError, ticket: Ticket) -> None:
        """The server answered 429 to what had this turn."""
        refusal = read_refusal(error.message, error.headers)
        ordered = ordered_delay(error.headers, time.time())
        delay = max((each for each in (refusal.delay, ordered) if each is not None), default=None)
        self._pace.refused(ticket, type(refusal)(refusal.limit, delay), self.clock())
