"""Runs many edits, several at a time, and gives their `Outcomes`: an async iterator with `stop()` and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from functools import partial

import anyio
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.error_details import LedgerDamage
from asyncsdk.images.bulk.ended import EndedPage
from asyncsdk.images.bulk.intake import PreparedEdit
from asyncsdk.images.bulk.run import BulkRun
from asyncsdk.images.bulk.worker import EditWorker
from asyncsdk.images.costs.money import NANOS
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.ledger.progress import LedgerProgress
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.models import Usage

_Prepared = PreparedEdit | EditOutcome | EndedPage


@define(eq=False)
class Outcomes:
    """How the edits of a run end: iterate over it for an `EditOutcome` as each edit ends, in no order.

    What stops a whole run is raised once every edit in flight has ended and was given: 401, 403, quota, no connection,
    a disk or directory that takes no pictures, a ledger that is gone, a limit that you set, three paid responses in a
    row without a picture or that your `save` could not keep, ten edits in a row that may be paid, or that were refused
    in the same way and not for their pictures, an error of the iterable.

    Attributes:
        counts: How many edits have ended so far, by status.
        usage: The tokens of all edits that were paid in this run, as far as the server reported them.
        cost: What they cost in dollars, as far as the prices of their models are known.
        unpriced_tokens: How many of these tokens have a price that is not known.
        prices_read: The day on which the prices were read, as YYYY-MM-DD.
        images_made: How many pictures were made in this run.
        concurrency: How many edits run at a time: fewer than requested where this process may open too few files.
        in_flight: How many edits are at the server, on their way there, or being saved. A stop awaits them.
        abandoned: Outcomes that were not taken by iterating; after the block also of the edits that it cut off.
        damage: The damaged parts of the ledger when the run began, which are ignored (`accept_damage`).
        recovered: The URLs of pictures of earlier runs that waited for the way to their bucket, and are there now.
        whole: How far all copies of this run are together, a few seconds ago; None before that is known, and with a
            ledger that is not in a database. It is read only while it is asked for.
        stopping: Whether this process sends nothing new: `stop` was called, or something stops the run.
        limit_reached: Which limit that you set is reached, in words; None while none is.
        rate: The rate limit in input images a minute, given or learned; None while there is none.
        rate_limit_wait: Seconds until the rate limit lets the next image be sent; 0.0 for now.
        retrying: How many edits of this process wait to be sent again, by why: `the server responded with 503`,
            `no connection`, `the response was lost` (then it may be paid). What was turned away with 429 waits for the
            rate limit, and is not counted.
    """

    _run: BulkRun
    _receiving: AsyncIterator[EditOutcome | EndedPage | None]
    _page: EndedPage | None = field(default=None, init=False)

    def __aiter__(self) -> AsyncIterator[EditOutcome]:
        return self

    async def __anext__(self) -> EditOutcome:
        if self._page is not None and (outcome := self._of_page(self._page)) is not None:
            return outcome
        async for ended in self._receiving:
            if isinstance(ended, EditOutcome):
                self._run.taken(ended)
                return ended
            if ended is not None and (outcome := self._of_page(ended)) is not None:
                return outcome
        reason = self._run.take_reason()
        if reason is not None:
            raise reason
        raise StopAsyncIteration

    def _of_page(self, page: EndedPage) -> EditOutcome | None:
        """The next of a page, which counts from now on; a run that is stopped does not come to the rest of it."""
        if self._run.stopping:
            page.drop()
        outcome = page.take()
        self._page = None if outcome is None else page
        if outcome is not None:
            self._run.ended(outcome)
            self._run.taken(outcome)
        return outcome

    def stop(self, *, all_copies: bool = False) -> None:
        """Send nothing new.

        Go on iterating to await the edits in flight; leaving the block at once makes them uncertain.

        Args:
            all_copies: Also stop the other processes of this run, where the ledger is in a database.
        """
        if all_copies and self._run.ledger is not None:
            self._run.ledger.stop_copies()
        self._run.stop()

    @property
    def counts(self) -> Counter[str]:
        """How many edits have ended so far, by status."""
        return self._run.counts.copy()

    @property
    def usage(self) -> Usage:
        """The tokens of all edits that were paid in this run, as far as the server reported them."""
        return self._run.usage

    @property
    def cost(self) -> float:
        """What all edits of this run cost in dollars, as far as the prices of their models are known."""
        return self._run.cost / NANOS

    @property
    def unpriced_tokens(self) -> int:
        """How many tokens of this run have a price that is not known."""
        return self._run.unpriced

    @property
    def prices_read(self) -> str | None:
        """The day on which the prices were read, as YYYY-MM-DD; None for a table without any."""
        read = None if self._run.pricing is None else self._run.pricing.table.read
        return None if read is None else read.isoformat()

    @property
    def images_made(self) -> int:
        """How many pictures were made in this run."""
        return self._run.images_made

    @property
    def concurrency(self) -> int:
        """How many edits run at a time: fewer than requested where this process may open too few files."""
        return self._run.concurrency

    @property
    def in_flight(self) -> int:
        """How many edits are at the server, on their way there, or being saved. A stop awaits them."""
        return sum(worker.lifecycle.is_under_way for worker in self._run.workers)

    @property
    def abandoned(self) -> tuple[EditOutcome, ...]:
        """Outcomes that were not taken by iterating; after the block also of the edits that it cut off."""
        return tuple(self._run.untaken.values())

    @property
    def damage(self) -> tuple[LedgerDamage, ...]:
        """The damaged parts of the ledger when the run began, which are ignored (`accept_damage`)."""
        return () if self._run.ledger is None else self._run.ledger.damage

    @property
    def recovered(self) -> tuple[str, ...]:
        """The URLs of pictures of earlier runs that waited for their bucket, and are there now.

        `save` is not called for them.
        """
        return () if self._run.intake.target is None else tuple(self._run.intake.target.recovered)

    @property
    def whole(self) -> LedgerProgress | None:
        """How far all copies of this run are together, a few seconds ago; None where that is not known."""
        watch = None if self._run.ledger is None else self._run.ledger.whole
        return None if watch is None else watch.look()

    @property
    def stopping(self) -> bool:
        """Whether this process sends nothing new: `stop` was called, or something stops the run."""
        return self._run.stopping

    @property
    def limit_reached(self) -> str | None:
        """Which limit that you set is reached, in words; None while none is."""
        return self._run.limits.in_words() if self._run.limits.is_reached else None

    @property
    def rate(self) -> float | None:
        """The rate limit in input images a minute, given or learned; None while there is none."""
        return self._run.limiter.rate

    @property
    def rate_limit_wait(self) -> float:
        """Seconds until the rate limit lets the next image be sent; 0.0 for now."""
        return self._run.limiter.retry_after

    @property
    def retrying(self) -> Counter[str]:
        """How many edits of this process wait to be sent again, by why; not those that wait for the rate limit."""
        return Counter(worker.trouble for worker in self._run.workers if worker.trouble)


@asynccontextmanager
async def outcomes_of(run: BulkRun, edits: Iterable[ImageEdit] | AsyncIterable[ImageEdit]) -> AsyncIterator[Outcomes]:
    """Bring all edits to their ends, `run.concurrency` at a time; leaving the block cancels those in flight."""
    async with (
        aclosing(prepared_edits(run, edits)) as prepared,
        tasks.map_unordered(prepared, partial(_finish, run), limit=run.concurrency) as outcomes,
    ):
        try:
            yield Outcomes(run, outcomes)
        finally:
            run.leave()


async def prepared_edits(
    run: BulkRun, edits: Iterable[ImageEdit] | AsyncIterable[ImageEdit]
) -> AsyncGenerator[_Prepared, None]:
    """The edits as they are taken, one at a time; those that ended before come in pages, each once the last is over.

    What their source raises stops the run in good order.
    """
    async with aclosing(tasks.walk(edits)) as all_, aclosing(run.intake.in_turn(all_)) as source:
        while not run.stopping:
            try:
                edit = await _next(run, source)
                if edit is None:
                    return
                if isinstance(edit, EndedPage):
                    yield edit
                    await edit.is_over.wait()
                    continue
                prepared = await run.intake.prepare(edit)
                if isinstance(prepared, PreparedEdit):
                    prepared = await run.intake.ready(prepared)
            except Exception as error:  # noqa: BLE001 - the caller gets it back, once all in flight has ended
                run.halt(error)
                return
            if prepared is not None:
                yield prepared


async def _next(run: BulkRun, source: AsyncGenerator[ImageEdit | EndedPage, None]) -> ImageEdit | EndedPage | None:
    with anyio.CancelScope() as run.reading:
        return await tasks.await_foreign(anext(source, None))
    return None


async def _finish(run: BulkRun, prepared: _Prepared) -> EditOutcome | EndedPage | None:
    """Bring an edit to its end. None: the run was stopped before it was sent."""
    if not isinstance(prepared, PreparedEdit):
        if isinstance(prepared, EditOutcome):
            run.ended(prepared)
        return prepared
    if run.stopping:
        return None
    worker = EditWorker(run, prepared)
    run.workers.add(worker)
    try:
        outcome = await worker.outcome()
    finally:
        run.workers.discard(worker)
    run.ended(outcome)
    return outcome
