"""Progress of an upload: bytes, rate and estimated time left, as frozen snapshots of a meter (pure)."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable

from attrs import define, field

from asyncsdk.events import CallbackFailures, Progress, UploadPhase, call
from asyncsdk.timing import DEFAULT_TIMING

log = logging.getLogger(__name__)

RATE_WINDOW, SAMPLE_INTERVAL = 10.0, 0.2
SILENT_AFTER = 10.0  # seconds: shorter pauses are part of any line
_ASKING = {UploadPhase.CHECKING, UploadPhase.RETRYING, UploadPhase.COMPLETING}


@define
class RateMeter:
    """Bytes a second over a sliding window, and the best whole window so far; it starts again after a longer pause."""

    best: float = 0.0
    _samples: deque[tuple[float, int]] = field(factory=deque, init=False)

    def add(self, now: float, total: int) -> None:
        """Take a sample: `total` bytes had moved by `now` (seconds)."""
        silence = now - self._samples[-1][0] if self._samples else math.inf
        if silence < SAMPLE_INTERVAL:
            return
        if silence >= RATE_WINDOW:
            self._samples.clear()
        self._samples.append((now, total))
        while len(self._samples) > 2 and now - self._samples[1][0] >= RATE_WINDOW:
            self._samples.popleft()
        if now - self._samples[0][0] >= RATE_WINDOW:
            self.best = max(self.best, self.current)

    @property
    def current(self) -> float:
        """Bytes a second now; 0.0 while unknown."""
        if len(self._samples) < 2:
            return 0.0
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end - start)


@define
class Stopwatch:
    """Seconds in which something ran; the pauses between do not count."""

    _before: float = field(default=0.0, init=False)
    _since: float | None = field(default=None, init=False)

    def run(self, now: float, *, running: bool) -> None:
        """From `now` on it runs, or rests."""
        if running and self._since is None:
            self._since = now
        elif not running and self._since is not None:
            self._before, self._since = self._before + now - self._since, None

    def seconds(self, now: float) -> float:
        """How long it ran until `now`."""
        return self._before + (0.0 if self._since is None else now - self._since)


@define
class Occupancy:
    """How many do something, summed up over time."""

    count: int = 0
    _sum: float = field(default=0.0, init=False)
    _since: float = field(default=0.0, init=False)

    def change(self, now: float, count: int) -> None:
        """From `now` on, `count` do."""
        self._sum, self._since, self.count = self.sum(now), now, count

    def sum(self, now: float) -> float:
        """Their seconds together until `now`."""
        return self._sum + self.count * (now - self._since)


@define(eq=False)
class SharedThroughput:
    """What all uploads of one uploader move, and over how many connections.

    Whether an upload can finish in time is judged by this, once the number of connections is `settled`.
    """

    moved: int = 0
    rate: RateMeter = field(factory=RateMeter, init=False)
    on_our_side: Occupancy = field(factory=Occupancy, init=False)  # the parts that wait for this side
    connections: int = field(default=0, init=False)
    settled: bool = field(default=True, init=False)


@define(eq=False)
class Meter:
    """Counts what one upload does, and calls its listener: at each change of state, else ten times a second at most.

    The last part of those under way that fails counts as such a change.
    Its rate is that of the time in which a part of it was on its way: not while it waits for its turn, or is hashed.
    """

    source: str
    total: int
    listener: Callable[[Progress], object] | None = None
    clock: Callable[[], float] = time.monotonic
    shared: SharedThroughput = field(factory=SharedThroughput)
    report_interval: float = field(default=DEFAULT_TIMING.report_interval, kw_only=True)
    state: UploadPhase = UploadPhase.CHECKING
    note: str = ""
    upload_id: str | None = None
    expires_at: int | None = None
    done: int = 0
    resumed: int = 0
    hashed: int = 0
    moved: int = field(default=0, init=False)  # bytes that the peer has, or had: the rate is theirs
    rate: RateMeter = field(factory=RateMeter, init=False)
    _in_doubt: int = field(default=0, init=False)  # bytes of failed attempts that the peer may have
    _sending: Stopwatch = field(factory=Stopwatch, init=False)
    _in_flight: int = field(default=0, init=False)
    _parts_in_flight: int = field(default=0, init=False)
    _reported_at: float = field(default=-math.inf, init=False)
    _heard_at: float = field(default=-math.inf, init=False)
    _on_our_side: int = field(default=0, init=False)
    _failures: CallbackFailures = field(factory=lambda: CallbackFailures("on_progress", log), init=False)

    def __attrs_post_init__(self) -> None:
        self.hold()

    @property
    def left(self) -> int:
        """Bytes that neither the journal nor the peer has."""
        return self.total - self.done - self._in_flight

    @property
    def flow(self) -> float | None:
        """Bytes a second that the next part can expect as its share; None while unknown."""
        rate = self.rate.current
        return rate / (self._parts_in_flight + 1) if rate > 0 else None

    @property
    def silent_for(self) -> float:
        """Seconds since the server took or answered anything, while it is its turn; 0.0 below `SILENT_AFTER`."""
        seconds = self.clock() - self._heard_at if self._is_servers_turn else 0.0
        return seconds if seconds >= SILENT_AFTER else 0.0

    @property
    def _is_servers_turn(self) -> bool:
        if self._parts_in_flight:
            return self._parts_in_flight > self._on_our_side
        return self.state in _ASKING or (self.state is UploadPhase.SENDING and self.upload_id is None)

    @property
    def sending_seconds(self) -> float:
        """For how long parts were on their way, retries included."""
        return self._sending.seconds(self.clock())

    def snapshot(self) -> Progress:
        """The progress now."""
        # what is sent in an outage may have vanished in buffers: it is no rate until something is answered
        rate = 0.0 if self.state is UploadPhase.RETRYING else self.rate.current
        return Progress(
            state=self.state,
            source=self.source,
            bytes_total=self.total,
            bytes_done=self.done,
            bytes_resumed=self.resumed,
            bytes_in_flight=self._in_flight,
            bytes_sent=self.moved + self._in_doubt,
            bytes_hashed=self.hashed,
            parts_in_flight=self._parts_in_flight,
            connections=self.shared.connections,
            rate=rate,
            eta=self.left / rate if rate > 0 else None,
            upload_id=self.upload_id,
            expires_at=self.expires_at,
            note=self.note,
            silent_for=self.silent_for,
        )

    def enter(self, state: UploadPhase, note: str = "") -> None:
        """The upload now does something else."""
        changed = (state, note) != (self.state, self.note)
        self.state, self.note = state, note
        self.hold()
        if changed:
            self.report()

    def start_over(self) -> None:
        """Reset: what was counted belonged to an upload that is left behind."""
        self.upload_id = self.expires_at = None
        self.done = self.resumed = 0

    def set_confirmed(self, confirmed: int, resumed: int) -> None:
        """The server has `confirmed` bytes, `resumed` of them from earlier runs."""
        self.done, self.resumed = confirmed, resumed
        self.tick()

    def set_hashed(self, offset: int) -> None:
        """The hashing pass has reached `offset`."""
        self.hashed = offset
        if not self._parts_in_flight:
            self.hold()
        self.tick()

    def part_started(self) -> None:
        """A part begins."""
        if not self._parts_in_flight:
            self.hold()
        self._parts_in_flight += 1
        self._sending.run(self.clock(), running=True)
        self.tick()

    def bytes_moved(self, count: int) -> None:
        """The peer has `count` more bytes."""
        self.moved += count
        self.shared.moved += count
        self._in_flight += count
        self.hold()
        if self.state is UploadPhase.RETRYING:
            self.enter(UploadPhase.RETRYING, "trying again")
        self.tick()

    def bytes_discarded(self, moved: int, sent: int) -> None:
        """An attempt failed after `sent` bytes, of which `moved` were counted: the others may have arrived, or not."""
        self._in_flight -= moved
        self._in_doubt += sent - moved

    def part_finished(self, moved: int, sent: int, confirmed: int) -> None:
        """A part ended after `sent` bytes, of which `moved` were counted; `confirmed` are in the journal now."""
        self._parts_in_flight -= 1
        self._sending.run(self.clock(), running=self._parts_in_flight > 0)
        if not confirmed:
            self.bytes_discarded(moved, sent)
            self._report_failure()
            return
        self._in_flight -= moved
        self.moved += sent - moved
        self.shared.moved += sent - moved
        self.done += confirmed
        if self.state is UploadPhase.RETRYING:  # only an answer shows that the trouble is over
            self.enter(UploadPhase.SENDING)
        self.tick()

    def _report_failure(self) -> None:
        if self._parts_in_flight:
            self.tick()
        else:
            self.report()  # the last, maybe, and `bytes_sent` shows whether anything was sent

    def hold(self, seconds: float = 0.0) -> None:
        """The server did something now, or is given `seconds` in which nothing is expected of it."""
        self._heard_at = max(self._heard_at, self.clock() + seconds)

    def on_our_side(self) -> OurSide:
        """A part waits for this side within the block: for the disk, or for its turn under a rate limit."""
        return OurSide(self)

    def wait_on_our_side(self, more: int) -> None:
        """So many more parts wait for this side, or fewer."""
        now = self.clock()
        self._on_our_side += more
        self.shared.on_our_side.change(now, self.shared.on_our_side.count + more)
        if more < 0:
            self._heard_at = max(self._heard_at, now)

    def tick(self) -> None:
        """Call the listener if it is due."""
        if self.clock() - self._reported_at >= self.report_interval:
            self.report()

    def report(self) -> None:
        """Call the listener now."""
        self._reported_at = self.clock()
        self.rate.add(self._sending.seconds(self._reported_at), self.moved)
        self.shared.rate.add(self._reported_at, self.shared.moved)
        if self.listener is None:
            return
        try:
            call(self.listener, self.snapshot())
        except Exception as error:  # noqa: BLE001 - it is the caller's, and harms no upload
            self._failures.note(error)


@define(eq=False)
class OurSide:
    """A block in which a part waits for this side. A generator would cost four times as much."""

    _meter: Meter

    def __enter__(self) -> None:
        self._meter.wait_on_our_side(1)

    def __exit__(self, *_: object) -> None:
        self._meter.wait_on_our_side(-1)
