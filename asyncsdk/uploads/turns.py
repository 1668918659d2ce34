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
class Turns:
    """The uploads under way over `connections`, by their meters, and the size of their parts."""

    connections: int
    _under_way: dict[Meter, int] = field(factory=dict, init=False)

    @asynccontextmanager
    async def taken(self, meter: Meter, part_size: int, *, in_turn: bool) -> AsyncIterator[None]:
        """Count an upload as under way for the length of the block; `in_turn` waits until there is room for it."""
        while in_turn and self.wanted() >= self.connections:  # noqa: ASYNC110 - room comes with every part's end
            await anyio.sleep(LOOK_SECONDS)
        self._under_way[meter] = part_size
        try:
            yield
        finally:
            del self._under_way[meter]

    def wanted(self) -> int:
        """How many connections the uploads under way can use."""
        return sum(-(-(meter.total - meter.done) // part_size) for meter, part_size in self._under_way.items())
