"""One edit of a run on its way: its turn, its intent, its answer, its pictures on disk, its last word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
from attrs import define, field

from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    ChargeUnknownError,
    LedgerError,
    LimitReachedError,
    RateLimitError,
    SaveError,
)
from asyncsdk.images.bulk.ledger import Ledger
from asyncsdk.images.bulk.preparing import Ready
from asyncsdk.images.charge import is_refusal, is_safe_to_repeat, may_be_charged, problem_of, stops_all
from asyncsdk.images.outcome import EditOutcome, Status
from asyncsdk.images.result import EditResult, not_saved
from asyncsdk.images.saving import Place, make_way, save_all, save_beside
from asyncsdk.images.sending import in_terms_of_money, send
from asyncsdk.retry import Retry

if TYPE_CHECKING:
    from asyncsdk.images.bulk.run import Run
    from asyncsdk.images.pace.pace import Ticket

MOST_RETRIES = 10  # once the server has answered: refusals cost nothing, and the pace keeps them few
OUTAGE_SECONDS = 900.0  # how long a server that has answered may be out of reach before the run ends
LEFT = "the run was left while this was on its way: it may have been paid."


@define(eq=False)
class Flight:
    """`in_flight` while the server may be at work on it; at any other time `scope` may be cancelled at no cost."""

    run: Run
    ready: Ready
    scope: anyio.CancelScope = field(factory=anyio.CancelScope, init=False)
    in_flight: bool = field(default=False, init=False)
    _retry: Retry = field(init=False)
    _ticket: Ticket | None = field(default=None, init=False)
    _lost: APIError | None = field(default=None, init=False)  # the last attempt that may have been paid
    _out_of_reach: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._retry = Retry(
            self.run.client.max_retries,
            outlast_outages=True,
            answered=self.run.answered,
            worth=self._is_worth_retrying,
            turn=self._turn,
            on_wait=self._wait,
        )

    async def outcome(self) -> EditOutcome | None:
        """See it through. None: it was not sent, for the run ends."""
        try:
            answer = await send(self.run.client, self.ready.loaded, retry=self._retry)
            self.run.answered = True
            return await self._keep(EditResult(answer, self.ready.edit, self.run.client.fetch))
        except (APIError, ChargeUnknownError) as error:
            return await self._fail(error)
        except (LimitReachedError, LedgerError) as error:
            self.run.halt(error)
            return None
        except anyio.get_cancelled_exc_class():
            if self.in_flight:
                self.run.abandoned.append(self._outcome("uncertain", error=ChargeUnknownError(LEFT)))
            raise
        except Exception as error:  # noqa: BLE001 - such as a key that can't be had: the others in flight are awaited
            self.run.halt(error)
            return self._outcome("uncertain", error=error) if self.in_flight else None

    async def _turn(self) -> None:
        """Wait until it may go out, and write down that it does."""
        self._ticket = await self.run.pacer.turn(self.ready.edit.input_images)
        if self._lost is not None and self.run.stopping:
            raise self._lost
        self.run.limits.begin()
        self.in_flight = True  # from here on it is not taken back by a stop: the limit counts it
        try:
            await self._intend()
            await anyio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            self.in_flight = False
            self._take_back()
            raise
        self._allow_retries()

    def _allow_retries(self) -> None:
        if self._retry.answered:
            self._retry.max_retries = MOST_RETRIES
        if not self._out_of_reach:
            self._retry.deadline = self.run.client.clock.now() + OUTAGE_SECONDS

    def _wait(self, error: APIError, _: float) -> None:
        """It failed and will be sent again."""
        self._tell_pacer(error)
        self._out_of_reach = _is_out_of_reach(error)
        if may_be_charged(error):
            self._lost = error
        if self._lost is None:
            self.in_flight = False
            self._take_back()

    def _is_worth_retrying(self, error: APIError) -> bool:
        again = self.run.preparing.policy.on_uncertain == "retry" and may_be_charged(error)
        return again or is_safe_to_repeat(error)

    async def _intend(self) -> None:
        if self.run.ledger is not None and self.ready.item is not None:
            await self.run.ledger.intend(self.ready.item, id=self.ready.id, n=self.ready.edit.n or 1)

    def _take_back(self) -> None:
        self.run.limits.take_back()
        if self.run.ledger is not None and self.ready.item is not None:
            self.run.ledger.release(self.ready.item)

    def _tell_pacer(self, error: Exception) -> None:
        if isinstance(error, RateLimitError) and self._ticket is not None:
            self.run.pacer.refused(error, self._ticket)

    async def _fail(self, error: APIError | ChargeUnknownError) -> EditOutcome:
        if self._lost is not None and not isinstance(error, ChargeUnknownError):
            error = in_terms_of_money(self._lost)
        self._tell_pacer(error)
        charged = isinstance(error, ChargeUnknownError)
        if not charged and self.in_flight:
            self.run.limits.take_back()
        status: Status = "uncertain" if charged else "refused" if is_refusal(error) else "failed"
        outcome = self._outcome(status, error=error)
        await self._write(outcome)
        if stops_all(error) or _is_out_of_reach(error):
            self.run.halt(error)
        if charged and self.run.preparing.policy.on_uncertain == "stop":
            self.run.halt(error)
        return outcome

    async def _keep(self, result: EditResult) -> EditOutcome:
        if self._ticket is not None:
            self.run.pacer.accepted(self._ticket)
        self.run.limits.spend(result.usage)
        try:
            files = await self._save(result)
        except Exception as error:  # noqa: BLE001 - a caller's `save` raises what it likes; the edit is paid
            failure = error if isinstance(error, SaveError) else not_saved(error, result)
            outcome = self._outcome("uncertain", result=result, error=failure)
            if isinstance(error, OSError):
                self.run.halt(failure)
        else:
            outcome = self._outcome("done", result=result, files=files)
        await self._write(outcome)
        return outcome

    async def _save(self, result: EditResult) -> Sequence[Path]:
        files: Sequence[Path] = ()
        if self.ready.place is not None:
            contents = await result.contents()
            with anyio.CancelScope(shield=True):
                drafts = None if self.run.ledger is None else self.run.ledger.drafts_for(self.ready.place.directory)
                await self._make_way(self.ready.place, max(self.ready.edit.n or 1, len(contents)))
                files = await _save(self.ready.place, contents, drafts)
        if self.run.save is not None:
            await self.run.save(self.ready.edit, result)
        return files

    async def _make_way(self, place: Place, pictures: int) -> None:
        moved = await make_way(place, pictures)
        if moved and self.run.ledger is not None:
            for item in self.ready.displaced:
                await self.run.ledger.moved(item, moved)

    async def _write(self, outcome: EditOutcome) -> None:
        """The last word. Where the ledger can't take it the run stops; what the outcome says stays true."""
        ledger, item = self.run.ledger, self.ready.item
        if ledger is None or item is None:
            return
        with anyio.CancelScope(shield=True):
            try:
                await _last_word(ledger, item, outcome, self.ready)
            except LedgerError as error:
                self.run.halt(error)

    def _outcome(self, status: Status, *, error: Exception | None = None, **known: Any) -> EditOutcome:
        result = known.get("result")
        return EditOutcome(
            edit=self.ready.edit,
            id=self.ready.id,
            status=status,
            usage=None if result is None else result.usage,
            problem=None if error is None else problem_of(error),
            error=error,
            result=result,
            files=tuple(known.get("files", ())),
        )


async def _save(place: Place, contents: Sequence[bytes], drafts: Path | None) -> Sequence[Path]:
    try:
        return await save_all(place, contents, drafts=drafts)
    except FileExistsError:  # somebody put something there meanwhile: what is paid is kept beside it
        return await save_beside(place, contents, drafts=drafts)


async def _last_word(ledger: Ledger, item: str, outcome: EditOutcome, ready: Ready) -> None:
    problem = outcome.problem
    if outcome.status == "done" and outcome.result is not None:
        out = None if ready.place is None else ready.place.directory
        await ledger.done(
            item,
            id=ready.id,
            files=tuple(path.relative_to(out).as_posix() for path in outcome.files) if out else (),
            usage=outcome.usage,
            images=len(outcome.result.images),
            request_id=outcome.result.request_id,
        )
    elif problem is not None:
        await ledger.end(item, outcome.status, id=ready.id, problem=problem)


def _is_out_of_reach(error: Exception) -> bool:
    return isinstance(error, APIConnectionError) and not error.sent
