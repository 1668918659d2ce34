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
from collections.abc import Mapping, Sequence
from itertools import accumulate

from attrs import define, evolve, field, frozen, setters

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
    """How many units were sent when, over the last minute. Times are monotonic seconds and never decrease.

    Those of a pool decrease a little: processes report late what they sent while no limit was known.
    """

    _slices: dict[int, int] = field(factory=dict)  # number of slice → units, oldest first

    @classmethod
    def of(cls, kept: Sequence[int]) -> Window:
        """Read what `kept` returned."""
        return cls(dict(zip(accumulate(kept[::2]), kept[1::2], strict=True)))

    def kept(self) -> list[int]:
        """Each slice as how many there are from the one before to it, and its units."""
        used = sorted((number, units) for number, units in self._slices.items() if units)
        before = [0, *(number for number, _ in used)]
        return [each for (number, units), last in zip(used, before, strict=False) for each in (number - last, units)]

    def shifted(self, seconds: float) -> Window:
        """The same at other times."""
        step = round(seconds / SLICE_SECONDS)
        return Window({number + step: units for number, units in self._slices.items()})

    def until(self, moment: float) -> Window:
        """What was sent by then: what is dated later never was."""
        return Window({number: units for number, units in self._slices.items() if number <= _slice(moment)})

    def add(self, units: int, at: float, now: float | None = None) -> None:
        """Count `units` that are sent `at` this time, and forget what is old: as of `now`, if they are sent later."""
        number, now = _slice(at), at if now is None else now
        self._slices[number] = self._slices.get(number, 0) + units
        while self._slices and _end(oldest := next(iter(self._slices))) + COUNTED_SECONDS <= now:
            del self._slices[oldest]

    def take_back(self, units: int, at: float) -> None:
        """Stop counting what was sent `at` this time: the server refused it."""
        number = _slice(at)
        if number in self._slices:
            self._slices[number] -= units

    def count(self, since: float, until: float = math.inf) -> int:
        """How many units were sent after `since` and up to `until`, or within their slices."""
        return sum(
            units for number, units in self._slices.items() if _end(number) > since and number * SLICE_SECONDS <= until
        )

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
    down once. The rest of its fields are what it has learned: one process has them in memory, a pool in a row.
    """

    unit: RateUnit
    given: float | None = field(default=None)
    reported: float = field(default=math.inf, kw_only=True)  # the limit, as the server's 429s name it
    peak: float = field(default=math.inf, kw_only=True)  # the rate at which it refused
    next_at: float = field(default=-math.inf, kw_only=True)  # when the next may be sent by the even spread
    resume_at: float = field(default=-math.inf, kw_only=True)  # when the hold of the last episode ends
    counted_from: float = field(default=-math.inf, kw_only=True)  # what was sent before does not count against it
    slowed_at: float = field(default=-math.inf, kw_only=True)  # since when it recovers
    measured_from: float = field(default=math.inf, kw_only=True)
    sent: Window = field(factory=Window, kw_only=True)
    turned_away: Window = field(factory=Window, kw_only=True)
    episode: int = field(default=0, kw_only=True)
    is_proved: bool = field(default=True, kw_only=True)  # the server accepted something since this episode began
    fruitless: int = field(default=0, kw_only=True)  # episodes in a row in which it accepted nothing

    @given.validator
    def _check(self, _attribute: object, given: float | None) -> None:
        self.unit.checked(given)

    @property
    def limit(self) -> float:
        """The known limit in units a minute, infinite where none is known."""
        return min(self.given or math.inf, self.reported)

    def rate(self, now: float) -> float | None:
        """The rate now, in units a minute; None while there is no limit."""
        since = max(0.0, now - self.slowed_at)
        recovered = self.peak * (1 + (1 - DECREASE) * (since / RECOVERY_SECONDS - 1) ** 3)
        rate = min(recovered, self.limit * MARGIN)
        return rate if math.isfinite(rate) else None

    def wait(self, units: int, now: float) -> float:
        """Seconds until `units` may be sent."""
        fits = self.sent.fits_at(units, self.limit, self.counted_from)
        return max(0.0, max(self.next_at, self.resume_at, fits) - now)

    def admit(self, units: int, at: float, now: float | None = None) -> Permit:
        """Count `units` as sent `at` this time, which may be later than `now`. What follows waits for their share."""
        permit = Permit(units, at, self.episode, self._share(units, at))
        self.next_at = max(self.next_at, at - LATE_SECONDS) + permit.seconds
        self.count(permit, now)
        return permit

    def count(self, permit: Permit, now: float | None = None) -> None:
        """Count what was sent with a permit: one that this limit did not give, while nothing bounded it, too."""
        self.sent.add(permit.units, permit.at, now)
        if self.slowed_at == -math.inf:  # later ones are of before the hold, and were reported late
            self.measured_from = min(self.measured_from, permit.at)

    def _share(self, units: int, at: float) -> float:
        rate = self.rate(at)
        return 0.0 if rate is None else 60.0 * units / rate

    def is_void(self, permit: Permit) -> bool:
        """Whether a permit for later must not be used: a refusal since then made it too early, or too close."""
        is_too_close = permit.seconds < self._share(permit.units, permit.at) * (1 - 1e-9)
        return permit.episode != self.episode and (permit.at < self.resume_at or is_too_close)

    def unused(self, permit: Permit) -> None:
        """Nothing was sent with this permit. Its share is not given again."""
        self.sent.take_back(permit.units, permit.at)

    def begun_again(self, given: float | None, now: float) -> RateLimit:
        """The limit of a new run, which has learned nothing: what was sent counts, what was for later is void."""
        return RateLimit(
            self.unit,
            given,
            next_at=min(self.next_at, now),
            sent=self.sent.until(now),
            episode=self.episode + 1,
        )

    def shifted(self, seconds: float) -> RateLimit:
        """The same at other times: the clock was set."""
        return evolve(
            self,
            next_at=self.next_at + seconds,
            resume_at=self.resume_at + seconds,
            counted_from=self.counted_from + seconds,
            slowed_at=self.slowed_at + seconds,
            measured_from=self.measured_from + seconds,
            sent=self.sent.shifted(seconds),
            turned_away=self.turned_away.shifted(seconds),
        )

    def accepted(self, permit: Permit) -> None:
        """The server processed what had this permit."""
        self.is_proved = self.is_proved or self.is_proved_by(permit)

    def is_proved_by(self, permit: Permit) -> bool:
        """Whether it is news that the server processed what had this permit."""
        # a success is answered later than a refusal: it may be of the episode before
        return not self.is_proved and permit.episode >= self.episode - 1

    def refused(self, permit: Permit, refusal: Refusal, now: float) -> None:
        """A 429 came for what had this permit, and contains this much."""
        beyond = self.sent.count(now - 60.0, now) > self.limit
        self.sent.take_back(permit.units, permit.at)
        if refusal.limit is not None and permit.units > refusal.limit:
            self.reported = refusal.limit
            self.next_at -= permit.seconds  # it can never pass, and nothing waits for it
            return
        self.turned_away.add(permit.units, now)
        self.resume_at = max(self.resume_at, now + (refusal.delay or 0.0))
        if permit.episode == self.episode:
            self._begin_episode(permit, refusal, now, beyond=beyond)

    def _begin_episode(self, permit: Permit, refusal: Refusal, now: float, *, beyond: bool) -> None:
        self.fruitless = 0 if self.is_proved else self.fruitless + 1
        self.episode, self.is_proved = self.episode + 1, False
        self.resume_at = max(self.resume_at, now + self._pause(refusal.delay))
        if self._learns(refusal.limit):
            if refusal.delay is not None:  # which is when it accepts more, whatever went before
                self.counted_from = now
        elif beyond:  # an echo of what went before the limit was known, from a server that counts by the minute
            self.counted_from = -math.inf
        elif self._is_too_fast(permit, now):
            self._slow_down(now)

    def _pause(self, delay: float | None) -> float:
        """The delay that the server asks for, doubled each time that nothing passed after it."""
        pause = FIRST_PAUSE if delay is None else max(delay, LEAST_PAUSE)
        return max(pause, min(pause * 2.0 ** min(self.fruitless, 20), LONGEST_PAUSE))

    def _learns(self, limit: float | None) -> bool:
        """Use the limit that the server names. Returns whether it is new."""
        before = self.limit
        self.reported = limit or self.reported
        if self.limit == before:
            return False
        self.peak = math.inf
        return True

    def _is_too_fast(self, permit: Permit, now: float) -> bool:
        since = self._measured_since(now)
        passed, refused = self.sent.count(since, now), self.turned_away.count(since)
        if self.fruitless:  # nothing new is known; without any rate it would all be sent and refused at once
            return passed > 0 and self.rate(now) is None
        if self.rate(now) is not None and now - since < LEAST_MEASURED:
            return False
        return refused > TOLERATED * (passed + refused) + 2 * permit.units

    def _slow_down(self, now: float) -> None:
        since = self._measured_since(now)
        passed = self.sent.count(since, now) * 60.0 / max(1.0, now - since)
        self.peak = min(self.rate(now) or math.inf, max(LEAST, passed))
        # in the hold nothing passes, and what is refused was sent before: neither says how fast the next may go
        self.measured_from = self.slowed_at = self.resume_at

    def _measured_since(self, now: float) -> float:
        return max(self.measured_from, now - 60.0)
