"""One edit of a run, from its permit to its record in the ledger: sent, tried again, saved, recorded."""

from __future__ import annotations

import time
from functools import partial

import anyio
import anyio.lowlevel
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.errors import APIConnectionError, APIError, ChargeUnknownError, EditError, LedgerError, RateLimitError
from asyncsdk.http.edit_response import Messages
from asyncsdk.http.errors import in_short
from asyncsdk.images.billing import ABANDONED, charge_unknown, is_safe_to_repeat, problem_of, status_of
from asyncsdk.images.bulk.delivery import LedgerWriter, ResultWriter
from asyncsdk.images.bulk.intake import PreparedEdit
from asyncsdk.images.bulk.lifecycle import EditLifecycle
from asyncsdk.images.bulk.run import BulkRun
from asyncsdk.images.costs.money import in_dollars
from asyncsdk.images.idempotency import EditKey, is_known, same_header
from asyncsdk.images.ledger import ClaimLostError
from asyncsdk.images.outcome import EditOutcome, shortfall
from asyncsdk.images.result import EditResult, keep_raw
from asyncsdk.images.saving import FileWriter
from asyncsdk.images.sending import as_charge_error, send
from asyncsdk.models import ImagesResponse
from asyncsdk.ratelimit import Permit
from asyncsdk.retry import Retry, is_unreachable
from asyncsdk.unique import token

MOST_RETRIES = 10  # once the server has answered: refusals cost nothing, and the rate limiter keeps them few
OUTAGE_SECONDS = 900.0  # how long a server that has answered may be out of reach before the run ends
POLL_SECONDS = 0.1
_LAPSED = "the lease of this process lapsed before a byte of the edit went out. Nothing was sent."


@define(eq=False)
class EditWorker:
    """`lifecycle` is how far it is; it alone decides what an end at this moment means."""

    run: BulkRun
    prepared: PreparedEdit
    lifecycle: EditLifecycle = field(factory=EditLifecycle, init=False)
    _ledger: LedgerWriter = field(init=False)
    _scope: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)
    _retry: Retry = field(init=False)
    _permit: Permit | None = field(default=None, init=False)
    _messages: list[Messages] = field(factory=list, init=False)
    _is_out_of_reach: bool = field(default=False, init=False)
    _writer: ResultWriter | None = field(default=None, init=False)
    _recording: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)
    _has_left: bool = field(default=False, init=False)
    _turned_away: APIError | None = field(default=None, init=False)  # why its last attempt was not done
    _trouble: str = field(default="", init=False)  # why it is sent again, until it is
    _has_lapsed: bool = field(default=False, init=False)  # the lease, before the attempt sent anything
    _key: EditKey | None = field(default=None, init=False)
    _is_known: bool = field(default=False, init=False)  # it is asked for again: to the server it is one edit
    _cost: int | None = field(default=None, init=False)  # what it did cost
    _most: int | None = field(default=None, init=False)  # what one attempt costs at most, in billionths of a dollar

    def __attrs_post_init__(self) -> None:
        self._ledger = LedgerWriter(self.run.ledger, self.prepared)
        if self.run.idempotency_header is not None:
            self._key = key_of(self.prepared, self.run.idempotency_header, time.time())
        if self.prepared.is_asked_again and self.prepared.before is not None:  # it counts already
            self.lifecycle, self._is_known = EditLifecycle(lost=charge_unknown(EditError(ABANDONED))), True
            self._most = self.prepared.before.cost
            self.run.limits.ask_again(self._most)
        self._retry = Retry(
            self.run.client.max_retries,
            wait_out_outages=True,
            answered=self.run.answered,
            should_retry=self._should_retry,
            before_attempt=self._before_attempt,
            on_sent=self._on_sent,
            on_wait=self._on_wait,
        )

    @property
    def waits_to_be_counted(self) -> bool:
        """Whether it is not under way, and will count against the limits: what is asked for again does already."""
        return self.lifecycle.stage == "waiting" and not self._is_known

    @property
    def trouble(self) -> str:
        """Why it waits to be sent again, in a few words; '' if it does not, as once it ends."""
        return self._trouble if self.lifecycle.stage == "waiting" else ""

    async def outcome(self) -> EditOutcome | None:
        """Send and save it. None: nothing was paid, and it is left to another run."""
        try:
            with self._scope:
                return await self._send_and_save()
            return await self._end_now()
        except anyio.get_cancelled_exc_class():  # the whole run is cancelled
            with anyio.CancelScope(shield=True):
                self.run.ended(await self._end_now())
            raise

    def stop(self) -> None:
        """End it, unless it is under way."""
        if self.lifecycle.stage == "waiting":
            self._scope.cancel()

    def leave(self) -> None:
        """Limit how long it waits for a disk that hangs: it is cancelled next."""
        self._has_left = True
        if self._writer is not None:
            self._writer.end_within(self.run.client.timing.final_write)
        self._recording.deadline = min(
            self._recording.deadline, anyio.current_time() + self.run.client.timing.final_write
        )

    async def _send_and_save(self) -> EditOutcome | None:
        try:
            response = await tasks.await_foreign(
                send(
                    self.run.client,
                    self.prepared.loaded,
                    retry=self._retry,
                    messages=self._messages,
                    headers=self._headers(),
                )
            )
            return await self._save(response)
        except ClaimLostError:
            self._release()
            self.run.intake.lost(self.prepared)
            return None
        except (APIError, ChargeUnknownError) as error:
            return await self._failed(error)
        except Exception as error:  # noqa: BLE001 - a limit, a full disk, a key that fails: the others are awaited
            outcome = await self._end_now(error)
            self.run.halt(error)
            return outcome
        finally:
            del self._retry  # it refers to this edit: its pictures would stay until the next collection of garbage

    async def _before_attempt(self) -> None:
        """Wait for the rate limit, and record in the ledger that it is about to be sent."""
        self._trouble, self._has_lapsed = "", False
        if not self._is_known:
            self.run.limits.check()  # at once, not after a wait for the rate
        if self.run.ends is not None:
            await self.run.ends.check(self.prepared.edit.model)
        if self.run.pricing is not None and self._most is None and not self._is_known:
            self._most = self.run.pricing.most(self.prepared.edit, self.prepared.loaded.images)
        await self._make_room()
        self._permit = await self.run.limiter.acquire(self.prepared.edit.input_images)
        await self._make_room()
        await anyio.lowlevel.checkpoint_if_cancelled()
        if self.lifecycle.lost is not None and self._has_outlived_key:
            raise self.lifecycle.lost
        if not self._is_known:
            self.run.limits.begin(self._most, self.prepared.edit)
        self.lifecycle = self.lifecycle.to("counted")
        await self._ledger.intend(self._most, self._key, again=self._is_known)
        self.lifecycle = self.lifecycle.to("intended")
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._allow_retries()

    async def _make_room(self) -> None:
        if not self._is_known:  # else it counts already, and would wait for itself where a limit is passed
            await self.run.make_room(self._most)

    def _on_sent(self) -> None:
        """Before its first byte. Raises APIConnectionError where another process may have it by now."""
        if not self._ledger.may_send:
            self._has_lapsed = True
            raise APIConnectionError(_LAPSED, request=self.prepared.id, sent=False)
        self.lifecycle = self.lifecycle.to("sent")

    def _allow_retries(self) -> None:
        if self._retry.answered:
            self._retry.max_retries = MOST_RETRIES
        if not self._is_out_of_reach:
            self._retry.deadline = self.run.client.clock.now() + OUTAGE_SECONDS

    def _should_retry(self, error: APIError) -> bool:
        # of a shared ledger, what may be paid is sent again by a later claim, once no answer to it can come any more
        how = "report" if self._ledger.owner.is_shared else self.run.on_uncertain
        is_over = self.run.stopping or self._has_outlived_key
        return not is_over and self.lifecycle.may_try_again(error, how, is_known=self._may_ask_again)

    def _on_wait(self, error: APIError, _: float) -> None:
        """An attempt failed, and another one follows."""
        failure = as_charge_error(error, self._messages)
        self._messages.clear()
        is_kept = self._may_ask_again and isinstance(failure, ChargeUnknownError)
        self._attempt_failed(failure, is_followed=True)
        self._is_known = self._is_known or is_kept
        self.run.count_unusable(failure, failure)
        if not is_kept:
            self.run.count_doubt(failure)
        self._is_out_of_reach = is_unreachable(error)
        self._trouble = self._why_again(error, failure)

    def _why_again(self, error: APIError, failure: Exception) -> str:
        """Why it is sent again, in a few words; '' where the rate limit has it wait."""
        if isinstance(error, RateLimitError):
            return ""
        if self._has_lapsed:
            return "the lease lapsed"
        is_lost = isinstance(error, APIConnectionError) and isinstance(failure, ChargeUnknownError)
        return "the response was lost" if is_lost else in_short(error)

    @property
    def _may_ask_again(self) -> bool:
        """Whether the server surely knows the edit again, by its key."""
        return self._key is not None and self._key.is_known(time.time())

    @property
    def _has_outlived_key(self) -> bool:
        """Whether it was asked for again, and the server may have forgotten it by now: it would be another edit."""
        return self._is_known and not self._may_ask_again

    def _headers(self) -> dict[str, str] | None:
        name = self.run.idempotency_header
        return None if name is None or self._key is None else {name: self._key.value}

    def _attempt_failed(self, error: APIError | ChargeUnknownError, *, is_followed: bool = False) -> None:
        """An attempt failed: an edit that was surely not done does not count. `is_followed`: by another attempt."""
        if isinstance(error, RateLimitError) and self._permit is not None:
            self.run.limiter.refused(error, self._permit)
        if not isinstance(error, ChargeUnknownError) and not self._is_known:
            self._release()
        elif not (is_followed and (self._is_known or self._may_ask_again)):
            self.run.settle(self._most, None)
        self._turned_away = None if isinstance(error, ChargeUnknownError) else error
        self.lifecycle = self.lifecycle.failed(error)

    def _release(self) -> None:
        if self._is_known:  # what was lost before counts, whatever becomes of this attempt
            self.run.settle(self._most, None)
        elif self.lifecycle.is_under_way:
            self.run.limits.take_back(self._most)
            self.run.note_settled()
        if self.lifecycle.is_written and not self._is_known:
            self._ledger.release()
        self.lifecycle = self.lifecycle.to("waiting")

    async def _failed(self, error: APIError | ChargeUnknownError) -> EditOutcome | None:
        """An attempt failed, and no other one follows."""
        was_stopping = self.run.stopping
        self._attempt_failed(error)
        failure = self.lifecycle.lost or error
        if was_stopping and isinstance(failure, APIError) and is_safe_to_repeat(failure) and not self._is_left_failed:
            return None
        outcome = await self._end(failure)
        self.run.count_unusable(error, outcome.error)
        self.run.count_doubt(error)
        if failure is error:  # else an earlier attempt may be paid
            self.run.count_refusal(error, self.prepared.edit)
        reason = self.lifecycle.reason_to_stop(error, self.run.on_uncertain, answered=self.run.answered)
        if reason is not None:
            self.run.halt(outcome.error or reason if reason is failure else reason)
        return outcome

    async def _save(self, response: ImagesResponse) -> EditOutcome:
        """It is paid: save it."""
        self.lifecycle, self.run.answered = self.lifecycle.to("answered"), True
        result = EditResult(response, self.prepared.edit, self.run.client.download_url)
        self._writer = ResultWriter(
            result,
            self.prepared.place,
            self._ledger,
            self.run.save,
            self.run.intake.target,
            partial(_wait_until_alone, self.run),
        )
        self._cost = self._cost_of(result)
        self.run.settle(self._most, self._cost, result.usage)
        self.run.spend(result.usage)
        if self._permit is not None:
            self.run.limiter.accepted(self._permit)
        failure = await self._writer.keep()
        if failure is not None and self._writer.is_lasting_failure:
            self.run.halt(failure)
        self.run.count_handed_on(failure, is_handed_on=self._writer.is_handed_on)
        outcome = await self._end(failure)
        self.run.count_response(outcome.error, is_usable=self._writer.is_usable)
        if self._writer.doubt is not None:
            self.run.halt(self._writer.doubt)
        return outcome

    async def _end_now(self, why: Exception | None = None) -> EditOutcome | None:
        """End it as far as it is: paid, perhaps paid, or not sent."""
        why = why or EditError(ABANDONED)
        if self.lifecycle.stage == "ended":
            return None
        if self.lifecycle.stage == "answered" and self._writer is not None:
            return await self._end(self._writer.failure(why))
        if self.lifecycle.stage == "sent":
            self.run.settle(self._most, None)
            return await self._end(charge_unknown(why))
        self._release()
        left = self.lifecycle.lost or (self._turned_away if self._is_left_failed else None)
        return None if left is None else await self._end(left)

    @property
    def _is_left_failed(self) -> bool:
        """Whether a run that stops after an attempt that was turned away leaves it as failed.

        Of a shared ledger it is left to the other copies; what was done or lost before stays that.
        """
        before = self.prepared.before
        return not self._ledger.owner.is_shared and (before is None or before.status == "failed")

    async def _end(self, error: Exception | None) -> EditOutcome:
        """Record its end. Where the ledger can't be written the run stops; the outcome stays true."""
        self.lifecycle = self.lifecycle.to("ended")
        outcome = self._outcome(error)
        patience = 0.0 if self.run.ledger is None or self._has_left else self.run.ledger.patience
        seconds = max(self.run.client.timing.final_write, patience)
        with anyio.move_on_after(seconds, shield=True) as self._recording:
            outcome = self._outcome(await self._with_raw(error))
            if self.lifecycle.lost is not None and self.lifecycle.lost is not error:
                await self._with_raw(self.lifecycle.lost)  # of an earlier attempt, which may have been paid too
            try:
                await self._ledger.end(outcome, () if self._writer is None else self._writer.names, self._cost)
                if self._writer is not None and error is None:
                    await self._writer.settle()
            except LedgerError as failure:
                self.run.halt(failure)
        return outcome

    def _cost_of(self, result: EditResult) -> int | None:
        pricing = self.run.pricing
        return None if pricing is None else pricing.cost(self.prepared.edit, result.usage)

    async def _with_raw(self, error: Exception | None) -> Exception | None:
        """Save what came in the place of images, and return `error` with those files."""
        folder = self._ledger.raw_folder
        if folder is None or not isinstance(error, ChargeUnknownError) or not any(error.raw):
            return error
        return await keep_raw(error, folder, self.prepared.id, FileWriter(self._ledger.drafts, folder.parent))

    def _outcome(self, error: Exception | None) -> EditOutcome:
        result = None if self._writer is None else self._writer.result
        problem = None if error is None else problem_of(error)
        return EditOutcome(
            edit=self.prepared.edit,
            id=self.prepared.id,
            status="done" if error is None else status_of(error),
            files=() if self._writer is None else tuple(self._writer.files),
            objects=() if self._writer is None else self._writer.objects,
            displaced=() if self._writer is None else self._writer.displaced.files,
            displaced_objects=() if self._writer is None else self._writer.displaced.objects,
            result=result,
            usage=None if result is None else result.usage,
            cost=in_dollars(self._cost),
            problem=problem if problem is not None or result is None else shortfall(result),
            error=error,
        )


def key_of(prepared: PreparedEdit, header: str, now: float) -> EditKey:
    """The key of an edit that is sent. A redo has another one, and so has what is sent again after the first's time.

    So has what is sent in another header: when a key was sent first is known of one.
    """
    keyed, before = prepared.keyed_by or prepared.item, prepared.before
    if keyed is None or before is None:
        return EditKey(token() if keyed is None else keyed, 0, now, header)
    is_redone = before.status == "done" or prepared.is_in_redo
    is_over = before.tried is not None and not is_known(before.tried, now)
    is_over = is_over or (before.header is not None and not same_header(before.header, header))
    if (is_redone or is_over) and not prepared.is_asked_again:
        return EditKey(keyed, before.generation + 1, now, header)
    return EditKey(keyed, before.generation, now if before.tried is None else before.tried, header)


async def _wait_until_alone(run: BulkRun, error: Exception) -> None:
    """Wait until no other edit is at the server: their connections hold what `error` reports as missing."""
    run.halt(short_of(error))
    # rare, and what it polls changes in many places
    while any(worker.lifecycle.stage in {"counted", "intended", "sent"} for worker in run.workers):  # noqa: ASYNC110
        await anyio.sleep(POLL_SECONDS)


def short_of(error: Exception) -> EditError:
    """The error of a run that has no descriptor or memory to save what is paid."""
    failure = EditError(
        f"this process has too little to save what is paid ({error}), and waited for it. Nothing more was sent.\n"
        "  Let it have more (ulimit -n, memory) or lower the concurrency, and the same call goes on."
    )
    failure.__cause__, failure.resumable = error, True
    return failure
