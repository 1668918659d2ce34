"""How fast edits may go (pure): input images a minute, as given or as the server's refusals teach it.

Time is monotonic seconds, passed in. Admissions are spread evenly, as by the generic cell rate algorithm (ITU-T
I.371) without a burst: a server may count by a sliding minute, by fixed minutes or by a bucket, and only an even
spread is within the limit of all of them. Without a known limit it goes freely until the first 429, and then by
additive increase and multiplicative decrease (Chiu and Jain, 1989).
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping

from attrs import define, field, frozen

from asyncsdk.errors import ConfigurationError

LATE_SECONDS = 0.25  # a turn that was taken late by less does not put off the next
MARGIN = 0.98  # of the limit: clocks and networks jitter
SLOWER = 0.7  # after an episode at a pace that should have been within the limit
RECOVERY_SECONDS = 60.0  # from a slower pace back to the known limit, or for another tenth where none is known
LEAST = 1.0  # image a minute

_LIMIT = re.compile(r"[Ll]imit:? {0,3}(\d[\d,]{0,12})")
_AGAIN = re.compile(r"try again in ((?:[\d.]{1,12}(?:ms|s|m|h))+)")
_PIECE = re.compile(r"([\d.]+)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LIMIT_HEADERS = ("x-ratelimit-limit-input-images", "x-ratelimit-limit-images")


@frozen
class Ticket:
    """A turn that was given: so many images, at this time, before or after which refusals."""

    images: int
    at: float


@frozen
class Refusal:
    """What a 429 tells: the limit in images a minute, and in how many seconds to come again, where it does."""

    limit: float | None
    delay: float | None


def read_refusal(message: str, headers: Mapping[str, str]) -> Refusal:
    """Read a 429's headers and text, such as "Limit 250, Used 250, Requested 1. Please try again in 240ms."."""
    named = next((headers[name] for name in _LIMIT_HEADERS if headers.get(name, "").isdecimal()), None)
    found = _LIMIT.search(message) if "per min" in message else None
    limit = float(named) if named else float(found[1].replace(",", "")) if found else None
    again = _AGAIN.search(message)
    return Refusal(limit or None, duration(again[1]) if again else None)


def duration(text: str) -> float | None:
    """Seconds of `240ms`, `12s`, `1m30s`; None for anything else."""
    try:
        return sum(float(number) * _UNITS[unit] for number, unit in _PIECE.findall(text))
    except ValueError:
        return None


def _checked(rate: float | None) -> float | None:
    if rate is not None and (type(rate) not in {int, float} or not 0 < rate < math.inf):
        raise ConfigurationError(f"images_per_minute={rate!r} is no number above 0. Nothing was sent.")
    return rate


@define
class Pace:
    """`given` is the caller's images a minute; None learns. Raises ConfigurationError for what is no rate."""

    given: float | None = field(default=None, converter=_checked)
    _limit: float | None = field(default=None, init=False)
    _rate: float | None = field(default=None, init=False)
    _next: float = field(default=-math.inf, init=False)  # when the next may go
    _held_since: float = field(default=-math.inf, init=False)
    _changed: float = field(default=-math.inf, init=False)
    _recent: deque[Ticket] = field(factory=lambda: deque(maxlen=1000), init=False)

    def __attrs_post_init__(self) -> None:
        if self.given is not None:
            self._limit = self.given
            self._rate = self.given * MARGIN

    def rate(self, now: float) -> float | None:
        """Images a minute right now, recovering since it was last slowed; None while nothing bounds it."""
        if self._rate is None:
            return None
        if self._limit is not None:
            full = self._limit * MARGIN
            since = max(0.0, now - self._changed) / RECOVERY_SECONDS
            return min(full, self._rate + (full - self._rate) * min(1.0, since)) if self._rate < full else full
        return self._rate * (1 + 0.1 * max(0.0, now - self._changed) / RECOVERY_SECONDS)

    def wait(self, now: float) -> float:
        """Seconds until the next may go."""
        return max(0.0, self._next - now)

    def admit(self, images: int, now: float) -> Ticket:
        """Let `images` go now. What comes after them waits for their share of a minute."""
        rate = self.rate(now)
        if rate is not None:
            self._next = max(self._next, now - LATE_SECONDS) + 60.0 * images / rate
        ticket = Ticket(images, now)
        self._recent.append(ticket)
        return ticket

    def refused(self, ticket: Ticket, refusal: Refusal, now: float) -> None:
        """A 429 came for `ticket`. Those that were on their way together are one episode, which slows down once."""
        self._next = max(self._next, now + (refusal.delay or 0.0))
        if ticket.at <= self._held_since:
            return
        rate = self.rate(now)
        if refusal.limit is not None and refusal.limit != self._limit and self.given is None:
            self._limit, self._rate = refusal.limit, refusal.limit * MARGIN
        elif rate is not None:
            self._rate = max(LEAST, rate * SLOWER)
        else:
            self._rate = max(LEAST, self._measured(now) * SLOWER)
        self._held_since, self._changed = now, now
        self._next = max(self._next, now + 60.0 * ticket.images / self._rate)

    def _measured(self, now: float) -> float:
        """Images a minute that were let go lately."""
        recent = [ticket for ticket in self._recent if ticket.at > now - 60.0]
        first = recent[0].at if recent else now
        return sum(ticket.images for ticket in recent) * 60.0 / max(1.0, now - first)
