"""Computes when the next requests may be sent: a limit a minute on a unit, given or learned from 429s (pure).

The unit is what the server counts: input images of edits, or requests that send a file.

Admissions are spread evenly by the generic cell rate algorithm (ITU-T I.371, annex A): a server may count by a sliding
minute, by minutes of its own clock or by a token bucket of any size, and only an even spread is within the limit of
them all. A late permit is made up for at once, up to a quarter of a second; what else differs between our
clock and the server's is in `MARGIN`. Requests of several units do not fall evenly into a minute, so the limit is also
compared with a log of the last one, kept in slices. It looks back a second longer: requests overtake each other.

Without a known limit requests go freely until the first 429, and from then on by multiplicative decrease (Chiu and
Jain, 1989) of what the server let pass, and by the cubic increase of RFC 9438: quickly back to near where it was
refused, slowly about there, quickly beyond. Below a known limit, which others may share, the same holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from attrs import define, field, frozen, setters

from asyncsdk.clock import http_date
from asyncsdk.errors import ConfigurationError
from asyncsdk.retry import retry_after

LONGEST_TEXT = 2_000  # characters that are read
LONGEST_DELAY = 86_400.0  # seconds: nothing waits for more than a day

# Other limits (tokens, images a day) have texts of the same shape.
_LIMIT = re.compile(r"(images|requests) per min(?=.{0,120}?\blimit:? {0,3}(\d[\d,]{0,12}))", re.IGNORECASE | re.DOTALL)
_AGAIN = re.compile(r"\b(?:try again in|retry after)\b", re.IGNORECASE)
_PIECE = re.compile(
    r"\s?(\d{1,9}(?:\.\d{1,9})?)\s?(?:(ms|milliseconds?)|(s|secs?|seconds?)|(m|mins?|minutes?)|(h|hours?)|(d|days?))(?![a-z])",
    re.IGNORECASE,
)
_SECONDS = (0.001, 1.0, 60.0, 3600.0, 86_400.0)


@frozen
class RateUnit:
    """What a limit counts: the `option` that sets it, and how the server names it in texts (`name`) and `headers`."""

    option: str
    name: str
    headers: tuple[str, ...]

    def checked(self, rate: float | None) -> float | None:
        """Return `rate`. Raises ConfigurationError unless it is a number above 0, or None."""
        if rate is not None and (type(rate) not in {int, float} or not 0 < rate < math.inf):
            raise ConfigurationError(f"{self.option}={rate!r} is not a number above 0. Nothing was sent.")
        return rate

    def limit_in(self, message: str, headers: Mapping[str, str]) -> float | None:
        """The limit a minute that a 429 contains; None where it contains none in this unit."""
        named = next((headers[name] for name in self.headers if re.fullmatch(r"\d{1,12}", headers.get(name, ""))), None)
        text = next((match[2] for match in _LIMIT.finditer(message) if match[1].lower() == self.name), "0")
        return float(named or text.replace(",", "")) or None


INPUT_IMAGES = RateUnit("images_per_minute", "images", ("x-ratelimit-limit-input-images", "x-ratelimit-limit-images"))
CALLS = RateUnit("requests_per_minute", "requests", ("x-ratelimit-limit-requests",))
FILE_REQUESTS = RateUnit("files_per_minute", "requests", ("x-ratelimit-limit-requests",))


@frozen
class Refusal:
    """`limit` in units a minute, `delay` in seconds until another try; None where the response has none."""

    limit: float | None = None
    delay: float | None = None


def read_refusal(message: str, headers: Mapping[str, str], unit: RateUnit, *, now: float) -> Refusal:
    """Read a 429: "… on input-images per min: Limit 250, Used 250, Requested 1. Please try again in 240ms.".

    `now` is unix time, for a `retry-after` that is a date in a response without a `date`. Where headers and text ask
    for different delays the longer one is right for both.
    """
    message = message[:LONGEST_TEXT]
    ordered = retry_after(headers, http_date(headers.get("date")) or now)
    delays = [delay for delay in (ordered, _delay(message)) if delay is not None]
    return Refusal(unit.limit_in(message, headers), min(max(delays), LONGEST_DELAY) if delays else None)


def duration(text: str, start: int = 0) -> float | None:
    """Seconds of `240ms`, `12s`, `1m30s` or `5 seconds` at `start`, whatever follows; None where there is none."""
    total = None
    while piece := _PIECE.match(text, start):
        number, *units = piece.groups()
        total = (total or 0.0) + float(number) * next(s for s, unit in zip(_SECONDS, units, strict=True) if unit)
        start = piece.end()
    return total


def _delay(message: str) -> float | None:
    again = _AGAIN.search(message)
    return duration(message, again.end()) if again else None


COUNTED_SECONDS = 61.0
SLICE_SECONDS = 0.2  # what was sent within one counts until its end: some 300 numbers, whatever the rate


@define
class Window:
    """How many units were sent when, over the last minute. Times are monotonic seconds and never decrease."""

    _slices: dict[int, int] = field(factory=dict, init=False)  # number of slice → units, oldest first

    def add(self, units: int, at: float) -> None:
        """Count `units` that are sent `at` this time, and forget what is old."""
        number = _slice(at)
        self._slices[number] = self._slices.get(number, 0) + units
        while _end(oldest := next(iter(self._slices))) + COUNTED_SECONDS <= at:
            del self._slices[oldest]

    def take_back(self, units: int, at: float) -> None:
        """Stop counting what was sent `at` this time: the server refused it."""
        number = _slice(at)
        if number in self._slices:
            self._slices[number] -= units

    def count(self, since: float) -> int:
        """How many units were sent after `since`, or within its slice."""
        return sum(units for number, units in self._slices.items() if _end(number) > since)

    def fits_at(self, units: float, limit: float, since: float) -> float:
        """When `units` more may be sent, such that no minute has more than `limit` of those sent after `since`.

        An item that alone is above the limit fits once nothing else is in its minute.
        """
        room = limit - min(units, limit)
        if sum(self._slices.values()) <= room:
            return -math.inf
        for number in reversed(self._slices):
            room -= self._slices[number] if _end(number) > since else 0
            if room < 0:
                return _end(number) + COUNTED_SECONDS
        return -math.inf


def _slice(at: float) -> int:
    return math.floor(at / SLICE_SECONDS)


def _end(number: int) -> float:
    return (number + 1) * SLICE_SECONDS


MARGIN = 0.98  # of the limit: over a minute, 1.2 s for what differs on the way
LATE_SECONDS = 0.25  # a permit that is taken late by less does not delay the next
DECREASE = 0.8  # RFC 9438 has 0.7 for queues that it shares; here a refusal costs an upload and the limit is steady
RECOVERY_SECONDS = 60.0  # back to where it was refused: limits are counted by the minute
LEAST_MEASURED = 2.0  # seconds: in less, what passed does not measure a rate
LEAST = 6.0  # units a minute: below that the growing pauses hold back more than a rate would
TOLERATED = 0.15  # of what is sent: refusals cost an upload, no money, and a server may refuse now and then at any rate
LEAST_PAUSE, FIRST_PAUSE, LONGEST_PAUSE = 0.01, 0.25, 60.0  # seconds, where the server does not ask for more


@frozen
class Permit:
    """A permit to send `units`, given `at` a time in an `episode`; the next one waits `seconds` for it."""

    units: int
    at: float
    episode: int
    seconds: float


@define(on_setattr=setters.NO_OP)  # a hook would be called ten times a request
class RateLimit:
    """`given` is the caller's limit in units a minute, None learns. Raises ConfigurationError unless it is above 0.

    `now` is monotonic seconds. An episode is all that is refused of what was in flight at its first refusal: it slows
    down once.
    """

    unit: RateUnit
    given: float | None = field(default=None)
    _reported: float = field(default=math.inf, init=False)  # the limit, as the server's 429s name it
    _peak: float = field(default=math.inf, init=False)  # the rate at which it refused
    _next: float = field(default=-math.inf, init=False)  # when the next may be sent by the even spread
    _resume: float = field(default=-math.inf, init=False)  # when the hold of the last episode ends
    _counted_from: float = field(default=-math.inf, init=False)  # what was sent before does not count against the limit
    _slowed: float = field(default=-math.inf, init=False)  # since when it recovers
    _measured_from: float = field(default=math.inf, init=False)
    _passed: Window = field(factory=Window, init=False)
    _refused: Window = field(factory=Window, init=False)
    _episode: int = field(default=0, init=False)
    _proved: bool = field(default=True, init=False)  # the server accepted something since this episode began
    _fruitless: int = field(default=0, init=False)  # episodes in a row in which it accepted nothing

    @given.validator
    def _check(self, _attribute: object, given: float | None) -> None:
        self.unit.checked(given)

    @property
    def limit(self) -> float:
        """The known limit in units a minute, infinite where none is known."""
        return min(self.given or math.inf, self._reported)

    def rate(self, now: float) -> float | None:
        """The rate now, in units a minute; None while there is no limit."""
        since = max(0.0, now - self._slowed)
        recovered = self._peak * (1 + (1 - DECREASE) * (since / RECOVERY_SECONDS - 1) ** 3)
        rate = min(recovered, self.limit * MARGIN)
        return rate if math.isfinite(rate) else None

    def wait(self, units: int, now: float) -> float:
        """Seconds until `units` may be sent."""
        fits = self._passed.fits_at(units, self.limit, self._counted_from)
        return max(0.0, max(self._next, self._resume, fits) - now)

    def admit(self, units: int, now: float) -> Permit:
        """Count `units` as sent now. What follows waits for their share of a minute."""
        rate = self.rate(now)
        seconds = 0.0 if rate is None else 60.0 * units / rate
        self._next = max(self._next, now - LATE_SECONDS) + seconds
        self._passed.add(units, now)
        self._measured_from = min(self._measured_from, now)
        return Permit(units, now, self._episode, seconds)

    def accepted(self, permit: Permit) -> None:
        """The server processed what had this permit."""
        # a success is answered later than a refusal: it may be of the episode before
        self._proved = self._proved or permit.episode >= self._episode - 1

    def refused(self, permit: Permit, refusal: Refusal, now: float) -> None:
        """A 429 came for what had this permit, and contains this much."""
        beyond = self._passed.count(now - 60.0) > self.limit
        self._passed.take_back(permit.units, permit.at)
        if refusal.limit is not None and permit.units > refusal.limit:
            self._reported = refusal.limit
            self._next -= permit.seconds  # it can never pass, and nothing waits for it
            return
        self._refused.add(permit.units, now)
        self._resume = max(self._resume, now + (refusal.delay or 0.0))
        if permit.episode == self._episode:
            self._begin_episode(permit, refusal, now, beyond=beyond)

    def _begin_episode(self, permit: Permit, refusal: Refusal, now: float, *, beyond: bool) -> None:
        self._fruitless = 0 if self._proved else self._fruitless + 1
        self._episode, self._proved = self._episode + 1, False
        self._resume = max(self._resume, now + self._pause(refusal.delay))
        if self._learns(refusal.limit):
            if refusal.delay is not None:  # which is when it accepts more, whatever went before
                self._counted_from = now
        elif beyond:  # an echo of what went before the limit was known, from a server that counts by the minute
            self._counted_from = -math.inf
        elif self._is_too_fast(permit, now):
            self._slow_down(now)

    def _pause(self, delay: float | None) -> float:
        """The delay that the server asks for, doubled each time that nothing passed after it."""
        pause = FIRST_PAUSE if delay is None else max(delay, LEAST_PAUSE)
        return max(pause, min(pause * 2.0 ** min(self._fruitless, 20), LONGEST_PAUSE))

    def _learns(self, limit: float | None) -> bool:
        """Use the limit that the server names. Returns whether it is new."""
        before = self.limit
        self._reported = limit or self._reported
        if self.limit == before:
            return False
        self._peak = math.inf
        return True

    def _is_too_fast(self, permit: Permit, now: float) -> bool:
        since = self._measured_since(now)
        passed, refused = self._passed.count(since), self._refused.count(since)
        if self._fruitless:  # nothing new is known; without any rate it would all be sent and refused at once
            return passed > 0 and self.rate(now) is None
        if self.rate(now) is not None and now - since < LEAST_MEASURED:
            return False
        return refused > TOLERATED * (passed + refused) + 2 * permit.units

    def _slow_down(self, now: float) -> None:
        since = self._measured_since(now)
        passed = self._passed.count(since) * 60.0 / max(1.0, now - since)
        self._peak = min(self.rate(now) or math.inf, max(LEAST, passed))
        self._measured_from, self._slowed = now, self._resume

    def _measured_since(self, now: float) -> float:
        return max(self._measured_from, now - 60.0)
