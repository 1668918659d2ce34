"""How many connections an uploader uses: a controller that learns it from what the line gives (pure).

More are tried first, twice as many, while that pays; then fewer, half as many, while that costs next to nothing. Each
try is a duel: the rate with the one number against that with the other, in turns, since the line may change meanwhile.
A large difference is believed at once, so that short uploads learn quickly: to be too high for a while costs little,
and the way down corrects it. What is close takes several turns, the more the noisier the line is. On a far line whose
rate grows without a bound in sight, all are used at once, and fewer are tried some seconds later.

Then the number is settled. More are tried again now and then, which is nearly free; fewer are tried more rarely; both
once the rate has changed. While something else limits, the number does not rise. A server that refuses parts above a
number sets a ceiling.
"""

from __future__ import annotations

import math
from enum import Enum

from attrs import define, field

from asyncsdk.uploads.pacing.measuring import HELD_BACK, IN_USE, Duel, Measure, Noise, Observation

LEAST, START, MOST = 4, 8, 32
WINDOW_SECONDS = 0.25  # how often `observe` is to be called
PAUSE_SECONDS = 10.0  # a connection above the number pauses so long at most, in mid-part, and then ends its part

FAR_SECONDS = 0.03  # of a round trip: from there on too many connections cost next to nothing, and too few a lot

PATIENCE = 5.0  # seconds without anything to learn from
PROPORTIONAL = 0.8  # of what a step up can gain: each flow is limited by itself, and fewer need not be tried

# at rest
MORE_AGAIN = 10.0  # seconds
FEWER_AFTER = 6.0  # seconds with all connections, of a line of which nothing else is known yet
FEWER_AGAIN = (15.0, 30.0, 60.0)
CHANGED, CHANGED_MEASURES, CHANGED_AGAIN = math.log(1.3), 3, 5.0

# refused parts
STRAYS = {2: 0.1, 4: 0.04}  # so many refusals are not about the number if they are fewer of the attempts
REMEMBERED = 200  # parts
CEILING_AGAIN, PARTS_PER_REFUSAL = 60.0, 60  # seconds, and parts to be answered, before a ceiling is tried again


@define
class _Refusals:
    """What became of attempts at parts with one number, in all the times when it was used."""

    refused: int = 0
    finished: int = 0
    seconds: float = 0.0  # since the first of those that were refused

    def add(self, seen: Observation) -> None:
        """Take in a window. What is long past counts less and less."""
        self.seconds += seen.seconds if self.refused else 0.0
        self.refused += seen.refused
        self.finished += seen.finished
        if self.finished > REMEMBERED:
            self.refused, self.finished = self.refused // 2, self.finished // 2

    def are_too_many(self, under_way: float) -> bool:
        """Whether they are more than strays, and came in more than one window."""
        attempts = self.refused + self.finished + under_way
        return self.seconds > 0 and any(self.refused >= max(least, share * attempts) for least, share in STRAYS.items())


@define
class _Ceiling:
    """The lowest number at which the server refuses parts, as far as it is known."""

    limit: int = MOST + 1
    _refusals: dict[int, _Refusals] = field(factory=dict, init=False)  # by number
    _price: int = field(default=0, init=False)  # refusals that it took to find the limit
    _parts: int = field(default=0, init=False)  # answered since then
    _seconds: float = field(default=0.0, init=False)

    def is_hit(self, seen: Observation, number: int) -> bool:
        """Whether the server refuses parts because of their `number`: not strays, and not an outage."""
        self._parts += seen.finished
        self._seconds += seen.seconds
        if seen.acked <= 0:
            self._refusals.clear()
            return False
        if seen.in_use > number / IN_USE:
            return False
        those = self._refusals.setdefault(number, _Refusals())
        those.add(seen)
        if number <= LEAST or not those.are_too_many(seen.in_use):
            return False
        self.limit, self._price, self._parts, self._seconds = number, those.refused, 0, 0.0
        del self._refusals[number]
        return True

    def step_up(self, number: int) -> int:
        """The next higher number to try: twice as many, or halfway to the ceiling."""
        return min(2 * number, MOST) if self.limit > MOST else max(number, (number + self.limit) // 2)

    def look_again(self) -> None:
        """Lift it by one if it was found long ago, and enough parts were sent since to pay for another try."""
        if self.limit <= MOST and self._seconds >= CEILING_AGAIN and self._parts >= PARTS_PER_REFUSAL * self._price:
            self.limit, self._parts, self._seconds = self.limit + 1, 0, 0.0


@define
class _Rest:
    """When to try other numbers again: after a while, or once the rate has changed."""

    _level: float | None = field(default=None, init=False)
    _seconds: float = field(default=0.0, init=False)
    _longest: float = field(default=MORE_AGAIN, init=False)
    _since_fewer: float = field(default=math.inf, init=False)
    _tries: int = field(default=0, init=False)  # of fewer
    _off: int = field(default=0, init=False)  # measures in a row that differ; negative: below

    @property
    def may_try_fewer(self) -> bool:
        """Whether fewer are due: they are tried less often, since that costs what the others would have sent."""
        return self._tries == 0 or self._since_fewer >= FEWER_AGAIN[min(self._tries, len(FEWER_AGAIN)) - 1]

    def fewer_are_due(self) -> None:
        self._tries = 0

    def pass_time(self, seconds: float) -> None:
        self._seconds += seconds
        self._since_fewer += seconds

    def begin(self, *, tried_fewer: bool, seconds: float = MORE_AGAIN) -> None:
        """A number was settled, for so many `seconds` at most."""
        self._level, self._seconds, self._longest, self._off = None, 0.0, seconds, 0
        if tried_fewer:
            self._tries, self._since_fewer = self._tries + 1, 0.0

    def is_over(self, level: float) -> bool:
        """Whether to try others now, where this one gives `level`."""
        if self._level is None:
            self._level = level
        off = level - self._level
        way = 0 if abs(off) < CHANGED else 1 if off > 0 else -1
        self._off = self._off + way if way * self._off > 0 else way
        if abs(self._off) >= CHANGED_MEASURES and self._seconds >= CHANGED_AGAIN:
            self.fewer_are_due()
            return True
        return self._seconds >= self._longest


class _Phase(Enum):
    MORE, FEWER, REST = range(3)


@define
class ConnectionCount:
    """The number of connections for the next window: call `observe` with each window, and use `number`.

    Connections above it pause, else each try would last as long as parts do; each for `PAUSE_SECONDS` at most.

    Args:
        number: To begin with, 4 to 32: such as `best` of an earlier upload to this server.
    """

    number: int = START
    best: int = field(init=False)  # adopted so far; what an error message or the next upload may use
    settled: bool = field(default=False, init=False)  # once more and fewer were tried, or nothing could be learned
    _phase: _Phase = field(default=_Phase.MORE, init=False)
    is_new: bool = field(init=False)  # nothing is known of the line, and nothing was refused yet
    _was_limited: bool = field(default=False, init=False)  # by this side, since it began
    _first: float | None = field(default=None, init=False)  # the log of the rate when all were opened
    _proportional: bool = field(default=False, init=False)  # the last step up gained nearly all that it could
    _blocked: float = field(default=0.0, init=False)  # seconds in which nothing was to be learned
    _duel: Duel | None = field(default=None, init=False)
    _measure: Measure = field(factory=Measure, init=False)
    _noise: Noise = field(factory=Noise, init=False)
    _ceiling: _Ceiling = field(factory=_Ceiling, init=False)
    _rest: _Rest = field(factory=_Rest, init=False)

    def __attrs_post_init__(self) -> None:
        self.number = self.best = min(max(self.number, LEAST), MOST)
        self.is_new = self.number == START

    def open_up(self, number: int = MOST) -> None:
        """Use so many connections from now on, where nothing is known of the line yet; fewer are tried later."""
        if self.is_new and number > self.number:
            self.is_new, self.best, self._phase, self._first = number < MOST, number, _Phase.REST, self._measure.rising
            self._move(number)
            self._rest.begin(tried_fewer=False, seconds=FEWER_AFTER)

    def stop_opening(self) -> None:
        """A part was refused: where the line was new, and the number was raised by rounds, it is as it began."""
        if self.is_new and self.number > START:
            self.best, self._phase, self._first = START, _Phase.MORE, None
            self._move(START)
        self.is_new = False

    def observe(self, seen: Observation) -> int:
        """Take in a window, and return the number for the next."""
        if not 0 < seen.seconds < math.inf:
            return self.number
        self._rest.pass_time(seen.seconds)
        may_rise, is_used = not (seen.is_limited or seen.refused), seen.in_use >= IN_USE * self.number
        self.is_new = self.is_new and not seen.refused
        self._was_limited = self._was_limited or seen.is_limited
        if self._ceiling.is_hit(seen, self.number):
            self._retreat()
        elif not (seen.acked > 0 and is_used):
            if may_rise and is_used:  # else this side may be what they wait for
                self._measure.pass_time(seen.seconds)
            else:
                self._measure = Measure()
            if self._is_blocked(seen.seconds):
                self._settle()
        else:
            self._measure.add(seen, self.number)
            is_free = self.is_new and not self._was_limited
            if is_free and seen.rtt >= FAR_SECONDS and self._measure.is_growing:
                self.open_up()
            elif self._judge(may_rise=may_rise):
                self._blocked = 0.0
            elif self._is_blocked(seen.seconds):
                self._give_way(seen)
        return self.number

    def _judge(self, *, may_rise: bool) -> bool:
        """Go on if enough was measured with this number. False: the next number would be higher, and may not."""
        level, full = self._measure.level, self._measure.is_full
        if level is None:
            return self._rise(may_rise=may_rise)
        if self._duel is None:
            return self._seek(level, may_rise=may_rise)
        winner = self._duel.winner(
            self.number, level, self._noise.spread, full=full, hasty=not self.settled or self._noise.is_low
        )
        if winner is None and not full:
            return True
        follows = self._duel.other(self.number) if winner is None else winner
        if follows > max(self.number, self.best) and not may_rise:
            return False
        if winner is None:
            self._noise.add(self.number, level)
            self._duel.add(self.number, level)
        else:
            self._end(self._duel, winner)
        if follows == self.number:
            return self._seek(level, may_rise=may_rise)
        self._move(follows)
        return True

    def _rise(self, *, may_rise: bool) -> bool:
        """Go on to the next higher number where this one passed the best before its rate is at rest. As `_judge`."""
        rising, duel, higher = self._measure.rising, self._duel, self._ceiling.step_up(self.number)
        if rising is None or duel is None or self.number != duel.rival or higher == self.number:
            return True
        if may_rise and not self.settled and duel.is_passed(rising, self._noise.spread):
            self.best = self.number
            self._challenge(higher, rising)
        return True

    def _seek(self, level: float, *, may_rise: bool) -> bool:
        """Begin another duel, if one is to be fought; `level` is what this number gives. As `_judge`."""
        if self._phase is _Phase.REST and self._measure.is_full:
            self._measure.interrupt()
            self._noise.add(self.number, level)
            if self._rest.is_over(level):
                self._ceiling.look_again()
                gain, self._first = 0.0 if self._first is None else level - self._first, None
                self._phase, self._proportional = _Phase.MORE, gain >= PROPORTIONAL * math.log(MOST / START)
        if self._phase is _Phase.MORE:
            higher = self._ceiling.step_up(self.number)
            if higher > self.number:
                if may_rise:
                    self._challenge(higher, level)
                return may_rise
            self._phase = _Phase.FEWER
        if self._phase is _Phase.FEWER:
            lower = max(LEAST, self.number // 2)
            if lower < self.number and self._rest.may_try_fewer and not self._proportional:
                self._challenge(lower, level)
            else:
                self._settle(tried_fewer=self._proportional)
        return True

    def _give_way(self, seen: Observation) -> None:
        """More are out of the question; where the event loop has too much to do, fewer may even be faster."""
        if seen.held_back > HELD_BACK:
            self._settle()
        else:
            self._phase = _Phase.FEWER

    def _challenge(self, rival: int, level: float) -> None:
        self.is_new, self._duel = False, Duel(self.best, rival)
        self._duel.add(self.best, level)
        self._move(rival)

    def _end(self, duel: Duel, winner: int) -> None:
        """Adopt the winner. The way up ends with a defeat, and so does the way down."""
        self._duel = None
        if winner > self.best:
            self._proportional = duel.share >= PROPORTIONAL
            self._rest.fewer_are_due()
        elif winner < self.best:
            self._proportional = False
        elif self._phase is _Phase.MORE:
            self._phase = _Phase.FEWER
        else:
            self._settle(tried_fewer=True)
        self.best = winner

    def _settle(self, *, tried_fewer: bool = False) -> None:
        self._phase, self.settled = _Phase.REST, True
        self._rest.begin(tried_fewer=tried_fewer)

    def _retreat(self) -> None:
        """Parts are refused: back to what was not refused, or to half; from there up to below the ceiling."""
        self.best = self.best if self.best < self.number else max(LEAST, self.number // 2)
        self._duel, self._phase, self._proportional = None, _Phase.MORE, False
        self._move(self.best)

    def _is_blocked(self, seconds: float) -> bool:
        """Whether it is time to give up what could not go on; a duel ends without a winner."""
        self._blocked += seconds
        if self._blocked < PATIENCE:
            return False
        self._duel, self._blocked = None, 0.0
        if self.number != self.best:
            self._move(self.best)
        return True

    def _move(self, number: int) -> None:
        self._measure = Measure(1 if number > self.number else -1)
        self.number = number
