"""A rate limit that processes share: what one of them asks of it, and until when what it got counts (pure).

Rules:

- The pool is a `RateLimit` that is kept in a row of a database, with times on that database's clock. A process reads
  it, computes with it, and writes it over the version that it read; else it reads again. So there is one rule for the
  rate, whether one process has it or many.
- A grant is dated slots for edits that wait: those dated at most a second ahead, and one in any case for a process that
  has none, so that nobody starves. Each is dated by the even spread after all that were given before.
- A slot that is missed by a quarter of a second is forfeited: its share is not given again. So are those of a process
  that was killed.
- A slot counts only while the row was read within the last second. A 429 changes the row at once, so all know it within
  a second: it voids what is dated within its pause, and all that was spaced by a faster rate than the one that is left.
  Their shares are not given again either: a process that has not read it yet may still use them.
- While no limit is known, nothing is dated: what was sent is reported about once a second, so that the first 429 shows
  how much passed.
- The database's clock is counted on by elapsed time here, from the moment of its answer: never too early by it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import define, evolve, field, frozen

from asyncsdk.ratelimit import LATE_SECONDS, Permit, RateLimit, RateUnit, Refusal, Window

AHEAD = 1.0  # seconds: what is given is dated no later than that
LONGEST_TRUST = 1.0  # seconds since the row was read, in which a slot counts
LOOK_EVERY = 0.75  # seconds, while something waits or is to be reported; sooner where a look takes long
LEAST_BETWEEN = 0.2  # seconds, for a process that has used up what it was given
LONGEST_LEAD = 0.5  # seconds: what took longer was an outage, or is too slow for slots
LONGEST_STEP = 1.0  # seconds of the database's clock against elapsed time: more, and it was set

_NUMBERS = ("reported", "peak", "next_at", "resume_at", "counted_from", "slowed_at", "measured_from", "episode",
            "is_proved", "fruitless")  # fmt: skip
_WINDOWS = ("sent", "turned_away")


@frozen
class PoolRow:
    """A pool as it was read: its limit, in which run of the ledger, in which version, and the clock at that moment."""

    limit: RateLimit
    run: int
    version: int
    clock: float

    @classmethod
    def of(cls, row: Mapping[str, Any], unit: RateUnit) -> PoolRow:
        """Read a row. If the database's clock was set back, all that is in it moves with the clock."""
        learned: dict[str, Any] = {name: row[name] for name in _NUMBERS}
        learned |= {name: Window.of(json.loads(row[name])) for name in _WINDOWS}
        limit = RateLimit(unit, row["given"], **learned)
        if math.isfinite(row["changed_at"]) and row["clock"] < row["changed_at"]:
            limit = limit.shifted(row["clock"] - row["changed_at"])
        return cls(limit, row["run"], row["version"], row["clock"])

    def columns(self) -> dict[str, Any]:
        """What is to be written, as JSON takes it: it has no infinite numbers, and the database reads them as text."""
        limit = self.limit
        numbers = {name: getattr(limit, name) for name in _NUMBERS}
        shown = {name: str(each) if isinstance(each, float) else each for name, each in numbers.items()}
        windows = {name: getattr(limit, name).kept() for name in _WINDOWS}
        return {"run": self.run, "changed_at": self.clock, "given": limit.given, **shown, **windows}

    def joined(self, run: int, given: float | None) -> PoolRow:
        """The pool as a process of this `run` uses it that was given this limit, or none.

        A new run begins again. Within one the pool has one limit: a process without one takes what is there.
        """
        if self.run < run:
            return evolve(self, run=run, limit=self.limit.begun_again(given, self.clock))
        if self.run == run and self.limit.given is None and given is not None:
            return evolve(self, limit=evolve(self.limit, given=given))
        return self

    def is_anothers(self, run: int, given: float | None) -> bool:
        """Whether it has another limit in this `run`."""
        return self.run == run and given is not None and self.limit.given not in {None, given}


@frozen
class Reading:
    """When the pool was `asked` and had `answered`, in seconds of elapsed time, and what it was, as it was left."""

    asked: float
    answered: float
    clock: float
    limit: RateLimit

    def clock_at(self, now: float) -> float:
        """The database's clock, at the latest."""
        return self.clock + now - self.answered

    def counts(self, now: float) -> bool:
        """Whether a slot may be used on the strength of it."""
        return now - self.asked <= LONGEST_TRUST

    def is_free(self, units: int, now: float) -> bool:
        """Whether nothing limits how many are sent."""
        at = self.clock_at(now)
        return self.limit.rate(at) is None and self.limit.wait(units, at) <= 0

    def is_continued(self, asked: float, clock: float) -> bool:
        """Whether the database's clock went on as time did until it was asked again."""
        return abs((clock - self.clock) - (asked - self.asked)) <= LONGEST_STEP


@define(eq=False)
class PlaceInLine:
    """An edit that waits, of so many units, and its slot once it has one."""

    units: int
    slot: Permit | None = None


@frozen
class PoolTurn:
    """What a process makes of the pool in one go: `given` are its new slots, the rest is how much it reported."""

    given: Sequence[tuple[PlaceInLine, Permit]]
    sent: int
    unused: int
    refused: int


def slots(limit: RateLimit, wanted: Iterable[int], now: float, *, lead: float, has_some: bool) -> list[Permit]:
    """Give slots to the first of the edits of so many units each, and count them in `limit`.

    The first is dated `lead` seconds ahead: until the grant is written, and known.
    """
    given = list[Permit]()
    for units in wanted:
        at = now + lead + limit.wait(units, now + lead)
        if at > now + AHEAD and (given or has_some):
            break
        given.append(limit.admit(units, at, now))
    return given


@define(eq=False)
class PoolShare:
    """The part of one process: edits in line, first come first served, and what is to be reported.

    `now` is in seconds of elapsed time.
    """

    reading: Reading | None = field(default=None, init=False)
    _line: list[PlaceInLine] = field(factory=list, init=False)
    _sent: list[Permit] = field(factory=list, init=False)  # without having asked
    _unused: list[Permit] = field(factory=list, init=False)
    _refused: list[tuple[Permit, Refusal]] = field(factory=list, init=False)
    _accepted: Permit | None = field(default=None, init=False)  # the newest

    def join(self, units: int) -> PlaceInLine:
        """Join the line."""
        place = PlaceInLine(units)
        self._line.append(place)
        return place

    def leave(self, place: PlaceInLine) -> None:
        """Leave it: a slot that was not used is forfeited."""
        if place in self._line:
            self._line.remove(place)
            self._forfeit(place)

    def is_free(self, units: int, now: float) -> bool:
        """Whether edits may be sent at once: no limit is known, and nobody waits."""
        return (
            not self._line
            and self.reading is not None
            and self.reading.counts(now)
            and self.reading.is_free(units, now)
        )

    def send_now(self, units: int, now: float) -> Permit:
        """A permit without a slot, where that is free."""
        assert self.reading is not None  # noqa: S101 - for the type checker
        permit = Permit(units, self.reading.clock_at(now), self.reading.limit.episode, 0.0)
        self._sent.append(permit)
        return permit

    def wait(self, place: PlaceInLine, now: float) -> float:
        """Seconds until its slot may be used; infinite where the pool has to be looked at first."""
        if place.slot is None or self.reading is None or not self.reading.counts(now):
            return math.inf
        early = place.slot.at - self.reading.clock_at(now)
        if early < -LATE_SECONDS:
            self._forfeit(place)
            return math.inf
        return max(0.0, early)

    def use(self, place: PlaceInLine) -> Permit:
        """Use its slot."""
        assert place.slot is not None  # noqa: S101 - for the type checker
        self._line.remove(place)
        return place.slot

    def accepted(self, permit: Permit) -> None:
        """The server processed what had this permit."""
        if self._accepted is None or permit.episode >= self._accepted.episode:
            self._accepted = permit

    def refused(self, permit: Permit, refusal: Refusal) -> None:
        """The server turned away what had this permit."""
        self._refused.append((permit, refusal))

    def until_look(self, now: float) -> float:
        """Seconds until the pool is to be looked at; infinite while nothing waits and nothing is to be reported."""
        reading = self.reading
        if reading is None or any(permit.episode >= reading.limit.episode for permit, _ in self._refused):
            return 0.0  # it begins an episode
        if self._line and all(place.slot is None for place in self._line):
            return max(0.0, reading.asked + LEAST_BETWEEN - now)
        is_proof = self._accepted is not None and reading.limit.is_proved_by(self._accepted)
        if self._line or self._sent or self._unused or self._refused or is_proof:
            takes = 2 * (reading.answered - reading.asked)
            return max(0.0, reading.asked + max(LEAST_BETWEEN, LOOK_EVERY - takes) - now)
        return math.inf

    def take(self, limit: RateLimit, now: float, *, asked: float, took: float) -> PoolTurn:
        """Report to the `limit`, and take slots of it; it is `now` by the database, which `took` so long to answer.

        Nothing is kept until `settle`, but that what is void is not used meanwhile.
        """
        for permit in self._sent:
            limit.count(permit, now)
        for permit in self._unused:
            limit.unused(permit)
        if self._accepted is not None:
            limit.accepted(self._accepted)
        for permit, refusal in self._refused:
            limit.refused(permit, refusal, now)
        is_set = self.reading is not None and not self.reading.is_continued(asked, now)
        for place in self._line:
            if place.slot is not None and (is_set or limit.is_void(place.slot)):
                limit.unused(place.slot)
                self._forfeit(place)
        wanted = [place for place in self._line if place.slot is None]
        has_some = len(wanted) < len(self._line)
        given = slots(limit, [place.units for place in wanted], now, lead=min(took, LONGEST_LEAD), has_some=has_some)
        return PoolTurn(list(zip(wanted, given, strict=False)), len(self._sent), len(self._unused), len(self._refused))

    def settle(self, turn: PoolTurn, reading: Reading) -> None:
        """The turn is written: what it gave counts, and what it reported is done with."""
        self.reading = reading
        del self._sent[: turn.sent], self._unused[: turn.unused], self._refused[: turn.refused]
        for place, slot in turn.given:
            place.slot = slot
            if place not in self._line:  # it left meanwhile
                self._forfeit(place)

    def _forfeit(self, place: PlaceInLine) -> None:
        if place.slot is not None:
            self._unused.append(place.slot)
            place.slot = None
