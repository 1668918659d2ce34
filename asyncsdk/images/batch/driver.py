"""Brings the edits of a call to their ends in batches: takes them in, sends batches, brings each of these to its end.

What a batch asks for next is decided in `next_step.py`, how its edits end in `verdicts.py` and `tally.py`. A run may be
killed at any moment: the ledger has each step before or at once after it is made.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing

import anyio
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from asyncsdk import tasks
from asyncsdk.batches import Batch
from asyncsdk.errors import (
    APIError,
    AsyncSDKError,
    EditError,
    InvalidEditError,
    LimitReachedError,
)
from asyncsdk.images.batch.cleaning import clean
from asyncsdk.images.batch.cutting import MOST_LINES, Cutter, expected_output
from asyncsdk.images.batch.following import BatchFollower
from asyncsdk.images.batch.progress import BatchProgress
from asyncsdk.images.batch.requests import custom_id_of, line_of, require_batchable
from asyncsdk.images.batch.rows import BatchRow, OpenPart, References
from asyncsdk.images.batch.sending import NotCreatedError
from asyncsdk.images.batch.state import BatchCall
from asyncsdk.images.batch.verdicts import MOST_ATTEMPTS
from asyncsdk.images.billing import is_fatal_for_run, problem_of
from asyncsdk.images.bulk.ended import EndedPage
from asyncsdk.images.bulk.intake import BatchedEdit, PreparedEdit, as_sent, read_and_check, unsent
from asyncsdk.images.bulk.outcomes import prepared_edits
from asyncsdk.images.bulk.run import MOST_IN_VAIN
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.ledger.book import BatchRecord
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.images.pictures import LoadedEdit
from asyncsdk.retry import is_unreachable

IN_MEMORY = 8 << 20  # bytes of an input file, one for each model: at 1 GiB of output it has 0.2 MB
UPLOADS = 8  # edits whose pictures are uploaded at a time
_TRIED = f"it failed in {MOST_ATTEMPTS} batches, and is not put into another one. Nothing was sent. edit_many sends it."

logger = logging.getLogger(__name__)


@define(eq=False)
class BatchDriver:
    """One call: takes edits in, and follows each batch."""

    call: BatchCall
    _group: TaskGroup = field(init=False)
    _cutter: Cutter = field(init=False)
    _parts: dict[int, OpenPart] = field(factory=dict, init=False)
    _putting: anyio.Lock = field(factory=anyio.Lock, init=False)
    _limit: Exception | None = field(default=None, init=False)
    _on_their_way: int = field(default=0, init=False)  # edits that are taken and in no file yet
    _in_vain: int = field(default=0, init=False)  # uploads that failed, in a row
    _asked: int = field(default=0, init=False)  # the changes when room was last asked for

    def __attrs_post_init__(self) -> None:
        self._cutter = Cutter(most_lines=self.call.options.size or MOST_LINES, largest_file=IN_MEMORY)

    async def work(self, edits: Iterable[ImageEdit] | AsyncIterable[ImageEdit]) -> None:
        """Bring all to their ends. What stops it is the run's reason."""
        call, run = self.call, self.call.run
        async with call.outcomes:
            try:
                await call.memory.refresh()
                await call.memory.compact()
                await call.sender.begin()
                async with tasks.group() as self._group:
                    self._follow_earlier()
                    await self._take(edits)
                    call.all_came()
                    await self._send_again()
                if not call.is_left:
                    await call.report_rest()
                if not call.options.keep_files and not call.is_left:  # else the next call needs what is there
                    await clean(run.client, call.memory, call.sender.prefix)
                    await call.memory.compact()
            except (AsyncSDKError, OSError) as error:
                call.halt(error)
            if self._limit is not None and run.reason is None:
                run.limits.is_in_batches = any(each.is_open for each in call.progress.values())
                run.halt(run.limits.reached())

    async def _take(self, edits: Iterable[ImageEdit] | AsyncIterable[ImageEdit]) -> None:
        """Put all edits that are to be sent into batches."""
        run = self.call.run
        run.intake.before_wait, run.intake.more_room = self._send_gathered, self._more_room
        async with (
            aclosing(self._prepared(edits)) as source,
            tasks.map_unordered(source, self._referred, limit=UPLOADS) as referred,
        ):
            async for each in referred:
                if each is not None:
                    await self._put(*each, rounds=0)
                    self._arrived()
        if isinstance(run.reason, LimitReachedError):  # of a ledger that counts by itself
            self._limit = run.take_reason()
        await self._send_rest()

    async def _prepared(
        self, edits: Iterable[ImageEdit] | AsyncIterable[ImageEdit]
    ) -> AsyncGenerator[PreparedEdit | EditOutcome | EndedPage, None]:
        """The edits as they are taken. Where these end for an error, those that wait for room are not sent either."""
        run = self.call.run
        async with aclosing(prepared_edits(run, edits)) as source:
            async for each in source:
                yield each
        if run.stopping and self._limit is None and not isinstance(run.reason, LimitReachedError):
            self.call.leave()

    async def _send_gathered(self) -> None:
        """Before edits are waited for that other processes have: these may wait for ours."""
        if not self._on_their_way:
            await self._put_all_again()
            await self._send_rest()

    async def _send_rest(self) -> None:
        async with self._putting:
            for part in self._cutter.rest():
                await self._create(self._parts.pop(part.number))

    async def _send_again(self) -> None:
        """Put edits into other batches whose batch failed as a whole, until no batch is left that may."""
        call = self.call
        while call.under_way or call.again:
            since = call.changes
            is_any = await self._put_all_again()
            await self._send_rest()
            if not is_any and call.under_way:
                await call.wait_for_change(since)

    async def _put_all_again(self) -> bool:
        """Put those into files that are to be; whether there were any."""
        again, self.call.again = self.call.again, []
        self._on_their_way += len(again)
        for prepared, rounds in again:
            await self._put_again(prepared, rounds)
            self._arrived()
        return bool(again)

    async def _referred(
        self, prepared: PreparedEdit | EditOutcome | EndedPage
    ) -> tuple[PreparedEdit, References] | None:
        """An edit that is to be sent with its pictures on the server; None for one that ended, and for a page."""
        if isinstance(prepared, PreparedEdit):
            counted = await self._counted(prepared)
            if counted is None:
                return None
            self._on_their_way += 1
            referred = await self._with_references(counted)
            if referred is None:
                self._arrived()
            return referred
        if isinstance(prepared, EditOutcome):
            await self._ended(prepared)
            return None
        while not self.call.run.stopping and (outcome := prepared.take()) is not None:
            await self._ended(outcome)
        prepared.drop()
        return None

    async def _ended(self, outcome: EditOutcome) -> None:
        if isinstance(outcome, BatchedEdit):
            await self._know(outcome)
        else:
            await self.call.give(outcome)

    async def _know(self, outcome: BatchedEdit) -> None:
        """An edit is in a batch, perhaps in one that another process has created just now."""
        call, key = self.call, outcome.state.batch or ""
        call.know(outcome)
        if key not in call.progress:
            await call.memory.refresh()
        record = call.memory.book.open.get(key)
        if record is None:
            await call.report([outcome.item])
        elif key not in call.progress:
            self._follow(record, None, is_earlier=True)

    async def _counted(self, prepared: PreparedEdit) -> PreparedEdit | None:
        """An edit that may be in a batch, and counts now; None where it may not: how it ended is given."""
        run = self.call.run
        chosen = run.intake.policy.only is not None or prepared.is_in_redo
        try:
            require_batchable(prepared.edit)
            _require_tries(0 if chosen else self.call.memory.tries(prepared.item or ""))
            pictures, pricing = prepared.loaded.images, run.pricing
            most = None if pricing is None else pricing.most(prepared.edit, pictures, batched=True)
            while not run.limits.has_room(most) and await self._may_have_room(self.call.changes):
                pass
            if self._limit is None and not self.call.is_left:
                run.limits.begin(most, prepared.edit)
                return evolve(prepared, most=most)
        except LimitReachedError as error:
            self._limit, run.stopping = error, True
            self.call.change()
        except (InvalidEditError, EditError) as error:
            await self.call.give(unsent(prepared.edit, prepared.id, error))
        await self.call.memory.give_back([prepared.item or ""])
        return None

    async def _may_have_room(self, since: int) -> bool:
        """Send what is gathered, and wait for what may cost less than it counts with; False: nothing will.

        `since` are the changes after which there was no room. A batch of an earlier call is read meanwhile, though it
        may have edits that are yet to come.
        """
        call = self.call
        call.all_came()
        await self._send_gathered()
        if call.is_left or self._limit is not None or not call.run.limits.is_cost_alone:
            return False
        if call.again and not self._on_their_way:  # they were put aside just now
            return True
        if call.changes == since and not (call.under_way or self._on_their_way):
            return False
        await call.wait_for_change(since)
        return True

    async def _more_room(self) -> bool:
        """The same after a claim that a ledger in a database refused: the batches of others are waited for too."""
        async with self._putting:  # one that is being created is ours, and followed from then on
            await self.call.memory.refresh()
            self._follow_earlier()
        since, self._asked = self._asked, self.call.changes
        return await self._may_have_room(since)

    def _arrived(self) -> None:
        """An edit is in a file, or it ended before."""
        self._on_their_way -= 1
        if not self._on_their_way:
            self.call.change()

    async def _with_references(self, prepared: PreparedEdit) -> tuple[PreparedEdit, References] | None:
        """The edit without its pictures, which are on the server. What fails here costs nothing."""
        try:
            references = await self.call.sender.references(prepared.loaded)
        except APIError as error:
            self._in_vain += 1
            if is_fatal_for_run(error) or is_unreachable(error) or self._in_vain >= MOST_IN_VAIN:
                self.call.halt(error)
            await self.call.turn_away(prepared, _unpaid(prepared, error))
            return None
        self._in_vain = 0
        return evolve(prepared, loaded=LoadedEdit(edit=prepared.loaded.edit, images=())), references

    async def _put_again(self, prepared: PreparedEdit, rounds: int) -> None:
        """Put an edit into another batch: its pictures are read again, and uploaded where they are not there long."""
        try:
            read = await read_and_check(prepared.edit, checked=False, stores=self.call.run.intake.stores)
            loaded = await as_sent(read, checked=False)
        except (InvalidEditError, EditError) as error:
            await self.call.turn_away(prepared, unsent(prepared.edit, prepared.id, error))
            return
        referred = await self._with_references(evolve(prepared, loaded=loaded))
        if referred is not None:
            await self._put(*referred, rounds=rounds)

    async def _put(self, prepared: PreparedEdit, references: References, *, rounds: int) -> None:
        """Put an edit into the file that is gathered for its model; one that is full is sent."""
        item, edit, memory = prepared.item or "", prepared.edit, self.call.memory
        try:
            attempt = memory.attempt(item)
            custom_id = custom_id_of(memory.digest(item), attempt)
            line = line_of(edit, custom_id, images=references.images, mask=references.mask)
            async with self._putting:
                part, full = self._cutter.place(edit.model or "", len(line), expected_output(edit))
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
                    most=prepared.most,
                )
                self.call.edits[item] = prepared
                self._parts.setdefault(part.number, OpenPart(part.model)).rows.append(row)
        except InvalidEditError as error:
            await self.call.turn_away(prepared, unsent(edit, prepared.id, error))

    async def _create(self, part: OpenPart) -> None:
        """Create the batch of a file, and begin to bring it to its end."""
        call = self.call
        self._set_stale_aside(part)
        number, rows = call.memory.book.last + 1, {row.item for row in part.rows}
        created = None
        try:
            while part.rows and created is None and not call.is_left:
                call.progress[""] = BatchProgress(number=number, model=part.model, step="sending", edits=len(part.rows))
                created = await call.sender.create(part)
        except NotCreatedError as error:
            logger.warning("batch %d: not created, its edits go into another one: %s", number, error)
            self._put_aside(part.rows)
            await call.report(rows - {row.item for row in part.rows})
        except APIError as error:
            if is_fatal_for_run(error) or is_unreachable(error):
                call.halt(error)
            for row in part.rows:
                prepared = call.edits.pop(row.item)
                await call.turn_away(prepared, _unpaid(prepared, error))
        finally:
            call.progress.pop("", None)
        if created is not None:
            self._follow(*created)

    def _set_stale_aside(self, part: OpenPart) -> None:
        """Put rows aside whose pictures do not stay long enough on the server: they go into another file."""
        stock, now = self.call.memory.book.stock, self.call.run.client.clock.now()
        stay = [stock.stays(row.needs, now=now) for row in part.rows]
        self._put_aside(row for row, stays in zip(part.rows, stay, strict=True) if not stays)
        part.rows = [row for row, stays in zip(part.rows, stay, strict=True) if stays]

    def _put_aside(self, rows: Iterable[BatchRow]) -> None:
        """Put rows aside that need other lines: they go into another file."""
        self.call.again += [(self.call.edits[row.item], row.rounds) for row in rows]

    def _follow_earlier(self) -> None:
        """Follow the batches that others began, as far as they are known and not followed."""
        for record in list(self.call.memory.book.open.values()):
            if record.key not in self.call.progress:
                self._follow(record, None, is_earlier=True)

    def _follow(self, record: BatchRecord, batch: Batch | None, *, is_earlier: bool = False) -> None:
        self._group.start_soon(BatchFollower(self.call, record, batch, is_earlier=is_earlier).to_its_end)


def _require_tries(tries: int) -> None:
    """Raise EditError for an edit that failed in batches as often as may be."""
    if tries >= MOST_ATTEMPTS:
        raise EditError(_TRIED)


def _unpaid(prepared: PreparedEdit, error: Exception) -> EditOutcome:
    """The outcome of an edit that is in no batch, since something before that failed."""
    problem = evolve(problem_of(error), retryable=True)
    return EditOutcome(edit=prepared.edit, id=prepared.id, status="failed", problem=problem, error=error)
