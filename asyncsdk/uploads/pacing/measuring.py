"""What a line gives with a number of connections: measures of its rate, and duels between two numbers (pure)."""

from __future__ import annotations

import math
from collections import deque
from statistics import fmean, stdev

from attrs import define, field, frozen

# what says something about the number
IN_USE = 0.85  # of the number: below it, connections are not what lacks
HELD_BACK = 0.1  # of the connections' time: above it, this side limits them
LOOP_BUSY = 0.85  # of its time: above it, the event loop limits them

# a measure
SAMPLE_BYTES = 1 << 17  # of each connection: fewer say little
SAMPLE_SECONDS = 2.0  # at most, on a slow line
SAMPLE_TRIPS = 3  # round trips, at least: what is acknowledged may come in one burst in each
QUICK, FULL = 2, 4  # samples
RAMP = 0.1  # a rate that still moves by more than this is not at rest
RAMP_SECONDS = 4.0  # at most
GROWS = 0.25  # a rate that grows by more than this from one sample to the next is not limited by anything yet
NOISIEST, NOISE_MEMORY = 0.5, 8  # the difference of two measures, as a log; measures

# a duel; gains are logs of ratios
PAYS, KEEPS = math.log(1.06), math.log(1.04)  # what twice as many have to gain, and what half as many may lose
CLEAR = math.log(1.25)  # believed at once
FLOOR, CALM = 0.015, 0.08  # the error on a calm line; the spread of one
SURE = 1.25  # errors by which a rival has to win: many tries would else move the number by chance
TURNS = 24  # at most


@frozen(kw_only=True)
class Observation:
    """What was seen in about a quarter of a second.

    Args:
        seconds: Its length.
        acked: Bytes that the peer acknowledged.
        in_use: How many connections held a part, on average; those that pause count until they have drained.
        rtt: Seconds of a round trip; 0.0 where that is not known.
        finished: Parts that were answered.
        refused: Attempts at a part that ended with 503 or a connection that was reset, and had begun with no more
            connections than there are now.
        held_back: The share of these connections' time, 0 to 1, in which this side had nothing for them to send:
            by the rate limit, the source, the disk, the hashing.
        loop_busy: The share of its time, 0 to 1, in which the event loop's thread ran or waited for a CPU.
    """

    seconds: float
    acked: int
    in_use: float
    rtt: float = 0.0
    finished: int = 0
    refused: int = 0
    held_back: float = 0.0
    loop_busy: float = 0.0

    @property
    def is_limited(self) -> bool:
        """Whether something else than the line and the server limits the rate."""
        return not (self.held_back <= HELD_BACK and self.loop_busy <= LOOP_BUSY)


@define
class Duel:
    """The best number so far against a rival, measured in turns: by the differences between neighbouring measures."""

    best: int
    rival: int
    share: float = field(default=0.0, init=False)  # of the whole that the higher number could gain
    _last: float | None = field(default=None, init=False)
    _gains: list[float] = field(factory=list, init=False)  # logs, of the higher number

    def other(self, number: int) -> int:
        """Whose turn is next."""
        return self.rival if number == self.best else self.best

    def add(self, number: int, level: float) -> None:
        """Take in a measure."""
        self._gains = self._with(number, level)
        self._last = level

    def winner(self, number: int, level: float, noise: float, *, full: bool, hasty: bool) -> int | None:
        """Who wins, with this measure taken in; None: not known yet.

        What is not known after many turns is left as it was; so is what is too close on a calm line, where more turns
        would show no more.
        """
        low, high = sorted((self.best, self.rival))
        doublings, gains = math.log2(high / low), self._with(number, level)
        gain, count = fmean(gains), len(gains)
        self.share = gain / math.log(high / low)
        if count == 1:
            clear = abs(gain) >= max(CLEAR * doublings, 2 * noise)
            leader = high if gain > 0 else low
            # new connections may seem slow because the machine was busy while they began
            return leader if clear and (full or leader == high) and (hasty or leader == self.best) else None
        if not full:
            return None
        # few turns say little about how noisy the line is
        error = max(FLOOR, noise / math.sqrt(count), stdev(gains) / math.sqrt(count) * (count + 1) / (count - 1))
        wanted = max(PAYS * doublings, KEEPS) if self.rival == high else max(KEEPS * doublings, 2 * FLOOR)
        if abs(gain - wanted) > error * (SURE if (gain > wanted) == (self.rival == high) else 1):
            return high if gain > wanted else low
        return None if count < TURNS and error > FLOOR else self.best

    def is_passed(self, rising: float, noise: float) -> bool:
        """Whether the rival, the higher number, is clearly faster already, at a rate that still grows."""
        if self._last is None or self._gains or self.rival < self.best:
            return False
        return rising - self._last >= max(CLEAR * math.log2(self.rival / self.best), 2 * noise)

    def _with(self, number: int, level: float) -> list[float]:
        if self._last is None:
            return []
        sign = 1 if number == max(self.best, self.rival) else -1
        return [*self._gains, sign * (level - self._last)]


@define
class Measure:
    """The rate with one number, in samples; what came before it was at rest is left out."""

    direction: int = 1  # of the step before: new connections have to ramp up, old ones to empty their buffers
    _samples: deque[float] = field(factory=lambda: deque(maxlen=FULL), init=False)
    _before: float | None = field(default=None, init=False)
    _at_rest: bool = field(default=False, init=False)
    is_growing: bool = field(default=False, init=False)  # as of its last sample
    _moving: float = field(default=0.0, init=False)  # seconds
    _seconds: float = field(default=0.0, init=False)
    _acked: int = field(default=0, init=False)

    @property
    def is_full(self) -> bool:
        return len(self._samples) == FULL

    @property
    def rising(self) -> float | None:
        """The log of a rate that still grows after a step up, as of its last sample: it will be no lower at rest."""
        return math.log(self._before) if self._before and not self._at_rest and self.direction > 0 else None

    @property
    def level(self) -> float | None:
        """The log of the rate; None: too little was seen. Its better half counts: parts that end together do not."""
        if len(self._samples) < QUICK:
            return None
        return math.log(sorted(self._samples)[len(self._samples) // 2])

    def add(self, window: Observation, number: int) -> None:
        """Take in a window in which the connections were in use."""
        self._seconds += window.seconds
        self._acked += window.acked
        enough = self._acked >= SAMPLE_BYTES * number and self._seconds >= SAMPLE_TRIPS * window.rtt
        if not enough and self._seconds < SAMPLE_SECONDS:
            return
        rate = self._acked / self._seconds
        if not self._at_rest:
            self._moving += self._seconds
            moves = self._before is None or self.direction * (rate - self._before) > RAMP * self._before
            self.is_growing = self._before is not None and rate - self._before > GROWS * self._before
            too_many = window.in_use > number / IN_USE
            self._before, self._at_rest = rate, not too_many and (not moves or self._moving >= RAMP_SECONDS)
        if self._at_rest:
            self._samples.append(rate)
        self._seconds, self._acked = 0.0, 0

    def pass_time(self, seconds: float) -> None:
        """Take in a window in which the connections were in use, and nothing was acknowledged.

        Parts that began together end together, and then wait for their answers together: that is a part of the rate.
        It is not one before anything was acknowledged.
        """
        if self._acked or self._before is not None:
            self._seconds += seconds

    def interrupt(self) -> None:
        """Begin again with this number."""
        self._samples.clear()
        self._seconds, self._acked = 0.0, 0


@define
class Noise:
    """How far measures of one number differ from each other on this line."""

    _square: float = field(default=0.0, init=False)
    _levels: dict[int, float] = field(factory=dict, init=False)  # by number, the last

    @property
    def spread(self) -> float:
        """The standard deviation of a measure, as a log."""
        return math.sqrt(self._square)

    @property
    def is_low(self) -> bool:
        """Whether one difference can be believed."""
        return self.spread < CALM

    def add(self, number: int, level: float) -> None:
        """Take in a measure. A line that changes for good looks like noise, but not for long, and within bounds."""
        difference = min(abs(level - self._levels.get(number, level)), NOISIEST)
        self._square += (difference**2 / 2 - self._square) / NOISE_MEMORY
        self._levels[number] = level
