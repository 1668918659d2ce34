"""The admission queue: of many uploads, one begins when those before it leave connections free.

An upload's hour begins with its creation. Files that all begin at once share the bandwidth, and may all expire
where one after the other each would have been done in time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from attrs import define, field

from asyncsdk.timing import DEFAULT_TIMING
from asyncsdk.uploads.progress import Meter


@define(eq=False)
class Slot:
    """One upload's place. Until it is known how much there is to send, it counts as using all connections."""

    _changed: Callable[[], None]
    _meter: Meter | None = field(default=None, init=False)
    _part_size: int = field(default=1, init=False)
    is_yielded: bool = field(default=False, init=False)

    def yield_slot(self) -> None:
        """Let others begin: another process has the file."""
        self.is_yielded = True
        self._changed()

    def begin(self, meter: Meter, part_size: int) -> None:
        """Use a connection for each part that is left by `meter`."""
        if (self._meter, self._part_size, self.is_yielded) != (meter, part_size, False):
            self._meter, self._part_size, self.is_yielded = meter, part_size, False
            self._changed()

    def is_of(self, size: int) -> bool:
        """Whether it sends a file of so many bytes at most."""
        return not self.is_yielded and self._meter is not None and self._meter.total <= size

    def demand(self, connections: int) -> int:
        """How many of the `connections` it can use."""
        if self.is_yielded:
            return 0
        if self._meter is None:
            return connections
        return -(-(self._meter.total - self._meter.done) // self._part_size)


@define(eq=False)
class AdmissionQueue:
    """The uploads under way over `connections` at most, and those that wait, first come, first served.

    `poll` is how often the first of these looks for room, in seconds: a part that ends does not notify the queue.
    """

    connections: int
    poll: float = DEFAULT_TIMING.admission_poll
    _now: int = field(init=False)  # so many of the connections are used now
    _under_way: set[Slot] = field(factory=set, init=False)
    _line: deque[asyncio.Event] = field(factory=deque, init=False)  # of those that wait: each is to look once it is set

    def __attrs_post_init__(self) -> None:
        self._now = self.connections

    def resize(self, connections: int) -> None:
        """Fill so many connections from now on."""
        if connections != self._now:
            self._now = connections
            self._wake_first()

    async def enter(self, *, in_turn: bool, check: Callable[[], object] = lambda: None) -> Slot:
        """Count an upload as under way until `leave`; `in_turn` waits until there is room for it.

        Await it before anything is opened: however many wait, they hold no file and no lock. `check` is called at each
        look, and what it raises ends the wait.
        """
        check()
        if in_turn and (self._line or self.demand() >= self._now):
            await self._room(check)
        slot = Slot(self._wake_first)
        self._under_way.add(slot)
        return slot

    def leave(self, slot: Slot) -> None:
        """Count an upload as under way no more."""
        self._under_way.remove(slot)
        self._wake_first()

    def look_again(self) -> None:
        """Let all that wait look at once, wherever in the line they are."""
        for each in self._line:
            each.set()

    async def _room(self, check: Callable[[], object]) -> None:
        """Return once this one is the first in the line, and there is room."""
        place = asyncio.Event()
        self._line.append(place)
        try:
            while self._line[0] is not place or self.demand() >= self._now:
                await self._change(place)
                check()
        finally:
            self._line.remove(place)
            self._wake_first()

    async def _change(self, place: asyncio.Event) -> None:
        place.clear()
        if self._line[0] is not place:
            await place.wait()
            return
        timer = asyncio.get_running_loop().call_later(self.poll, place.set)
        try:
            await place.wait()
        finally:
            timer.cancel()

    def _wake_first(self) -> None:
        if self._line:
            self._line[0].set()

    @property
    def under_way(self) -> int:
        """How many uploads are under way; those that another process sends are not."""
        return sum(not slot.is_yielded for slot in self._under_way)

    def under_way_of(self, size: int) -> int:
        """How many of these are of files of so many bytes at most."""
        return sum([slot.is_of(size) for slot in self._under_way])

    def demand(self) -> int:
        """How many connections the uploads under way can use."""
        return sum([slot.demand(self._now) for slot in self._under_way])
