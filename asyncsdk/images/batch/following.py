"""Follows one batch from its create to its end: polls it, and does what it asks for (`next_step.py`)."""

from __future__ import annotations

import logging
import math

from attrs import define, evolve, field

from asyncsdk.batches import Batch, BatchProblem
from asyncsdk.clock import boot_time
from asyncsdk.errors import APIError, AsyncSDKError, EditError, InvalidEditError
from asyncsdk.images.batch.collecting import BatchCollector
from asyncsdk.images.batch.next_step import MOST_ROUNDS, NextStep, next_step
from asyncsdk.images.batch.options import LONGEST_POLL
from asyncsdk.images.batch.progress import BatchProgress, BatchStep, progress_of
from asyncsdk.images.batch.sending import OUTPUT_SECONDS
from asyncsdk.images.batch.state import BatchCall
from asyncsdk.images.batch.verdicts import LineVerdict, verdict_of_none
from asyncsdk.images.billing import problem_of
from asyncsdk.images.bulk.intake import unsent
from asyncsdk.images.ledger.book import BatchRecord
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.retry import is_worth_retrying

OUTAGE_SECONDS = 900.0  # for which a server that is out of reach is asked again
_UNDER_WAY = "it is in a batch that has not ended. The same call goes on and collects it."

logger = logging.getLogger(__name__)


@define(eq=False)
class BatchFollower:
    """One batch of a call. `batch` is what the server said last; None: it is to be found.

    `is_earlier`: another call began it.
    """

    call: BatchCall
    record: BatchRecord
    batch: Batch | None = None
    is_earlier: bool = field(default=False, kw_only=True)
    _is_lost: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        record = self.record
        self.call.under_way += 1
        self.call.progress[record.key] = BatchProgress(
            number=record.number,
            model=record.model,
            step="validating",
            edits=record.edits,
            batch_id=record.batch_id,
        )

    async def to_its_end(self) -> None:
        """Bring it to its end. What stops it stops the call."""
        try:
            await self._follow()
        except (AsyncSDKError, OSError) as error:
            self.call.halt(error)
        finally:
            self.call.under_way -= 1
            self.call.change()

    async def _follow(self) -> None:
        """Poll it until it asks for something else, and do that.

        One that the server does not know, though it once named it, is asked for again by later calls for as long as its
        results stay: the key may be that of another project.
        """
        call, wait = self.call, None
        if self.batch is None:
            if not await self._is_taken_up():
                return None
            self.batch = await self._look()
        while self.batch is not None:
            if self.record.batch_id is None:
                self.record = await call.sender.found(self.record, self.batch)
            step = next_step(self.batch, now=call.run.client.clock.now(), rounds=self.record.rounds)
            self._show(self.batch, step)
            if step.step == "read":
                async with call.reading:
                    await self._collector(self.batch).collect()
                return self._end("ended")
            if step.step != "poll":
                return await self._after_failure(self.batch, step)
            if call.is_left or call.options.detach:
                return await self._give_under_way()
            wait = call.options.wait_after(wait)
            await call.pause(wait)
            self.batch = await self._look()
        if not self._is_lost:
            return await self._give_under_way()
        age = call.run.client.clock.now() - self.record.intended_at
        is_over = self.record.batch_id is None or age > OUTPUT_SECONDS
        await self._collector(Batch(id="")).end_rest(await self._items(), verdict_of_none(None), is_over=is_over)
        return self._end("uncertain")

    async def _is_taken_up(self) -> bool:
        """Wait until the batch of an earlier call is this process's; else report how its edits ended, or are."""
        call, key, wait = self.call, self.record.key, None
        states = await call.memory.of_batch(key)
        recorded = sum(state.status != "batched" for state in states.values())
        call.progress[key] = evolve(call.progress[key], recorded=recorded)
        for state in states.values() if self.is_earlier else ():
            call.run.limits.ask_again(state.cost if state.status == "batched" else None)
        await call.wait_for_edits()
        while True:
            is_ours = key in await call.memory.take_up([key])
            await call.memory.refresh()
            if key not in call.memory.book.open:
                await call.report(list(states))
                self._end("ended")
                return False
            self.record = call.memory.book.open[key]
            if is_ours:
                return True
            if call.is_left or call.options.detach:
                await self._give_under_way()
                return False
            wait = call.options.wait_after(wait)
            await call.pause(wait)

    async def _after_failure(self, batch: Batch, step: NextStep) -> None:
        """It failed as a whole, and nothing of it was done: its edits go into other batches, or fail."""
        call, states, collector = self.call, await self.call.memory.of_batch(self.record.key), self._collector(batch)
        items = list(states)
        refused = {items[line - 1]: why for line, why in step.refused.items() if line <= len(items)}
        for item, why in refused.items():
            await collector.end_one(item, _refused(why))
        rest = [item for item in items if item not in refused]
        if step.step == "give_up":
            await collector.end_rest(rest, LineVerdict(custom_id=None, status="failed", error=_failure(step.reason)))
            return self._end("ended", step.reason)
        ours = [item for item in rest if item in call.edits]
        free = await call.memory.withdraw(self.record, ours)
        freed = [item for item in rest if item not in ours and states[item].status == "batched"]
        came = [call.edits.pop(item) for item in freed if item in call.edits]  # from the list, just now
        for item in {*freed} - {
            prepared.item for prepared in came
        }:  # it may be yet to come, as it was before its batch
            call.run.limits.take_back(states[item].cost)
        for prepared in came:
            await call.turn_away(prepared, unsent(prepared.edit, prepared.id, _failure(step.reason)))
        rounds = self.record.rounds + 1
        if step.step == "wait_for_another" and not call.options.detach:
            rounds = await self._until_another_ended()
        is_over = call.is_left or call.options.detach or rounds > MOST_ROUNDS
        for item in (each for each in rest if each in free):
            prepared = call.edits.pop(item)
            if is_over:
                await call.turn_away(prepared, unsent(prepared.edit, prepared.id, _failure(step.reason)))
            else:
                call.again.append((prepared, rounds))
        return self._end("ended", step.reason)

    async def _until_another_ended(self) -> int:
        """Wait until the server may take more of ours. Returns its rounds: one more where none of ours is there."""
        before, others = self._ended_so_far(), self._others()
        if not others:
            await self.call.pause(self.call.options.wait_after(LONGEST_POLL))
            return self.record.rounds + 1
        while self._ended_so_far() == before and self._others() and not self.call.is_left:
            await self.call.pause(self.call.options.wait_after(None))
        return self.record.rounds

    def _ended_so_far(self) -> int:
        return sum(not each.is_open for each in self.call.progress.values())

    def _others(self) -> int:
        others = [each for key, each in self.call.progress.items() if key != self.record.key]
        return sum(each.is_open and each.step not in {"waiting", "sending"} for each in others)

    async def _look(self) -> Batch | None:
        """The batch as it is now. None: it is lost, or the call is left before that is known. Raises APIError.

        It is lost once it was looked for for a minute: a server may list or show it later than it makes it. One that is
        out of reach is asked again. Where all its edits ended before, one look is enough.
        """
        progress = self.call.progress[self.record.key]
        search = 0.0 if progress.recorded >= progress.edits else self.call.run.client.timing.batch_search
        began, deadline, wait, timing = boot_time(), math.inf, None, self.call.run.client.timing
        while True:
            asked = boot_time()
            try:
                batch = await self.call.sender.look(self.record)
            except APIError as error:
                deadline = min(deadline, asked + OUTAGE_SECONDS)
                if not is_worth_retrying(error) or self.call.is_left or boot_time() >= deadline:
                    raise
                logger.warning("batch %d: asked again after: %s", self.record.number, error)
                wait = self.call.options.wait_after(wait)
                await self.call.pause(wait)
                began = boot_time()  # of the minute nothing was seen
                continue
            self._is_lost = batch is None and asked - began >= search
            if batch is not None or self._is_lost or self.call.is_left:
                return batch
            deadline, wait = math.inf, None
            await self.call.pause(timing.batch_search_interval)

    async def _items(self) -> list[str]:
        return list(await self.call.memory.of_batch(self.record.key))

    def _collector(self, batch: Batch) -> BatchCollector:
        return BatchCollector(call=self.call, record=self.record, batch=batch)

    def _show(self, batch: Batch, step: NextStep) -> None:
        record, before = self.record, self.call.progress[self.record.key]
        progress = progress_of(batch, number=record.number, edits=record.edits, now=self.call.run.client.clock.now())
        progress = evolve(progress, model=record.model, recorded=before.recorded, reason=step.reason)
        is_waiting = step.step == "wait_for_another"
        self.call.progress[record.key] = evolve(progress, step="waiting") if is_waiting else progress

    def _end(self, step: BatchStep, reason: str = "") -> None:
        self.call.progress[self.record.key] = evolve(self.call.progress[self.record.key], step=step, reason=reason)

    async def _give_under_way(self) -> None:
        for item, state in (await self.call.memory.of_batch(self.record.key)).items():
            prepared = self.call.edits.get(item)
            if prepared is not None and state.status == "batched":
                problem = problem_of(EditError(_UNDER_WAY))
                self.call.given.add(item)
                await self.call.give(EditOutcome(edit=prepared.edit, id=prepared.id, status="batched", problem=problem))


def _refused(why: BatchProblem) -> LineVerdict:
    error = InvalidEditError(f"the batch was refused for its line: {why.message or why.code}. Nothing was paid for it.")
    return LineVerdict(custom_id=None, status="refused", error=error, code=why.code)


def _failure(reason: str) -> EditError:
    failure = EditError(
        f"its batch failed as a whole: {reason}\n  Nothing was paid for it, and the same call sends it again."
    )
    failure.resumable = True
    return failure
