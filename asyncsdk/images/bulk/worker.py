"""One edit of a run on its way: its turn, its intent, its answer, its last word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.errors import APIError, ChargeUnknownError, EditError, LedgerError, RateLimitError
from asyncsdk.http.edit_response import Messages
from asyncsdk.images.billing import ABANDONED, charge_unknown, is_safe_to_repeat, problem_of, status_of
from asyncsdk.images.bulk.delivery import LedgerWriter, ResultWriter
from asyncsdk.images.bulk.intake import PreparedEdit
from asyncsdk.images.bulk.lifecycle import EditLifecycle, is_out_of_reach
from asyncsdk.images.outcome import EditOutcome, shortfall
from asyncsdk.images.result import EditResult, keep_raw
from asyncsdk.images.saving import FileWriter
from asyncsdk.images.sending import as_charge_error, send
from asyncsdk.models import ImagesResponse
from asyncsdk.retry import Retry

if TYPE_CHECKING:
    from asyncsdk.images.bulk.run import BulkRun
    from asyncsdk.images.ratelimit import Permit

MOST_RETRIES = 10  # once the server has answered: refusals cost nothing, and the pace keeps them few
OUTAGE_SECONDS = 900.0  # how long a server that has answered may be out of reach before the run ends
LOOK_SECONDS = 0.1
LAST_WORD_SECONDS = 10.0  # once a run is left, for pictures and for the ledger; a disk that hangs may still take it


@define(eq=False)
class EditWorker:
    """`course` is how far it is; it alone tells what an end at this very moment means."""

    run: BulkRun
    ready: PreparedEdit
    course: EditLifecycle = field(factory=EditLifecycle, init=False)
    _entry: LedgerWriter = field(init=False)
    _scope: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)
    _retry: Retry = field(init=False)
    _ticket: Permit | None = field(default=None, init=False)
    _heard: list[Messages] = field(factory=list, init=False)
    _outage: bool = field(default=False, init=False)
    _keeping: ResultWriter | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._entry = LedgerWriter(self.run.ledger, self.ready)
        self._retry = Retry(
            self.run.client.max_retries,
            outlast_outages=True,
            answered=self.run.answered,
            worth=self._is_worth_retrying,
            turn=self._turn,
            on_sent=self._sent,
            on_wait=self._wait,
        )

    async def outcome(self) -> EditOutcome | None:
        """See it through. None: nothing was paid, and it is left to another run."""
        try:
            with self._scope:
                return await self._see_through()
            return await self._end_here()
        except anyio.get_cancelled_exc_class():  # the whole run is left
            with anyio.CancelScope(shield=True):
                self.run.ended(await self._end_here())
            raise

    def stop(self) -> None:
        """End it, unless it is under way."""
        if self.course.stage == "waiting":
            self._scope.cancel()

    def leave(self) -> None:
        """The run is about to be left: a disk that hangs is not awaited for ever."""
        if self._keeping is not None:
            self._keeping.end_within(LAST_WORD_SECONDS)

    async def _see_through(self) -> EditOutcome | None:
        try:
            answer = await tasks.await_foreign(
                send(self.run.client, self.ready.loaded, retry=self._retry, heard=self._heard)
            )
            return await self._keep(answer)
        except (APIError, ChargeUnknownError) as error:
            return await self._fail(error)
        except Exception as error:  # noqa: BLE001 - a limit, a full disk, a key that can't be had: the others are awaited
            outcome = await self._end_here(error)
            self.run.halt(error)
            return outcome

    async def _turn(self) -> None:
        """Wait until it may go out, and write down that it does."""
        self._ticket = await self.run.pacer.turn(self.ready.edit.input_images)
        await anyio.lowlevel.checkpoint_if_cancelled()
        self.run.limits.begin()
        self.course = self.course.to("counted")
        await self._entry.intend()
        self.course = self.course.to("intended")
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._allow_retries()

    def _sent(self) -> None:
        self.course = self.course.to("sent")

    def _allow_retries(self) -> None:
        if self._retry.answered:
            self._retry.max_retries = MOST_RETRIES
        if not self._outage:
            self._retry.deadline = self.run.client.clock.now() + OUTAGE_SECONDS

    def _is_worth_retrying(self, error: APIError) -> bool:
        return not self.run.stopping and self.course.may_try_again(error, self.run.on_uncertain)

    def _wait(self, error: APIError, _: float) -> None:
        """It failed and will be tried again."""
        failure = as_charge_error(error, self._heard)
        self._heard.clear()
        self._settle(failure)
        self.run.count_unusable(failure, failure)
        self._outage = is_out_of_reach(error)

    def _settle(self, error: APIError | ChargeUnknownError) -> None:
        """A try failed: what surely was not done is not counted any more."""
        if isinstance(error, RateLimitError) and self._ticket is not None:
            self.run.pacer.refused(error, self._ticket)
        if not isinstance(error, ChargeUnknownError):
            self._take_back()
        self.course = self.course.failed(error)

    def _take_back(self) -> None:
        if self.course.is_under_way:
            self.run.limits.take_back()
        if self.course.is_written:
            self._entry.release()
        self.course = self.course.to("waiting")

    async def _fail(self, error: APIError | ChargeUnknownError) -> EditOutcome | None:
        """It is not tried again."""
        was_stopping = self.run.stopping
        self._settle(error)
        told = self.course.lost or error
        if was_stopping and isinstance(told, APIError) and is_safe_to_repeat(told):
            return None
        outcome = await self._end(told)
        self.run.count_unusable(error, outcome.error)
        reason = self.course.reason_to_stop(error, self.run.on_uncertain, answered=self.run.answered)
        if reason is not None:
            self.run.halt(outcome.error or reason if reason is told else reason)
        return outcome

    async def _keep(self, answer: ImagesResponse) -> EditOutcome:
        """It is paid."""
        self.course, self.run.answered = self.course.to("answered"), True
        result = EditResult(answer, self.ready.edit, self.run.client.fetch)
        self._keeping = ResultWriter(result, self.ready.place, self._entry, self.run.save, self._alone)
        self.run.spend(result.usage)
        if self._ticket is not None:
            self.run.pacer.accepted(self._ticket)
        failure = await self._keeping.keep()
        if failure is not None and self._keeping.is_the_disks:
            self.run.halt(failure)
        self.run.count_handed_on(failure, is_handed_on=self._keeping.is_handed_on)
        outcome = await self._end(failure)
        self.run.count_response(outcome.error, is_usable=self._keeping.is_usable)
        if self._keeping.doubt is not None:
            self.run.halt(self._keeping.doubt)
        return outcome

    async def _alone(self, error: Exception) -> None:
        """Wait until no other edit is at the server, whose connections hold what `error` says is missing."""
        self.run.halt(short_of(error))
        # rare, and what it waits for changes in many places
        while any(other.course.stage in {"counted", "intended", "sent"} for other in self.run.flights):  # noqa: ASYNC110
            await anyio.sleep(LOOK_SECONDS)

    async def _end_here(self, why: Exception | None = None) -> EditOutcome | None:
        """Its end as it stands: paid, perhaps paid, or nothing at all."""
        why = why or EditError(ABANDONED)
        if self.course.stage == "ended":
            return None
        if self.course.stage == "answered" and self._keeping is not None:
            return await self._end(self._keeping.failure(why))
        if self.course.stage == "sent":
            return await self._end(charge_unknown(why))
        self._take_back()
        return None if self.course.lost is None else await self._end(self.course.lost)

    async def _end(self, error: Exception | None) -> EditOutcome:
        """Its last word. Where the ledger can't take it the run stops; what the outcome says stays true."""
        self.course = self.course.to("ended")
        outcome = self._outcome(error)
        with anyio.move_on_after(LAST_WORD_SECONDS, shield=True):
            outcome = self._outcome(await self._with_raw(error))
            if self.course.lost is not None and self.course.lost is not error:
                await self._with_raw(self.course.lost)  # an earlier try's, which may have been paid too
            try:
                await self._entry.end(outcome)
            except LedgerError as failure:
                self.run.halt(failure)
        return outcome

    async def _with_raw(self, error: Exception | None) -> Exception | None:
        """Keep what came in the place of images, and return `error` with where that is."""
        folder = self._entry.raw_folder
        if folder is None or not isinstance(error, ChargeUnknownError) or not any(error.raw):
            return error
        return await keep_raw(error, folder, self.ready.id, FileWriter(self._entry.drafts, folder.parent))

    def _outcome(self, error: Exception | None) -> EditOutcome:
        result = None if self._keeping is None else self._keeping.result
        told = None if error is None else problem_of(error)
        return EditOutcome(
            edit=self.ready.edit,
            id=self.ready.id,
            status="done" if error is None else status_of(error),
            files=() if self._keeping is None else tuple(self._keeping.files),
            displaced=() if self._keeping is None else self._keeping.displaced,
            result=result,
            usage=None if result is None else result.usage,
            problem=told if told is not None or result is None else shortfall(result),
            error=error,
        )


def short_of(error: Exception) -> EditError:
    """What ends a run that found no descriptor or memory to save what is paid."""
    failure = EditError(
        f"this process has too little to save what is paid ({error}), and waited for it. Nothing more was sent.\n"
        "  Let it have more (ulimit -n, memory) or lower the concurrency, and the same call goes on."
    )
    failure.__cause__, failure.resumable = error, True
    return failure
