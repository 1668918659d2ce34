"""A run of many edits: each is prepared in order, waits for its turn, is sent, saved and written down."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing

import anyio
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.client import Client
from asyncsdk.images.bulk.flight import Flight
from asyncsdk.images.bulk.ledger import Ledger
from asyncsdk.images.bulk.limits import Limits
from asyncsdk.images.bulk.preparing import Preparing, Ready
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.images.pace.pacing import Pacer
from asyncsdk.images.result import EditResult
from asyncsdk.images.sending import add
from asyncsdk.models import Usage

logger = logging.getLogger(__name__)

Save = Callable[[ImageEdit, EditResult], Awaitable[object]]
Prepared = Ready | EditOutcome


@define(eq=False, kw_only=True)
class Run:
    """What all edits of one run share. `reason` is why it ended before its time, if it did."""

    client: Client
    preparing: Preparing
    pacer: Pacer
    limits: Limits
    ledger: Ledger | None = None
    save: Save | None = None
    answered: bool = field(default=False, init=False)
    stopping: bool = field(default=False, init=False)
    reason: Exception | None = field(default=None, init=False)
    counts: Counter[str] = field(factory=Counter, init=False)
    usage: Usage = field(factory=Usage, init=False)
    images: int = field(default=0, init=False)
    abandoned: list[EditOutcome] = field(factory=list, init=False)
    flights: set[Flight] = field(factory=set, init=False)
    _reading: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)

    async def prepared(self, edits: Iterable[ImageEdit] | AsyncIterable[ImageEdit]) -> AsyncGenerator[Prepared, None]:
        """The edits as they are taken, one at a time. What their source raises stops the run in good order."""
        async with aclosing(tasks.walk(edits)) as all_, aclosing(self.preparing.in_turn(all_)) as source:
            while not self.stopping:
                try:
                    edit = await self._next(source)
                    prepared = None if edit is None else await self.preparing.prepare(edit)
                except Exception as error:  # noqa: BLE001 - the caller gets it back, once all in flight has ended
                    self.halt(error)
                    return
                if edit is None:
                    return
                if prepared is not None:
                    yield prepared

    async def finish(self, prepared: Prepared) -> EditOutcome | None:
        """Bring an edit to its end. None: the run was stopped before it was sent."""
        if self.stopping and isinstance(prepared, Ready):
            return None
        outcome = prepared if isinstance(prepared, EditOutcome) else await self._fly(prepared)
        if outcome is not None:
            self._count(outcome)
        return outcome

    def stop(self) -> None:
        """Send nothing new; what is on its way to the server is awaited."""
        self.stopping = True
        self._reading.cancel()
        for flight in self.flights:
            if not flight.in_flight:
                flight.scope.cancel()

    def halt(self, reason: Exception) -> None:
        """Stop for a reason, which the caller is told at the end."""
        if self.reason is None:
            self.reason = reason
            logger.warning("stopping: %s", reason)
        self.stop()

    async def _next(self, source: AsyncGenerator[ImageEdit, None]) -> ImageEdit | None:
        with anyio.CancelScope() as self._reading:
            return await anext(source, None)
        return None

    async def _fly(self, ready: Ready) -> EditOutcome | None:
        flight = Flight(self, ready)
        self.flights.add(flight)
        try:
            with flight.scope:
                return await flight.outcome()
        finally:
            self.flights.discard(flight)
        return None

    def _count(self, outcome: EditOutcome) -> None:
        self.counts[outcome.status] += 1
        if outcome.status == "done" and outcome.result is not None:
            self.images += len(outcome.result.images)
            self.usage = add([self.usage, outcome.usage or Usage()])
