"""The connections that the parts of an uploader share: each part takes a place, first come, first served.

Their number is the caller's, or learned: then a timer shows the controller what was seen in each window, and parts
above a number that fell pause, the latest first: in mid-part, but not for long, or a server would give the part up;
and between two attempts for as long as there are that many, or a server that refuses parts would refuse them again.
"""

from __future__ import annotations

import asyncio
import errno
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

from aiohttp import ClientConnectionResetError, ServerDisconnectedError
from attrs import define, field

from asyncsdk.errors import APIConnectionError, APIError, APIStatusError, APITimeoutError
from asyncsdk.http.body import Body
from asyncsdk.retry import code_of
from asyncsdk.uploads.chunking import BLOCK
from asyncsdk.uploads.pacing.admission import AdmissionQueue
from asyncsdk.uploads.pacing.busy import busy_seconds
from asyncsdk.uploads.pacing.concurrency import MOST, PAUSE_SECONDS, START, WINDOW_SECONDS, ConnectionCount
from asyncsdk.uploads.pacing.measuring import Observation
from asyncsdk.uploads.progress import Occupancy, SharedThroughput

SMALL_FILE = 1 << 20  # bytes: what a connection does with one is mostly to wait for responses
SHORTEST_PAUSE = 1.0  # seconds: what a server that gives up silent parts early has to bear
_LOST = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED}
_CLOSED = ServerDisconnectedError, ClientConnectionResetError  # which have no number; so it is over TLS


@define(eq=False)
class PartPlace:
    """The place of one part among those that are sent at once."""

    is_measured: bool = False
    slice: int = BLOCK  # bytes to write at once, at most
    was_answered: bool = field(default=False, init=False)
    begun_with: int = field(default=0, init=False)  # the number when its attempt began
    rtt: float = field(default=0.0, init=False)  # seconds, at the last look; 0.0 where that is not known
    _body: Body | None = field(default=None, init=False)
    _acked: int = field(default=0, init=False)  # of this body
    _unseen: int = field(default=0, init=False)
    _is_drained: bool = field(default=True, init=False)  # at the last look
    _is_sending: bool = field(default=False, init=False)  # a server waits for its bytes
    _paused_at: float | None = field(default=None, init=False)
    _pause: asyncio.Event | None = field(default=None, init=False)

    @property
    def is_paused(self) -> bool:
        """Whether it is not to send."""
        return self._pause is not None

    @property
    def is_draining(self) -> bool:
        """Whether it is paused, and the system still sends what it was given before."""
        return self.is_paused and not self._is_drained

    def begin(self, body: Body) -> None:
        """An attempt begins: `body` has a connection."""
        self._is_sending = True
        if not self.is_measured:
            return
        self._look()
        self._body, self._acked = body, 0

    def end_attempt(self) -> None:
        """The attempt failed, and another one may begin."""
        self._is_sending = False

    def end(self) -> None:
        """The part has ended: its body refers to this place, and would stay until the next collection of garbage."""
        self._body = None

    async def may_begin(self) -> None:
        """Wait while it is paused, before an attempt."""
        while self._pause is not None:
            await self._pause.wait()

    async def may_send(self, body: Body, paused: Callable[[float], object]) -> None:
        """Wait while it is paused. `paused` is called with the seconds that this takes at most."""
        while self._pause is not None:
            paused(PAUSE_SECONDS)
            body.watch.idle = True
            await self._pause.wait()
            body.watch.idle = False

    def allow(self, now: float, *, above: bool, longest: float = PAUSE_SECONDS) -> None:
        """Pause it where it is `above` the number: in mid-part for `longest` seconds at most, and once."""
        if not above:
            self._paused_at = None
        elif self._paused_at is None:
            self._paused_at, self._pause = now, asyncio.Event()
        if self._pause is not None and (not above or (self._is_sending and self.paused_for(now) >= longest)):
            self._pause.set()
            self._pause = None

    def paused_for(self, now: float) -> float:
        """Seconds for which it has paused; 0.0 if it does not."""
        return 0.0 if self._pause is None or self._paused_at is None else now - self._paused_at

    def newly_acked(self) -> int:
        """Bytes that the peer has acknowledged since the last call."""
        self._look()
        count, self._unseen = self._unseen, 0
        return count

    def _look(self) -> None:
        if self._body is None:
            return
        seen, acked = self._body.seen(), self._body.bytes_sent if self.was_answered else self._body.acked()
        self._unseen, self._acked = self._unseen + acked - self._acked, acked
        self._is_drained = seen is None or seen.arrived
        self.rtt = self.rtt if seen is None else seen.rtt


@define(eq=False)
class _Window:
    """What is summed up until the next look."""

    since: float
    busy: float = field(factory=busy_seconds)
    used: float = 0.0
    held_back: float = 0.0
    acked: int = field(default=0, init=False)
    finished: int = field(default=0, init=False)
    refused: int = field(default=0, init=False)


@define(eq=False)
class Connections:
    """Places for parts, on one event loop: `given`, or as many as `count` learns.

    What the number is now is passed on to the `queue` and to `shared`.
    """

    shared: SharedThroughput
    queue: AdmissionQueue
    given: int | None = None
    count: ConnectionCount = field(factory=ConnectionCount)
    _places: dict[PartPlace, None] = field(factory=dict, init=False)  # that are taken, in this order
    _of_tasks: dict[asyncio.Task[object] | None, PartPlace] = field(factory=dict, init=False)
    _waiting: dict[PartPlace, asyncio.Event] = field(factory=dict, init=False)
    _sending: Occupancy = field(factory=Occupancy, init=False)
    _are_above: bool = field(default=False, init=False)  # whether some places were above the number at the last look
    _answered: int = field(default=0, init=False)  # parts, and small files
    _window: _Window | None = field(default=None, init=False)
    _longest_pause: float = field(default=PAUSE_SECONDS, init=False)  # in mid-part

    def __attrs_post_init__(self) -> None:
        self._resize()

    @property
    def limit(self) -> int:
        """How many parts may be sent at once now."""
        return self.given or self.count.number

    @property
    def most(self) -> int:
        """How many parts may ever be sent at once."""
        return self.given or MOST

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return len(self._places)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[PartPlace]:
        """Have a place for the length of the block."""
        place, task = await self.enter(), asyncio.current_task()
        self._of_tasks[task] = place
        try:
            yield place
        finally:
            del self._of_tasks[task]
            self.leave(place)

    async def enter(self) -> PartPlace:
        """Take a place, once one is free and it is this one's turn; to be given back by `leave`."""
        few = self.given is not None and self.given <= START
        # a transport holds up to three copies of what it is given
        place = PartPlace(is_measured=self.given is None, slice=BLOCK if few else BLOCK // 2)
        if not self._waiting and self.taken < self.limit:
            self._take(place)
            return place
        self._waiting[place] = asyncio.Event()
        try:
            await self._waiting[place].wait()
        except BaseException:
            if self._waiting.pop(place, None) is None:  # it was given one in the same moment
                self.leave(place)
            raise
        return place

    def leave(self, place: PartPlace) -> None:
        """Give the place back."""
        del self._places[place]
        self._answered += place.was_answered
        if self._window is not None:
            self._window.acked += place.newly_acked()
            self._window.finished += place.was_answered
        place.end()
        self._give()

    def expect(self, size: int) -> None:
        """An upload of `size` bytes begins: where many small files are sent, each round of answers doubles the number.

        Not all connections at once: of a small file that is refused it may not be known whether it was made.
        """
        if self.given is not None or not self.count.is_new or size > SMALL_FILE:
            return
        if START <= self.limit <= self._answered and self.queue.under_way_of(SMALL_FILE) >= START:
            self.count.open_up(2 * self.limit)
            self._resize()

    async def may_begin(self) -> None:
        """Wait, before an attempt at a part in the current task, while that is above the number."""
        place = self._of_tasks.get(asyncio.current_task())
        if place is not None:
            await place.may_begin()
            place.begun_with = self.limit

    def failed(self, error: APIError) -> None:
        """An attempt in the current task failed; where a part was refused, the others go on before it."""
        place = self._of_tasks.get(asyncio.current_task())
        if place is None or self._window is None:
            return
        place.end_attempt()
        if place.is_paused and was_given_up(error):  # maybe since it was silent: that says nothing about the number
            self._longest_pause = max(SHORTEST_PAUSE, min(self._longest_pause, place.paused_for(time.monotonic()) / 2))
        elif is_refusal(error):
            self._window.refused += place.begun_with <= self.limit  # else it was too many before
        if is_refusal(error):
            self._places[place] = self._places.pop(place)
            if self.given is None and self.count.is_new:
                self.count.stop_opening()
                self._resize()
        self._arrange()

    def _take(self, place: PartPlace) -> None:
        self._places[place] = None
        if self.given is None:
            self._arrange()
            self._watch()

    def _give(self) -> None:
        """Give free places to those that wait, and let those that pause go on."""
        while self._waiting and self.taken < self.limit:
            place = next(iter(self._waiting))
            waiting = self._waiting.pop(place)
            self._take(place)
            waiting.set()
        if self.given is None:
            self._arrange()

    def _arrange(self) -> None:
        now, were_above, self._are_above = time.monotonic(), self._are_above, self.taken > self.limit
        if self._are_above or were_above:
            for index, place in enumerate(self._places):
                place.allow(now, above=index >= self.limit, longest=self._longest_pause)
        sending = sum(not place.is_paused for place in self._places) if self._are_above else self.taken
        self._sending.change(now, sending)

    def _watch(self) -> None:
        """Look at what is sent, from now until nothing is: by a timer."""
        if self._window is None:
            self._begin(time.monotonic())

    def _begin(self, now: float) -> None:
        used, held_back = self._sending.sum(now), self.shared.on_our_side.sum(now)
        self._window = _Window(now, used=used, held_back=held_back)
        asyncio.get_running_loop().call_later(WINDOW_SECONDS, self._look)

    def _look(self) -> None:
        assert self._window is not None, "the timer runs with it"  # noqa: S101
        now, window, uploads = time.monotonic(), self._window, self.queue.under_way
        self._window = None
        try:
            self.count.observe(self._seen(now, window, uploads))
        finally:  # whatever happens: without the timer, parts that pause would do so for ever
            if self._places or uploads:
                self._begin(now)
            self._resize()

    def _seen(self, now: float, window: _Window, uploads: int) -> Observation:
        """What was seen in `window`; each of many small files counts as a connection, also while no part is sent."""
        used = self._sending.sum(now) - window.used
        held_back = self.shared.on_our_side.sum(now) - window.held_back
        seconds = now - window.since
        acked = window.acked + sum(place.newly_acked() for place in self._places)
        draining = sum(place.is_draining for place in self._places)
        return Observation(
            seconds=seconds,
            acked=acked,
            in_use=max(used / seconds + draining, min(uploads, self.limit)),
            rtt=statistics.median([place.rtt for place in self._places if place.rtt] or [0.0]),
            finished=window.finished,
            refused=window.refused,
            held_back=held_back / used if used else 0.0,
            loop_busy=(busy_seconds() - window.busy) / seconds,
        )

    def _resize(self) -> None:
        self.shared.connections, self.shared.settled = self.limit, self.given is not None or self.count.settled
        self.queue.resize(self.limit)
        self._give()


def is_refusal(error: APIError) -> bool:
    """Whether the server refused a part, maybe since it takes no more at once: by 503, or by a lost connection."""
    return is_lost(error) or (isinstance(error, APIStatusError) and error.status_code == 503)


def was_given_up(error: APIError) -> bool:
    """Whether the server may have given a part up that was silent: by 408, or by a lost connection."""
    return is_lost(error) or (isinstance(error, APIStatusError) and error.status_code == 408)


def is_lost(error: APIError) -> bool:
    """Whether the other side ended the connection of a request."""
    if not isinstance(error, APIConnectionError) or isinstance(error, APITimeoutError):
        return False
    return code_of(error) in _LOST or any(isinstance(cause, _CLOSED) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__
