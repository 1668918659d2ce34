"""The server's time, as far as we know it: its last `Date` plus what has passed here since (pure).

Elapsed time is boot time, which counts while the lid is closed; the local wall clock may be wrong or step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache

from attrs import define, field

UNSYNCED_MARGIN = 300.0  # seconds by which a local clock alone may be wrong


def boot_time() -> float:
    """Seconds on a clock that never steps and, where the system has one, runs on through suspend."""
    source = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if source is None else time.clock_gettime(source)


@lru_cache(maxsize=8)  # of one second there are many answers
def http_date(text: str | None) -> float | None:
    """Unix seconds of an HTTP date (RFC 9110, 5.6.7), which is always GMT, or None where it is none."""
    try:
        moment = parsedate_to_datetime(text) if text else None
        return None if moment is None else (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


@define
class Clock:
    """Answers "what time is it on the server?" from the answers seen so far."""

    elapsed: Callable[[], float] = boot_time
    local: Callable[[], float] = time.time
    _ahead: float | None = field(default=None, init=False)

    def observe(self, date: str | None) -> None:
        """Take an answer's `Date` header."""
        seen = http_date(date)
        if seen is not None:
            self._ahead = seen - self.elapsed()

    def now(self) -> float:
        """The server's unix time; the local one before its first answer."""
        return self.local() if self._ahead is None else self._ahead + self.elapsed()

    def seconds_until(self, moment: float) -> float:
        """Seconds left until the server's `moment`; negative once it is past."""
        return moment - self.now()

    def is_past(self, moment: float) -> bool:
        """Whether `moment` is surely over: the local clock alone is only believed with a margin."""
        return self.seconds_until(moment) < (-UNSYNCED_MARGIN if self._ahead is None else 0)
