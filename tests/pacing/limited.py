"""Servers that limit images a minute in the ways servers do, and callers of one, on a clock that is not real."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from attrs import define, field

from asyncsdk.ratelimit import Permit, RateLimit, Refusal


class Server(Protocol):
    def ask(self, images: int, now: float) -> float | None:
        """None where they pass, else the seconds until they would."""


@define
class SlidingMinute:
    """Never more than `limit` in any sixty seconds."""

    limit: float
    _passed: deque[tuple[float, int]] = field(factory=deque, init=False)

    def ask(self, images: int, now: float) -> float | None:
        while self._passed and self._passed[0][0] <= now - 60:
            self._passed.popleft()
        excess = sum(n for _, n in self._passed) + images - self.limit
        if excess <= 0:
            self._passed.append((now, images))
            return None
        gone = itertools.accumulate(n for _, n in self._passed)
        return next((at + 60 - now for (at, _), n in zip(self._passed, gone, strict=True) if n >= excess), 60.0)


@define
class FixedMinute:
    """Counts from nought in each minute of its own clock, which began `phase` seconds before ours."""

    limit: float
    phase: float = 0.0
    _passed: Counter[int] = field(factory=Counter, init=False)

    def ask(self, images: int, now: float) -> float | None:
        minute = int((now + self.phase) // 60)
        if self._passed[minute] + images <= self.limit:
            self._passed[minute] += images
            return None
        return (minute + 1) * 60 - self.phase - now


@define
class Bucket:
    """Holds `burst` and is filled evenly with `limit` a minute."""

    limit: float
    burst: float
    level: float = field(init=False)
    _at: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.level = self.burst

    def ask(self, images: int, now: float) -> float | None:
        self.level, self._at = min(self.burst, self.level + (now - self._at) * self.limit / 60), now
        if images <= self.level + 1e-9:
            self.level -= images
            return None
        return (images - self.level) * 60 / self.limit


def says_all(limit: float, delay: float) -> Refusal:
    return Refusal(limit, delay)


@define
class Callers:
    """`concurrency` callers of one server, who send items of these `sizes` and try again what it refuses.

    `on_the_way` is the most seconds a request takes to be counted, `at_work` the most until it is answered.
    """

    pace: RateLimit
    server: Server
    sizes: Iterator[int]
    limit: float
    concurrency: int = 16
    on_the_way: float = 0.3
    at_work: float = 1.0
    says: Callable[[float, float], Refusal] = says_all
    chance: random.Random = field(factory=lambda: random.Random(1))
    passed: list[tuple[float, int]] = field(factory=list, init=False)
    refused: Counter[int] = field(factory=Counter, init=False)
    _line: deque[int] = field(factory=deque, init=False)
    _events: list[tuple[float, int, Callable[[float], None]]] = field(factory=list, init=False)
    _serial: Iterator[int] = field(factory=itertools.count, init=False)
    _looks: int = field(default=0, init=False)

    def run(self, seconds: float) -> None:
        self._line.extend(next(self.sizes) for _ in range(self.concurrency))
        self._give_turns(0.0)
        while self._events and self._events[0][0] < seconds:
            now, _, happen = heapq.heappop(self._events)
            happen(now)

    def images(self, begin: float, end: float) -> int:
        return sum(images for at, images in self.passed if begin <= at < end)

    def _at(self, moment: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._serial), happen))

    def _look_again(self, look: int, now: float) -> None:
        if look == self._looks:  # else something happened meanwhile, and it was looked then
            self._give_turns(now)

    def _give_turns(self, now: float) -> None:
        self._looks += 1
        while self._line:
            wait = self.pace.wait(self._line[0], now)
            if wait > 0:
                late = self.chance.uniform(0, 0.003)
                self._at(now + wait + late, partial(self._look_again, self._looks))
                return
            images = self._line.popleft()
            permit = self.pace.admit(images, now)
            self._at(now + self.chance.uniform(0, self.on_the_way), partial(self._arrive, permit))

    def _arrive(self, permit: Permit, now: float) -> None:
        delay = self.server.ask(permit.units, now)
        if delay is None:
            self.passed.append((now, permit.units))
            self._at(now + self.chance.uniform(0, self.at_work), lambda then: self._accept(permit, then))
        else:
            self._at(now + self.chance.uniform(0, self.on_the_way / 10), lambda then: self._refuse(permit, delay, then))

    def _accept(self, permit: Permit, now: float) -> None:
        self.pace.accepted(permit)
        self._line.append(next(self.sizes))
        self._give_turns(now)

    def _refuse(self, permit: Permit, delay: float, now: float) -> None:
        self.refused[permit.episode] += 1
        self.pace.refused(permit, self.says(self.limit, delay), now)
        self._line.append(permit.units)
        self._give_turns(now)
