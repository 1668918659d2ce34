"""`Outcomes`: what `edit_many` gives, an async iterator over how the edits end, with a brake and a tally."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

from attrs import define

from asyncsdk.error_details import LedgerDamage
from asyncsdk.images.bulk.run import BulkRun
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.models import Usage


@define(eq=False)
class Outcomes:
    """Iterate over it: each `EditOutcome` comes as its edit ends, in no order.

    What stops a whole run (401, 403, quota, no connection, a disk or directory that takes no pictures, a ledger that
    is not at its place, a limit you set, three paid responses in a row without a picture or that your `save` could not
    keep, an error of the iterable) is raised once everything in flight has ended and was given.
    """

    _run: BulkRun
    _receiving: AsyncIterator[EditOutcome | None]

    def __aiter__(self) -> AsyncIterator[EditOutcome]:
        return self

    async def __anext__(self) -> EditOutcome:
        async for outcome in self._receiving:
            if outcome is not None:
                self._run.taken(outcome)
                return outcome
        reason = self._run.take_reason()
        if reason is not None:
            raise reason
        raise StopAsyncIteration

    def stop(self) -> None:
        """Send nothing new. Go on iterating to await what is in flight; leaving the block now makes it uncertain."""
        self._run.stop()

    @property
    def counts(self) -> Counter[str]:
        """How many ended with which status so far."""
        return self._run.counts.copy()

    @property
    def usage(self) -> Usage:
        """The tokens of all edits that were paid in this run, as far as the server told them."""
        return self._run.usage

    @property
    def images(self) -> int:
        """How many pictures were made in this run."""
        return self._run.images

    @property
    def concurrency(self) -> int:
        """How many edits are taken at a time: fewer than you asked for where this process may open too few files."""
        return self._run.concurrency

    @property
    def in_flight(self) -> int:
        """How many edits are on their way to the server, at it, or being saved: a stop awaits them."""
        return sum(flight.course.is_under_way for flight in self._run.flights)

    @property
    def abandoned(self) -> tuple[EditOutcome, ...]:
        """What you did not take: edits that ended, and once the block is left those that were in flight, uncertain."""
        return tuple(self._run.untaken.values())

    @property
    def damage(self) -> tuple[LedgerDamage, ...]:
        """What of the ledger was damaged when the run began, and is not believed: `accept_damage` let it begin."""
        return () if self._run.ledger is None else self._run.ledger.damage

    @property
    def rate(self) -> float | None:
        """The pace in input images a minute, as it was given or learned; None while there is none."""
        return self._run.pacer.rate

    @property
    def holding(self) -> float:
        """For how many seconds the rate limit lets nothing go."""
        return self._run.pacer.holding
