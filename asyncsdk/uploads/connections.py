"""The connections that the parts of an uploader share: each part takes a place, first come, first served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import define, field


@define(eq=False)
class PartPlace:
    """The place of one part among those that are sent at once."""


@define(eq=False)
class Connections:
    """As many places as `limit`, on one event loop."""

    limit: int
    _places: dict[PartPlace, None] = field(factory=dict, init=False)  # that are taken, in this order
    _waiting: dict[PartPlace, asyncio.Event] = field(factory=dict, init=False)

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return len(self._places)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[PartPlace]:
        """Have a place for the length of the block."""
        place = await self.enter()
        try:
            yield place
        finally:
            self.leave(place)

    async def enter(self) -> PartPlace:
        """Take a place, once one is free and it is this one's turn; to be given back by `leave`."""
        place = PartPlace()
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
        self._give()

    def _give(self) -> None:
        """Give free places to those that wait."""
        while self._waiting and self.taken < self.limit:
            place = next(iter(self._waiting))
            waiting = self._waiting.pop(place)
            self._take(place)
            waiting.set()

    def _take(self, place: PartPlace) -> None:
        self._places[place] = None
