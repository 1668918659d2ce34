"""Processes that share a rate pool, on a clock that is not real: slow, paused, cut off, killed, turned away."""

from __future__ import annotations

import heapq
import itertools
import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from attrs import define, field

from asyncsdk.ratelimit import INPUT_IMAGES, Permit, RateLimit, Refusal
from asyncsdk.ratepool import PlaceInLine, PoolRow, PoolShare, Reading
from tests.fleet.checker import busiest_minute

TURNED_AWAY = Refusal(None, 0.02)
BEGIN = 1_800_000_000.0  # by the database's clock, when it is 0.0 here


@define
class Pool:
    """The row, as the database keeps it. `set_by` seconds its clock was set."""

    given: float | None
    set_by: float = 0.0
    version: int = 0
    row: dict[str, Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        fresh = PoolRow(RateLimit(INPUT_IMAGES, self.given), 0, 0, BEGIN)
        self.row = self._stored(fresh.columns())

    def read(self, now: float) -> PoolRow:
        return PoolRow.of({**self.row, "version": self.version, "clock": BEGIN + now + self.set_by}, INPUT_IMAGES)

    def write(self, version: int, columns: dict[str, Any]) -> bool:
        if version != self.version:
            return False
        self.version, self.row = version + 1, self._stored(columns)
        return True

    def _stored(self, columns: dict[str, Any]) -> dict[str, Any]:
        """As JSON there and back; numbers that JSON has not come as text."""
        row = json.loads(json.dumps(columns, allow_nan=False))
        row |= {name: float(each) for name, each in row.items() if isinstance(each, str)}
        return {**row, **{name: json.dumps(row[name]) for name in ("sent", "turned_away")}}


@define(eq=False)
class Process:
    """One that always has `concurrency` edits waiting or at the server. Durations are in seconds, at the most."""

    pool: Pool
    fleet: Fleet
    sizes: Iterator[int]
    chance: random.Random
    concurrency: int = 8
    share: PoolShare = field(factory=PoolShare, init=False)
    line: list[PlaceInLine] = field(factory=list, init=False)
    in_flight: int = field(default=0, init=False)
    is_looking: bool = field(default=False, init=False)
    wakes: int = field(default=0, init=False)
    is_gone: bool = field(default=False, init=False)
    paused_until: float = field(default=0.0, init=False)
    cut_off_until: float = field(default=0.0, init=False)  # the database does not answer this one
    has_had: list[tuple[float, int]] = field(factory=list, init=False)

    def step(self, now: float) -> None:
        while len(self.line) + self.in_flight < self.concurrency:
            units = next(self.sizes)
            if self.share.is_free(units, now):
                self._send(self.share.send_now(units, now), now)
            else:
                self.line.append(self.share.join(units))
        waits = list[float]()
        for place in list(self.line):
            wait = self.share.wait(place, now)
            if wait <= 0:
                self.line.remove(place)
                self._send(self.share.use(place), now)
            else:
                waits.append(wait)
        if not self.is_looking:
            waits.append(self.share.until_look(now))
            if waits[-1] <= 0:
                self.is_looking = True
                self._later(self._latency(), partial(self._read, now), is_ours=False)
        self.wakes += 1
        wait = min((each for each in waits if each > 0), default=math.inf)
        if wait < math.inf:
            self._later(wait + self.chance.uniform(0.0001, 0.003), partial(self._wake, self.wakes))

    def _wake(self, number: int, now: float) -> None:
        if number == self.wakes:  # else it has looked since
            self.step(now)

    def _read(self, asked: float, now: float) -> None:
        if now < self.cut_off_until:
            self._later(self.cut_off_until - now, partial(self._read, asked), is_ours=False)
            return
        self._later(self._latency(), partial(self._decide, asked, self.pool.read(now)))

    def _decide(self, asked: float, row: PoolRow, now: float) -> None:
        before = row.columns()
        turn = self.share.take(row.limit, row.clock, asked=asked, took=now - asked)
        settle = partial(self.share.settle, turn, Reading(asked, now, row.clock, row.limit))
        if row.columns() == before:
            self._settle(settle, now)
        else:
            self._later(self._latency(), partial(self._write, row, settle), is_ours=False)

    def _write(self, row: PoolRow, settle: Callable[[], None], now: float) -> None:
        if now < self.cut_off_until:
            self._later(self.cut_off_until - now, partial(self._write, row, settle), is_ours=False)
        elif self.pool.write(row.version, row.columns()):
            self._later(self._latency(), partial(self._settle, settle))
        else:
            self._later(self._latency(), lambda then: self._later(0, partial(self._read, then), is_ours=False))

    def _settle(self, settle: Callable[[], None], now: float) -> None:
        self.is_looking = False
        settle()
        self.step(now)

    def _send(self, permit: Permit, now: float) -> None:
        self.in_flight += 1
        self.has_had.append((now, permit.units))
        refusal = self.fleet.ask(permit.units, now)
        self._later(self.chance.uniform(0, self.fleet.at_work), partial(self._answered, permit, refusal))

    def _answered(self, permit: Permit, refusal: Refusal | None, now: float) -> None:
        self.in_flight -= 1
        if refusal is None:
            self.share.accepted(permit)
        else:
            self.share.refused(permit, refusal)
        self.step(now)

    def _latency(self) -> float:
        return self.chance.uniform(0.0005, self.fleet.latency)

    def _later(self, seconds: float, happen: Callable[[float], None], *, is_ours: bool = True) -> None:
        """`is_ours`: it happens in this process, and so not while it is paused, nor after it was killed."""
        self.fleet.at(self.fleet.now + seconds, self if is_ours else None, happen)


@define(eq=False)
class Fleet:
    """`pauses`, `cuts` (off the database) and `kills` are how many there are to be.

    `refusals` is which part is turned away, and `refusal` with what.
    """

    seed: int
    limit: float | None
    processes: int = 4
    most: int = 1
    latency: float = 0.02
    at_work: float = 1.0
    concurrency: int = 8
    pauses: int = 0
    longest_pause: float = 20.0
    cuts: int = 0
    kills: int = 0
    refusals: float = 0.0
    refusal: Refusal = TURNED_AWAY
    server: Callable[[int, float], float | None] | None = None  # seconds until it would pass
    says: Callable[[float], Refusal] = lambda delay: Refusal(None, delay)
    now: float = field(default=0.0, init=False)
    sent: list[tuple[float, int]] = field(factory=list, init=False)
    passed: list[tuple[float, int]] = field(factory=list, init=False)
    pool: Pool = field(init=False)
    members: list[Process] = field(factory=list, init=False)
    _events: list[tuple[float, int, Process | None, Callable[[float], None]]] = field(factory=list, init=False)
    _serial: Iterator[int] = field(factory=itertools.count, init=False)
    _chance: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._chance, self.pool = random.Random(self.seed), Pool(self.limit)

    def run(self, seconds: float) -> None:
        chance = self._chance
        if not self.members:
            for _ in range(self.processes):
                sizes = (chance.randint(1, self.most) for _ in itertools.count())
                self.members.append(Process(self.pool, self, sizes, chance, self.concurrency))
                self.at(chance.uniform(0, 1), self.members[-1], self.members[-1].step)
            for _ in range(self.pauses):
                self.at(chance.uniform(0, seconds), None, self._pause)
            for _ in range(self.cuts):
                self.at(chance.uniform(0, seconds), None, self._cut_off)
            for _ in range(self.kills):
                self.at(chance.uniform(0, seconds), None, self._kill)
        while self._events and self._events[0][0] < seconds:
            self.now, _, process, happen = heapq.heappop(self._events)
            if process is None or (not process.is_gone and process.paused_until <= self.now):
                happen(self.now)
            elif not process.is_gone:
                self.at(process.paused_until, process, happen)

    def at(self, moment: float, process: Process | None, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._serial), process, happen))

    def ask(self, units: int, now: float) -> Refusal | None:
        self.sent.append((now, units))
        delay = None if self.server is None else self.server(units, now)
        if delay is not None:
            return self.says(delay)
        if self._chance.random() < self.refusals:
            return self.refusal
        self.passed.append((now, units))
        return None

    def _pause(self, now: float) -> None:
        longest = self._chance.choice([0.1, 0.5, 2.0, self.longest_pause])
        self._chance.choice(self.members).paused_until = now + self._chance.uniform(0, longest)

    def _cut_off(self, now: float) -> None:
        longest = self._chance.choice([0.5, 2.0, self.longest_pause])
        self._chance.choice(self.members).cut_off_until = now + self._chance.uniform(0, longest)

    def _kill(self, _: float) -> None:
        """Kill one, and start another in its place."""
        victim = self._chance.choice([each for each in self.members if not each.is_gone])
        victim.is_gone = True
        fresh = Process(self.pool, self, victim.sizes, self._chance, self.concurrency)
        self.members.append(fresh)
        self.at(self.now, fresh, fresh.step)


def most_in_a_minute(sent: Sequence[tuple[float, int]]) -> int:
    return busiest_minute(sent)[0]


def most_ahead(sent: Sequence[tuple[float, int]], rate: float) -> float:
    """By how many seconds a stretch of time has more than its even share at this `rate` a minute and its largest item.

    That one is not counted wherever it is: a slot that is used late may be overtaken by the next, of whatever size.
    """
    ahead, before = 0.0, 0.0
    begun = dict[int, float]()  # by the largest item since: the latest begin of a stretch, less what was sent before it
    for at, units in sent:
        begun[units] = max(at - before, *(begun.pop(size) for size in list(begun) if size <= units), -math.inf)
        before += units * 60 / rate
        ahead = max(ahead, *(before - size * 60 / rate - (at - begin) for size, begin in begun.items()))
    return ahead


def between(sent: Sequence[tuple[float, int]], begin: float, end: float) -> int:
    return sum(units for at, units in sent if begin < at <= end)
