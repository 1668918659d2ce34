"""Whose turn it is: of many files one begins when those before it leave connections free.

An upload's hour begins with its creation. Files that all begin at once share the line, and may all expire
where one after the other each would have been done in time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from attrs import define, field

from asyncsdk.uploads.progress import Meter

LOOK_SECONDS = 0.02


@define(eq=False)
class Turn:
    """One upload's. Until it is known how much there is to send, it may want all connections."""

    _meter: Meter | None = field(default=None, init=False)
    _part_size: int = field(default=1, init=False)
    _aside: bool = field(default=False, init=False)

    def step_aside(self) -> None:
        """Let others begin: another process has the file."""
        self._aside = True

    def begin(self, meter: Meter, part_size: int) -> None:
        """Want a connection for each part that `meter` says is left."""
        self._meter, self._part_size = meter, part_size

    def wanted(self, connections: int) -> int:
        """How many of the `connections` it can use."""
        if self._meter is None:
            return 0 if self._aside else connections
        return -(-(self._meter.total - self._meter.done) // self._part_size)


@define(eq=False)
class Turns:
    """The uploads under way over `connections`, and those that wait, first come, first served."""

    connections: int
    _under_way: set[Turn] = field(factory=set, init=False)
    _next: anyio.Lock = field(factory=anyio.Lock, init=False)

    @asynccontextmanager
    async def taken(self, *, in_turn: bool) -> AsyncIterator[Turn]:
        """Count an upload as under way for the length of the block; `in_turn` waits until there is room for it.

        To be awaited before anything is opened: however many wait, they hold no file and no lock.
        """
        turn = Turn()
        if in_turn:
            async with self._next:
                while self.wanted() >= self.connections:  # noqa: ASYNC110 - room comes with every part's end
                    await anyio.sleep(LOOK_SECONDS)
                self._under_way.add(turn)
        self._under_way.add(turn)
        try:
            yield turn
        finally:
            self._under_way.remove(turn)

    def wanted(self) -> int:
        """How many connections the uploads under way can use."""
        return sum(turn.wanted(self.connections) for turn in self._under_way)
