"""The admission queue: of many uploads, one begins when those before it leave connections free.

An upload's hour begins with its creation. Files that all begin at once share the bandwidth, and may all expire
where one after the other each would have been done in time.
"""

from __future__ import annotations

import asyncio
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
    _next: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _room: asyncio.Event = field(factory=asyncio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._now = self.connections

    def resize(self, connections: int) -> None:
        """Fill so many connections from now on."""
        if connections != self._now:
            self._now = connections
            self._room.set()

    async def enter(self, *, in_turn: bool, check: Callable[[], object] = lambda: None) -> Slot:
        """Count an upload as under way until `leave`; `in_turn` waits until there is room for it.

        Await it before anything is opened: however many wait, they hold no file and no lock. `check` is called at each
        look, and what it raises ends the wait.
        """
        check()
        if in_turn:
            async with self._next:
                check()
                while self.demand() >= self._now:
                    await self._change()
                    check()
        slot = Slot(self._room.set)
        self._under_way.add(slot)
        return slot

    def leave(self, slot: Slot) -> None:
        """Count an upload as under way no more."""
        self._under_way.remove(slot)
        self._room.set()

    def look_again(self) -> None:
        """Let the first that waits look at once."""
        self._room.set()

    async def _change(self) -> None:
        self._room.clear()
        timer = asyncio.get_running_loop().call_later(self.poll, self._room.set)
        try:
            await self._room.wait()
        finally:
            timer.cancel()

    @property
    def under_way(self) -> int:
        """How many uploads are under way; those that another process sends are not."""
        return sum(not slot.is_yielded for slot in self._under_way)

    def demand(self) -> int:
        """How many connections the uploads under way can use."""
        return sum([slot.demand(self._now) for slot in self._under_way])
