"""The server's time: from its last `Date` or `created_at`, plus what has elapsed here since (pure).

The `created_at` of a new object is by the server's own clock; a `Date` may be a proxy's. Elapsed time is boot time,
which counts while the lid is closed; the local wall clock may be wrong or step, and ends nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache

from attrs import define, field


def boot_time() -> float:
    """Seconds on a clock that never steps and, where the system has one, runs on through suspend."""
    source = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if source is None else time.clock_gettime(source)


@lru_cache(maxsize=8)  # many responses come within one second
def http_date(text: str | None) -> float | None:
    """Unix seconds of an HTTP date (RFC 9110, 5.6.7), which is always GMT, or None if it is not one."""
    try:
        moment = parsedate_to_datetime(text) if text else None
        return None if moment is None else (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


@define
class Clock:
    """The server's clock, by the responses seen so far."""

    elapsed: Callable[[], float] = boot_time
    local: Callable[[], float] = time.time
    _heard: float | None = field(default=None, init=False)  # the elapsed time at the last response
    _dated: float | None = field(default=None, init=False)  # ahead of elapsed time, by the last `Date`
    _anchored: float | None = field(default=None, init=False)  # by the last object that was made

    def observe(self, date: str | None) -> None:
        """Take the `Date` header of a response when it arrives."""
        seconds, self._heard = http_date(date), self.elapsed()
        if seconds is not None:
            self._dated = seconds - self._heard

    def anchor(self, created_at: float) -> None:
        """Take the time of an object in the last response: from now on no `Date` moves the clock."""
        self._anchored = created_at - (self.elapsed() if self._heard is None else self._heard)

    @property
    def is_anchored(self) -> bool:
        """Whether an object gave the time."""
        return self._anchored is not None

    def now(self) -> float:
        """The server's unix time; the local one before its first response."""
        ahead = self._dated if self._anchored is None else self._anchored
        return self.local() if ahead is None else ahead + self.elapsed()

    def seconds_until(self, moment: float) -> float:
        """Seconds left until the server's `moment`, negative once it is past; infinite before its first response."""
        return math.inf if self._anchored is None and self._dated is None else moment - self.now()

    def is_past(self, moment: float) -> bool:
        """Whether the server's `moment` is past, by its last response: never before the first one."""
        return self.seconds_until(moment) < 0

    def may_be_past(self, moment: float) -> bool:
        """Whether `moment` is past by an object's time or by the last `Date`: enough to interpret a refusal."""
        aheads = [ahead for ahead in (self._anchored, self._dated) if ahead is not None]
        return any(ahead + self.elapsed() >= moment for ahead in aheads)
