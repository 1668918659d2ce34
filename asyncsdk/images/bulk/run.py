"""A run of many edits: each is prepared in order, waits for its turn, is sent, saved and written down."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager

import anyio
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.client import Client
from asyncsdk.errors import (
    APIConnectionError,
    APIResponseValidationError,
    ChargeUnknownError,
    EditError,
    LedgerError,
    LimitReachedError,
    SaveError,
)
from asyncsdk.images.bulk.delivery import Save
from asyncsdk.images.bulk.intake import Intake, PreparedEdit
from asyncsdk.images.bulk.policy import Limits, OnUncertain
from asyncsdk.images.bulk.worker import EditWorker
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.ledger.file import Ledger
from asyncsdk.images.limiter import RateLimiter
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.models import Usage, add

logger = logging.getLogger(__name__)

Prepared = PreparedEdit | EditOutcome
# paid responses in a row without an image that can be used, or that the caller's `save` could not keep: the next would
# be paid for nothing too
MOST_IN_VAIN = 3


@define(eq=False, kw_only=True)
class BulkRun:
    """What all edits of one run share. `reason` is why it ended before its time, if it did."""

    client: Client
    preparing: Intake
    pacer: RateLimiter
    limits: Limits
    ledger: Ledger | None = None
    save: Save | None = None
    concurrency: int = 1
    answered: bool = field(default=False, init=False)
    stopping: bool = field(default=False, init=False)
    reason: Exception | None = field(default=None, init=False)
    counts: Counter[str] = field(factory=Counter, init=False)
    usage: Usage = field(factory=Usage, init=False)
    images: int = field(default=0, init=False)
    untaken: dict[int, EditOutcome] = field(factory=dict, init=False)  # ended, and not given to the caller yet
    flights: set[EditWorker] = field(factory=set, init=False)
    unusable: list[Exception | None] = field(factory=list, init=False)  # in a row, as is the next
    not_handed_on: int = field(default=0, init=False)
    _reading: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)

    @property
    def on_uncertain(self) -> OnUncertain:
        """What becomes of an edit whose answer was lost."""
        return self.preparing.policy.on_uncertain

    @asynccontextmanager
    async def finished(
        self, edits: Iterable[ImageEdit] | AsyncIterable[ImageEdit]
    ) -> AsyncIterator[AsyncIterator[EditOutcome | None]]:
        """Bring all edits to their ends, as many at a time as may be; gives the outcomes as they come."""
        async with (
            aclosing(self.prepared(edits)) as prepared,
            tasks.map_unordered(prepared, self.finish, limit=self.concurrency) as outcomes,
        ):
            try:
                yield outcomes
            finally:  # what is in flight is cancelled next
                for flight in self.flights:
                    flight.leave()

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
        if self.stopping and isinstance(prepared, PreparedEdit):
            return None
        outcome = prepared if isinstance(prepared, EditOutcome) else await self._fly(prepared)
        self.ended(outcome)
        return outcome

    def ended(self, outcome: EditOutcome | None) -> None:
        """Count how an edit ended, and keep it until it is taken."""
        if outcome is None:
            return
        self.untaken[id(outcome)] = outcome
        self.counts[outcome.status] += 1
        if outcome.result is not None:  # paid, and kept or not
            self.images += len(outcome.result.images)
            self.usage = add([self.usage, outcome.usage or Usage()])

    def taken(self, outcome: EditOutcome) -> None:
        """The caller has it."""
        self.untaken.pop(id(outcome), None)

    def stop(self) -> None:
        """Send nothing new; what is on its way to the server is awaited."""
        self.stopping = True
        self._reading.cancel()
        for flight in self.flights:
            flight.stop()

    def halt(self, reason: Exception) -> None:
        """Stop for a reason, which the caller is told at the end."""
        # where the ledger is gone, that is why pictures can't be saved
        if self.reason is None or (isinstance(self.reason, SaveError) and isinstance(reason, LedgerError)):
            self.reason = reason
            logger.warning("stopping: %s", reason)
        self.stop()

    def spend(self, usage: Usage | None) -> None:
        """Count what an edit used. What is in flight may pass the limit: then nothing more is sent, and it is told."""
        self.limits.spend(usage)
        if self.limits.is_passed:
            self.halt(self.limits.reached())

    def count_response(self, error: Exception | None, *, is_usable: bool) -> None:
        """Count a response that is paid: several in a row without an image that can be used stop the run."""
        self.unusable = [] if is_usable else [*self.unusable, error]
        if len(self.unusable) >= MOST_IN_VAIN:
            self.halt(EditError(_unusable(self.unusable)))

    def count_handed_on(self, failure: Exception | None, *, is_handed_on: bool | None) -> None:
        """Count an edit whose pictures the caller's `save` was given: several failures in a row stop the run."""
        if is_handed_on is None:
            return
        self.not_handed_on = 0 if is_handed_on else self.not_handed_on + 1
        if self.not_handed_on >= MOST_IN_VAIN:
            reason = EditError(
                f"`save` failed for {self.not_handed_on} paid edits in a row, the last time with: {failure}\n"
                "  Nothing more was sent. Each outcome's error has what came. Once `save` works, the same call goes on."
            )
            reason.__cause__ = failure
            self.halt(reason)

    def count_unusable(self, error: Exception, told: Exception | None) -> None:
        """Count a try that ended with `error` if a response came: one that was lost is neither good nor bad.

        `told` is the same with where what came is kept.
        """
        cause = error.__cause__
        was_lost = isinstance(cause, APIConnectionError)  # also where a part of a response came
        is_unusable = isinstance(error, ChargeUnknownError) and (
            error.raw or isinstance(cause, APIResponseValidationError)
        )
        if is_unusable and not was_lost:
            self.count_response(told, is_usable=False)

    def take_reason(self) -> Exception | None:
        """Why it ended before its time; limits are told as they stand now that all has ended."""
        reason, self.reason = self.reason, None
        return self.limits.reached() if isinstance(reason, LimitReachedError) else reason

    async def _next(self, source: AsyncGenerator[ImageEdit, None]) -> ImageEdit | None:
        with anyio.CancelScope() as self._reading:
            return await tasks.await_foreign(anext(source, None))
        return None

    async def _fly(self, ready: PreparedEdit) -> EditOutcome | None:
        flight = EditWorker(self, ready)
        self.flights.add(flight)
        try:
            return await flight.outcome()
        finally:
            self.flights.discard(flight)


def _unusable(errors: Sequence[Exception | None]) -> str:
    """Why a run ends after responses that held nothing; addresses come last, each on a line of its own."""
    urls = [url for error in errors for url in getattr(error, "urls", ())]
    folders = dict.fromkeys(str(path.parent) for error in errors for path in getattr(error, "raw_files", ()))
    words = [f"{len(errors)} responses in a row may have been paid and held no picture that could be had."]
    words.append("Nothing more was sent.")
    if folders or any(getattr(error, "raw", ()) for error in errors):
        words.append(f"What came is in {', '.join(folders) or 'error.raw of each outcome'}: look at it.")
    if not urls:
        words.append("Is the base URL the API's, and does something on the way change the responses?")
    words.append("These edits stay uncertain. Once the cause is mended the same call goes on with the others.")
    if urls:
        words.append("The server keeps a picture for 60 minutes: fetch these, or find out why they can't be fetched:")
    return "\n  ".join([" ".join(words), *urls])
