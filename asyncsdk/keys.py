"""`CachedKey`: a key that is fetched when it is needed, kept for its life, and fetched again once it is refused."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable

import anyio
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.loops import PerLoop
from asyncsdk.settings import checked_key, hidden

FRESH = 0.8  # of its life a key is used without another being fetched: that leaves time for an outage of who gives it
PAUSE = 10.0  # seconds until it is fetched again, where that failed and the old one is still good

log = logging.getLogger(__name__)


@define(eq=False)
class CachedKey:
    """A function for `Client(api_key=)` that asks `fetch` only where no key, or none that is good, is kept.

    One fetch serves all requests that wait for it, also where it fails. It is fetched again when four fifths of its
    life are over, and when the server refuses it (401). Where that fails, the old one is used to its end.

    Args:
        fetch: An async function without arguments that returns the key, or the key and its life in seconds. A key
            without one is kept until it is refused.
        timeout: How many seconds a fetch may take.
        clock: Returns the time in seconds; for tests.
    """

    fetch: Callable[[], Awaitable[str | tuple[str, float]]] = field(repr=False)
    timeout: float = field(default=20.0, kw_only=True)
    _clock: Callable[[], float] = field(default=time.monotonic, kw_only=True, repr=False)
    _key: str = field(default="", init=False, repr=False)
    _renew_at: float = field(default=-math.inf, init=False, repr=False)
    _ends_at: float = field(default=-math.inf, init=False, repr=False)
    _failure: Exception | None = field(default=None, init=False, repr=False)
    _turns: PerLoop[anyio.Lock] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._turns = PerLoop("CachedKey", anyio.Lock)

    async def __call__(self) -> str:
        """Return the key. Raises what `fetch` raises, or TimeoutError, if there is no other that is good."""
        if self._clock() >= self._renew_at:
            earlier = self._failure
            async with self._turns.get():
                if self._clock() >= self._renew_at:  # else it was fetched meanwhile
                    if self._failure is not None and self._failure is not earlier:  # by the one that was waited for
                        raise self._failure
                    await self._renew()
        return self._key

    def refused(self, key: str) -> None:
        """Drop a key that the server refused, unless another one is kept by now.

        Args:
            key: The key.
        """
        if key == self._key:
            self._renew_at = self._ends_at = -math.inf

    async def _renew(self) -> None:
        try:
            with anyio.fail_after(self.timeout):
                key, life = _with_life(await tasks.await_foreign(self.fetch()))
            self._key = checked_key(key)
        except Exception as error:
            now = self._clock()
            if now >= self._ends_at:
                self._failure = error
                raise
            log.warning("no other key could be fetched (%s); the old one is used to its end", type(error).__name__)
            self._renew_at = min(now + PAUSE, self._ends_at)
        else:
            now, self._failure = self._clock(), None
            self._renew_at, self._ends_at = now + FRESH * life, now + life


def _with_life(fetched: str | tuple[str, float]) -> tuple[str, float]:
    """The key, which no traceback with variables shows, and its life in seconds."""
    key, life = (fetched, math.inf) if isinstance(fetched, str) else fetched
    return hidden(key), float(life)  # some services give it as text
