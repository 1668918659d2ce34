"""Brings the edits of a call to their ends in batches: takes them in, sends batches, brings each of these to its end.

What a batch asks for next is decided in `next_step.py`, how its edits end in `verdicts.py` and `tally.py`. A run may be
killed at any moment: the ledger has each step before or at once after it is made.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Iterable
from contextlib import aclosing

import anyio
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
from asyncsdk.images.batch.sending import NotCreatedError
from asyncsdk.images.batch.state import BatchCall
from asyncsdk.images.batch.verdicts import MOST_ATTEMPTS
from asyncsdk.images.billing import is_fatal_for_run, problem_of
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
                    for record in list(call.memory.book.open.values()):
                        self._follow(record, None)
                    await self._take(edits)
                    call.all_came()
                    await self._send_again()
                if not call.is_left and not call.options.detach:
                    await call.report_rest()
                if not call.options.keep_files and not call.is_left:  # else the next call needs what is there
                    await clean(run.client, call.memory, call.sender.prefix)
                    await call.memory.compact()
            except (AsyncSDKError, OSError) as error:
                call.halt(error)
            if self._limit is not None and run.reason is None:
                run.halt(self._limit)

    async def _take(self, edits: Iterable[ImageEdit] | AsyncIterable[ImageEdit]) -> None:
        """Put all edits that are to be sent into batches."""
        run = self.call.run
        run.intake.before_wait = self._send_gathered
        async with (
            aclosing(prepared_edits(run, edits)) as source,
            tasks.map_unordered(source, self._referred, limit=UPLOADS) as referred,
        ):
            async for each in referred:
                if each is not None:
                    await self._put(*each, rounds=0)
                    self._on_their_way -= 1
        if isinstance(run.reason, LimitReachedError):  # of a ledger that counts by itself
            self._limit = run.take_reason()
        if run.stopping and self._limit is None:
            self.call.leave()
        await self._send_rest()

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
            is_any = await self._put_all_again()
            await self._send_rest()
            if not is_any and call.under_way:
                await call.wait_for_change()

    async def _put_all_again(self) -> bool:
        """Put those into files that are to be; whether there were any."""
        again, self.call.again = self.call.again, []
        for prepared, rounds in again:
            await self._put_again(prepared, rounds)
        return bool(again)

    async def _referred(self, prepared: PreparedEdit | EditOutcome) -> tuple[PreparedEdit, References] | None:
        """An edit that is to be sent with its pictures on the server; None for one that ended."""
        if isinstance(prepared, BatchedEdit):
            await self._know(prepared)
        elif isinstance(prepared, EditOutcome):
            await self.call.give(prepared)
        else:
            self._on_their_way += 1
            if await self._is_sendable(prepared):
                referred = await self._with_references(prepared)
            else:
                referred = None
            self._on_their_way -= referred is None
            return referred
        return None

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
                self._follow(record, None)

    async def _is_sendable(self, prepared: PreparedEdit) -> bool:
        """Whether an edit may be in a batch, and counts now; else how it ended is given."""
        chosen = self.call.run.intake.policy.only is not None or prepared.is_in_redo
        try:
            require_batchable(prepared.edit)
            _require_tries(0 if chosen else self.call.memory.tries(prepared.item or ""))
            if self._limit is None and not self.call.is_left:
                self.call.run.limits.begin()
                return True
        except LimitReachedError as error:
            self._limit, self.call.run.stopping = error, True
        except (InvalidEditError, EditError) as error:
            await self.call.give(unsent(prepared.edit, prepared.id, error))
        await self.call.memory.give_back([prepared.item or ""])
        return False

    async def _with_references(self, prepared: PreparedEdit) -> tuple[PreparedEdit, References] | None:
        """The edit without its pictures, which are on the server. What fails here costs nothing."""
        try:
            references = await self.call.sender.references(prepared.loaded)
        except APIError as error:
            await self.call.turn_away(prepared, _unpaid(prepared, error))
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
            for row in part.rows:
                prepared = call.edits.pop(row.item)
                await call.turn_away(prepared, _unpaid(prepared, error))
            if is_fatal_for_run(error) or is_unreachable(error):
                call.halt(error)
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

    def _follow(self, record: BatchRecord, batch: Batch | None) -> None:
        self._group.start_soon(BatchFollower(self.call, record, batch).to_its_end)


def _require_tries(tries: int) -> None:
    """Raise EditError for an edit that failed in batches as often as may be."""
    if tries >= MOST_ATTEMPTS:
        raise EditError(_TRIED)


def _unpaid(prepared: PreparedEdit, error: Exception) -> EditOutcome:
    """The outcome of an edit that is in no batch, since something before that failed."""
    problem = evolve(problem_of(error), retryable=True)
    return EditOutcome(edit=prepared.edit, id=prepared.id, status="failed", problem=problem, error=error)
