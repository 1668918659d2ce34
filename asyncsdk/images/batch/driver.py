"""Brings the edits of a call to their ends in batches: takes them in, sends batches, brings each of these to its end.

What a batch asks for next is decided in `next_step.py`, how its edits end in `verdicts.py` and `tally.py`. A run may be
killed at any moment: the ledger has each step before or at once after it is made.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Iterable
from contextlib import aclosing

from anyio.abc import TaskGroup
from attrs import define, evolve, field

from asyncsdk import tasks
from asyncsdk.batches import Batch
from asyncsdk.errors import APIError, AsyncSDKError, EditError, InvalidEditError, LimitReachedError
from asyncsdk.images.batch.cleaning import clean
from asyncsdk.images.batch.cutting import MOST_LINES, Cutter, expected_output
from asyncsdk.images.batch.following import BatchFollower
from asyncsdk.images.batch.progress import BatchProgress
from asyncsdk.images.batch.requests import custom_id_of, line_of, require_batchable
from asyncsdk.images.batch.rows import BatchRow, OpenPart, References
from asyncsdk.images.batch.state import BatchCall
from asyncsdk.images.batch.verdicts import MOST_ATTEMPTS
from asyncsdk.images.billing import is_fatal_for_run, problem_of
from asyncsdk.images.bulk.intake import BatchedEdit, PreparedEdit, as_sent, read_and_check, unsent
from asyncsdk.images.bulk.outcomes import prepared_edits
from asyncsdk.images.bulk.run import MOST_IN_VAIN
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.ledger.book import BatchRecord
from asyncsdk.images.ledger.states import ItemState
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.images.pictures import LoadedEdit
from asyncsdk.retry import is_unreachable

UPLOADS = 8  # edits whose pictures are uploaded at a time
OUTAGE_SECONDS = 900.0  # for which a server that is out of reach is asked again
_UNDER_WAY = "it is in a batch that has not ended. The same call goes on and collects it."
_TRIED = f"it failed in {MOST_ATTEMPTS} batches, and is not put into another one. Nothing was sent. edit_many sends it."

logger = logging.getLogger(__name__)


@define(eq=False)
class BatchDriver:
    """One call: takes edits in, and follows each batch."""

    call: BatchCall
    _group: TaskGroup = field(init=False)
    _cutter: Cutter = field(init=False)
    _parts: dict[int, OpenPart] = field(factory=dict, init=False)
    _limit: LimitReachedError | None = field(default=None, init=False)
    _in_vain: int = field(default=0, init=False)  # uploads that failed, in a row

    def __attrs_post_init__(self) -> None:
        self._cutter = Cutter(most_lines=self.call.options.size or MOST_LINES)

    async def work(self, edits: Iterable[ImageEdit] | AsyncIterable[ImageEdit]) -> None:
        """Bring all to their ends. What stops it is the run's reason."""
        async with self.call.outcomes:
            try:
                await self.call.sender.begin()
                async with tasks.group() as self._group:
                    for key in await self.call.ledger.take_up(list(self.call.ledger.book.open)):
                        self._follow(self.call.ledger.book.open[key], None)
                    await self._take(edits)
                    self.call.all_came()
                    await self._send_again()
                if not self.call.options.keep_files:
                    await clean(self.call.run.client, self.call.ledger, self.call.sender.prefix)
            except (AsyncSDKError, OSError) as error:
                self.call.halt(error)
            if self._limit is not None and self.call.run.reason is None:
                self.call.run.halt(self._limit)

    async def _take(self, edits: Iterable[ImageEdit] | AsyncIterable[ImageEdit]) -> None:
        """Put all edits that are to be sent into batches."""
        async with (
            aclosing(prepared_edits(self.call.run, edits)) as source,
            tasks.map_unordered(source, self._referred, limit=UPLOADS) as referred,
        ):
            async for each in referred:
                if each is not None and not self.call.is_left:
                    await self._put(*each, rounds=0)
        if self.call.run.stopping and self._limit is None:
            self.call.leave()
        await self._send_rest()

    async def _send_rest(self) -> None:
        for part in self._cutter.rest():
            await self._create(self._parts.pop(part.number))

    async def _send_again(self) -> None:
        """Put edits into other batches whose batch failed as a whole, until no batch is left that may."""
        while self.call.under_way or self.call.again:
            again, self.call.again = self.call.again, []
            for prepared, rounds in again:
                await self._put_again(prepared, rounds)
            await self._send_rest()
            if not again and self.call.under_way:
                await self.call.wait_for_change()

    async def _referred(self, prepared: PreparedEdit | EditOutcome) -> tuple[PreparedEdit, References] | None:
        """An edit that is to be sent with its pictures on the server; None for one that ended."""
        if isinstance(prepared, BatchedEdit):
            self.call.know(prepared.item, prepared)
        elif isinstance(prepared, EditOutcome):
            await self.call.give(prepared)
        elif not self.call.is_left and self._limit is None and await self._is_sendable(prepared):
            return await self._with_references(prepared)
        return None

    async def _is_sendable(self, prepared: PreparedEdit) -> bool:
        """Whether an edit may be in a batch, and counts now; else how it ended is given."""
        state = self._state(prepared)
        chosen = self.call.run.intake.policy.only is not None or prepared.is_in_redo
        try:
            require_batchable(prepared.edit)
            if not chosen:
                _require_tries(state)
            self.call.run.limits.begin()
        except LimitReachedError as error:
            self._limit, self.call.run.stopping = error, True
        except (InvalidEditError, EditError) as error:
            await self.call.give(unsent(prepared.edit, prepared.id, error))
        else:
            return True
        return False

    async def _with_references(self, prepared: PreparedEdit) -> tuple[PreparedEdit, References] | None:
        """The edit without its pictures, which are on the server. What fails here costs nothing."""
        try:
            references = await self.call.sender.references(prepared.loaded)
        except APIError as error:
            self.call.run.limits.take_back()
            await self.call.give(_unpaid(prepared, error))
            self._in_vain += 1
            if is_fatal_for_run(error) or is_unreachable(error) or self._in_vain >= MOST_IN_VAIN:
                self.call.halt(error)
            return None
        self._in_vain = 0
        return evolve(prepared, loaded=LoadedEdit(edit=prepared.loaded.edit, images=())), references

    async def _put_again(self, prepared: PreparedEdit, rounds: int) -> None:
        """Put an edit into another batch: its pictures are read again, and uploaded where they are not there long."""
        try:
            read = await read_and_check(prepared.edit, checked=False, stores=self.call.run.intake.stores)
            loaded = await as_sent(read, checked=False)
        except (InvalidEditError, EditError) as error:
            await self.call.give(unsent(prepared.edit, prepared.id, error))
            return
        referred = await self._with_references(evolve(prepared, loaded=loaded))
        if referred is not None:
            await self._put(*referred, rounds=rounds)

    async def _put(self, prepared: PreparedEdit, references: References, *, rounds: int) -> None:
        """Put an edit into the file that is gathered for its model; one that is full is sent."""
        item, edit, state = prepared.item or "", prepared.edit, self._state(prepared)
        attempt = 1 + (0 if state is None else state.attempt)
        try:
            line = line_of(edit, custom_id_of(item, attempt), images=references.images, mask=references.mask)
            part, full = self._cutter.place(edit.model or "", len(line), expected_output(edit))
        except InvalidEditError as error:
            self.call.run.limits.take_back()
            await self.call.give(unsent(edit, prepared.id, error))
            return
        if full is not None:
            await self._create(self._parts.pop(full.number))
        row = BatchRow(
            item=item,
            name=prepared.name,
            n=edit.n or 1,
            source=prepared.source,
            attempt=attempt,
            rounds=rounds,
            line=line,
            needs=references.ours,
        )
        self.call.edits[item] = prepared
        self._parts.setdefault(part.number, OpenPart(part.model)).rows.append(row)

    async def _create(self, part: OpenPart) -> None:
        """Create the batch of a file, and begin to bring it to its end."""
        if self.call.is_left:
            return
        sending = BatchProgress(
            number=self.call.ledger.book.last + 1, model=part.model, step="sending", edits=len(part.rows)
        )
        self.call.progress[""] = sending
        try:
            record, batch = await self.call.sender.create(part)
        except APIError as error:
            for row in part.rows:
                self.call.run.limits.take_back()
                await self.call.give(_unpaid(self.call.edits.pop(row.item), error))
            if is_fatal_for_run(error) or is_unreachable(error):
                self.call.halt(error)
        else:
            self._follow(record, batch)
        finally:
            self.call.progress.pop("", None)

    def _follow(self, record: BatchRecord, batch: Batch | None) -> None:
        self._group.start_soon(BatchFollower(self.call, record, batch).to_its_end)

    def _state(self, prepared: PreparedEdit) -> ItemState | None:
        return self.call.ledger.state(prepared.item or "")


def _require_tries(state: ItemState | None) -> None:
    """Raise EditError for an edit that failed in batches as often as may be."""
    if state is not None and state.status == "failed" and state.attempt >= MOST_ATTEMPTS:
        raise EditError(_TRIED)


def _unpaid(prepared: PreparedEdit, error: Exception) -> EditOutcome:
    """The outcome of an edit that is in no batch, since something before that failed."""
    problem = evolve(problem_of(error), retryable=True)
    return EditOutcome(edit=prepared.edit, id=prepared.id, status="failed", problem=problem, error=error)
