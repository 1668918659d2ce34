"""Models of lines, in steps of 25 ms: flows that ramp up, wait for answers and share what there is.

A flow connects (three round trips), doubles its rate each round trip up to what it can have, sends a part, and waits
for the answer. What a line gives is a function of time; chance comes from a seed, so that
runs can be compared. No real time passes.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise
from typing import Protocol

from attrs import define, evolve, field, frozen

from asyncsdk.uploads.chunking import LARGEST_FILE, MIB, fitting_part_size, usual_part_size
from asyncsdk.uploads.pacing.concurrency import PAUSE_SECONDS, START, WINDOW_SECONDS
from asyncsdk.uploads.pacing.measuring import Observation

STEP = 0.025  # seconds
MBIT = 1e6 / 8
HANDSHAKES = 3  # round trips before the first byte of the first part: TCP, TLS, and the request
FIRST_FLIGHT = 14_600  # bytes: ten segments
PACKET = 1460
NO_LIMIT = math.inf


class Controller(Protocol):
    @property
    def number(self) -> int: ...
    @property
    def best(self) -> int: ...
    @property
    def settled(self) -> bool: ...
    def observe(self, window: Observation) -> int: ...


@define
class Fixed:
    """A number that the caller gave."""

    number: int
    settled: bool = True

    @property
    def best(self) -> int:
        return self.number

    def observe(self, window: Observation) -> int:  # noqa: ARG002 - a controller's signature
        return self.number


def always(value: float) -> Callable[[float], float]:
    return lambda _: value


@frozen(kw_only=True)
class Line:
    """Rates in bytes a second. `total` is what all flows together can have, by their number and the time."""

    rtt: float = 0.04
    flow: Callable[[float], float] = lambda _: NO_LIMIT
    total: Callable[[float, float], float] = lambda _number, _time: NO_LIMIT
    loss: float = 0.0  # share of packets; a flow halves at each, and grows by a packet a round trip
    accepts: Callable[[float], float] = lambda _: NO_LIMIT  # parts at once; more are refused
    strays: float = 0.0  # share of parts that are refused whatever their number
    reads: float = NO_LIMIT  # what the disk gives
    sends: float = NO_LIMIT  # what the CPU can send
    limit_rate: float = NO_LIMIT
    answer: float = 0.03  # seconds that the server takes for a part
    pauses: bool = True  # flows above the number wait in mid-part; else they end their parts first
    clumps: bool = False  # all flows have their bytes acknowledged once a round trip, in the same moment
    drains: float = 0.0  # seconds for which the system still sends of a flow that pauses


@define
class Flow:
    part: float = 0.0  # bytes left of it
    size: float = 0.0
    rate: float = 0.0  # that it dares now
    ready_at: float = 0.0
    answered_at: float | None = None
    paused_at: float | None = None
    tries: int = 0
    busy: bool = False
    grows: bool = True  # in slow start
    accepted: bool = False


@define
class Tally:
    """What a window sums up."""

    since: float = 0.0
    steps: int = 0
    acked: float = 0.0
    used: float = 0.0
    held_back: float = 0.0
    loop: float = 0.0
    finished: int = 0
    refused: int = 0

    def window(self, now: float, rtt: float) -> Observation:
        return Observation(
            seconds=now - self.since,
            acked=int(self.acked),
            in_use=self.used / self.steps,
            rtt=rtt,
            finished=self.finished,
            refused=self.refused,
            held_back=self.held_back / self.steps,
            loop_busy=self.loop / self.steps,
        )


@frozen
class Seen:
    """A window that ended at `time`, the number in it, and whether it was settled then."""

    time: float
    number: int
    best: int
    settled: bool
    window: Observation


@define
class Simulation:
    """Uploads `size` bytes over `line`, at most `longest` seconds long, and keeps what was seen in each window."""

    line: Line
    control: Controller
    size: float = 64 << 30
    seed: int = 0
    longest: float = 3600.0
    time: float = 0.0
    seen: list[Seen] = field(factory=list)
    _flows: list[Flow] = field(factory=list)
    _left: float = 0.0
    _rate: float = 0.0
    _unseen: float = 0.0  # bytes that were sent and not acknowledged yet
    _chance: random.Random = field(factory=random.Random)

    def run(self) -> Simulation:
        self._chance.seed(self.seed)
        given = self.control.number if isinstance(self.control, Fixed) else START
        self._left, usual = self.size, usual_part_size(min(int(self.size), LARGEST_FILE), given)
        tally, busy = Tally(), True
        while (self._left > 0 or busy) and self.time < self.longest:
            self.time += STEP
            tally.refused += self._assign(usual)
            moved = self._send(tally)
            tally.finished += self._answer()
            tally.used += len(self._working())
            tally.steps += 1
            self._rate += (moved / STEP - self._rate) * STEP / 2
            busy = any(flow.busy for flow in self._flows)
            if self.time - tally.since >= WINDOW_SECONDS - STEP / 2:
                control, window = self.control, tally.window(self.time, self.line.rtt)
                self.seen.append(Seen(self.time, control.number, control.best, control.settled, window))
                control.observe(window)
                tally = Tally(since=self.time)
        return self

    def rate_between(self, start: float, end: float) -> float:
        """Bytes a second in the windows that ended then."""
        chosen = [seen.window for seen in self.seen if start < seen.time <= end]
        return sum(window.acked for window in chosen) / sum(window.seconds for window in chosen)

    def refused_after(self, start: float) -> float:
        """The share of attempts at parts that were refused."""
        windows = [seen.window for seen in self.seen if seen.time > start]
        refused = sum(window.refused for window in windows)
        return refused / max(1, refused + sum(window.finished for window in windows))

    def _assign(self, usual: int) -> int:
        """Give parts to flows that are free; returns how many were refused."""
        refused, now = 0, self.time
        busy = [flow for flow in self._flows if flow.busy]
        while self._left > 0 and len(busy) < self.control.number:
            free = next((flow for flow in self._flows if not flow.busy), None)
            if free is None:
                free = Flow(rate=FIRST_FLIGHT / self.line.rtt, ready_at=now + HANDSHAKES * self.line.rtt)
                self._flows.append(free)
            share = int(self._left / self.control.number)
            flow_rate = self._rate / max(1, len(busy)) if now > 1 else None
            free.part = free.size = min(self._left, fitting_part_size(usual, flow_rate, share))
            free.busy, free.accepted, free.tries, free.answered_at = True, False, 0, None
            free.ready_at = max(free.ready_at, now)
            self._left -= free.size
            busy.append(free)
        accepted = len([flow for flow in busy if flow.accepted])
        if accepted == len(busy):
            return 0
        for flow in self._working():
            if flow.accepted or flow.ready_at > now:
                continue
            if accepted >= self.line.accepts(now) or self._chance.random() < self.line.strays:
                refused += 1
                flow.tries += 1
                delay = min(8.0, 0.5 * 2 ** (flow.tries - 1))
                flow.ready_at = now + self.line.rtt + delay * self._chance.uniform(0.5, 1)
            else:
                flow.accepted = True
                accepted += 1
        return refused

    def _working(self) -> list[Flow]:
        """The flows that hold a part and may send; above the number they pause, in mid-part some seconds at most."""
        busy, waiting, number = list[Flow](), list[Flow](), self.control.number
        for flow in self._flows:
            if flow.busy:
                (busy if flow.accepted else waiting).append(flow)
        busy += waiting
        for flow in busy[:number]:
            flow.paused_at = None
        if len(busy) <= number or not self.line.pauses:
            return busy
        for flow in busy[number:]:
            flow.paused_at = self.time if flow.paused_at is None else flow.paused_at
        return [
            flow
            for flow in busy
            if flow.paused_at is None
            or (flow.accepted and not self.line.drains < self.time - flow.paused_at <= PAUSE_SECONDS)
        ]

    def _send(self, tally: Tally) -> float:
        """Move bytes for a step."""
        line, now = self.line, self.time
        active = [flow for flow in self._working() if flow.accepted and flow.answered_at is None]
        most = line.flow(now)
        wants = [min(flow.rate, most) for flow in active]
        asked = sum(wants)
        own = min(line.reads, line.sends, line.limit_rate)
        given = min(asked, line.total(len(active), now), own)
        self._move(active, wants, given / asked if asked > 0 else 0.0)
        if asked > 0 and given >= min(line.reads, line.limit_rate) * 0.999:
            tally.held_back += 1 - given / min(asked, line.total(len(active), now))
        tally.loop += given / line.sends
        self._unseen += given * STEP
        if not line.clumps or now % line.rtt < STEP:
            tally.acked, self._unseen = tally.acked + self._unseen, 0.0
        return given * STEP

    def _move(self, flows: list[Flow], wants: list[float], scale: float) -> None:
        """Let each flow send this share of what it wants, and dare more next time."""
        line = self.line
        doubling, packet = 2 ** (STEP / line.rtt), PACKET / line.rtt * STEP / line.rtt
        first, most = FIRST_FLIGHT / line.rtt, line.flow(self.time) * 1.05
        for flow, want in zip(flows, wants, strict=True):
            got = want * scale
            flow.part -= got * STEP
            if line.loss and self._chance.random() < 1 - (1 - line.loss) ** (got * STEP / PACKET):
                flow.rate, flow.grows = flow.rate / 2, False
            elif flow.grows:
                flow.rate = min(flow.rate * doubling, most, max(got * 2, first))
            else:
                flow.rate += packet

    def _answer(self) -> int:
        """Free the flows whose parts were answered; returns how many."""
        finished = 0
        for flow in self._flows:
            if not flow.accepted:
                continue
            if flow.answered_at is None and flow.part <= 0:
                flow.answered_at = self.time + self.line.rtt + self.line.answer * self._chance.uniform(0.5, 1.5)
            if flow.answered_at is not None and flow.answered_at <= self.time:
                flow.busy = flow.accepted = False
                flow.answered_at = None
                finished += 1
        return finished


def on_and_off(seed: int, low: float, high: float, mean: float, longest: float = 3600.0) -> Callable[[float], float]:
    """`high`, and `low` in bursts of others; both last `mean` seconds on average."""
    chance = random.Random(seed)
    edges = [0.0]
    while edges[-1] < longest:
        edges.append(edges[-1] + chance.expovariate(1 / mean))
    first = chance.randrange(2)
    return lambda time: (low, high)[(bisect_right(edges, time) + first) % 2]


def wandering(seed: int, spread: float, longest: float = 3600.0) -> Callable[[float], float]:
    """A factor around 1 that wanders by `spread`, with a memory of a second."""
    chance, level = random.Random(seed), 0.0
    values = []
    for _ in range(int(longest * 4) + 2):
        level = 0.78 * level + chance.gauss(0, spread * 0.63)
        values.append(math.exp(level))
    return lambda time: values[int(time * 4)]


def by_number(rates: Mapping[int, float], factor: Callable[[float], float]) -> Callable[[float, float], float]:
    """What was measured with so many flows, in MiB a second, straight lines between."""
    points = [(0.0, 0.0), *sorted((float(number), rate * MIB) for number, rate in rates.items())]

    def total(number: float, time: float) -> float:
        for (left, low), (right, high) in pairwise(points):
            if number <= right:
                return (low + (high - low) * (number - left) / (right - left)) * factor(time)
        return points[-1][1] * factor(time)

    return total


@cache
def lines(seed: int) -> dict[str, Line]:
    """The lines by name; "measured" ones give with each number what real TCP gave, others what their figures say."""
    wanders = wandering(seed, 0.05)
    bursts, short, others = on_and_off(seed, 80, 200, 3.0), on_and_off(seed, 60, 200, 1.0), on_and_off(seed, 0, 12, 3.0)
    far = Line(rtt=0.08, flow=always(25 * MBIT))
    return {
        "25 Mbit/s a flow, 80 ms": far,
        "50 Mbit/s a flow, 150 ms, measured": Line(
            rtt=0.15, flow=always(50 * MBIT), total=by_number({4: 17.9, 8: 31.4, 16: 48.2, 32: 59.6}, wanders)
        ),
        "50 Mbit/s a flow, 150 ms, in clumps": Line(rtt=0.15, flow=always(50 * MBIT), clumps=True),
        "100 Mbit/s a flow, 40 ms, measured": Line(
            flow=always(100 * MBIT), total=by_number({4: 41.7, 8: 72.1, 16: 97.6, 32: 95.0}, wanders)
        ),
        "1 % loss, 40 ms, measured": Line(
            flow=always(200 * MBIT), total=by_number({4: 61.9, 8: 103.6, 16: 89.1, 32: 70.9}, wanders)
        ),
        "1,000 Mbit/s a flow, 20 ms, measured": Line(
            rtt=0.02, flow=always(1000 * MBIT), total=by_number({4: 152.7, 8: 96.9, 16: 95.3, 32: 100.9}, wanders)
        ),
        "1 % loss, like Reno": Line(flow=always(200 * MBIT), loss=0.01),
        "200 Mbit/s shared": Line(total=lambda _, time: 200 * MBIT * wanders(time)),
        "200 Mbit/s shared, bursts of others": Line(total=lambda _, time: bursts(time) * MBIT),
        "200 Mbit/s shared, short bursts": Line(total=lambda _, time: short(time) * MBIT),
        "200 Mbit/s shared with flows of others": Line(
            total=lambda number, time: 200 * MBIT * number / max(1, number + others(time))
        ),
        "10 parts at once": evolve(far, accepts=always(10)),
        "10 parts at once, 200 Mbit/s shared": Line(total=lambda *_: 200 * MBIT, accepts=always(10)),
        "1 % of the parts refused": evolve(far, strays=0.01),
        "1 Mbit/s a flow, 100 ms": Line(rtt=0.1, flow=always(MBIT)),
        "10 Mbit/s shared": Line(rtt=0.05, total=lambda *_: 10 * MBIT),
        "loopback": Line(rtt=0.001, answer=0.001, sends=600 * MIB),
        "a slow disk": Line(flow=always(50 * MBIT), reads=20 * MIB),
        "limit_rate": Line(flow=always(50 * MBIT), limit_rate=20 * MIB),
        "a line that gets better": evolve(far, total=lambda _, time: (100 if time < 40 else 800) * MBIT),
        "a line that gets worse": evolve(far, total=lambda _, time: (800 if time < 40 else 100) * MBIT),
    }
