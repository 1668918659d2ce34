"""Collects a batch that has ended: reads its files as they come, saves pictures, records how each edit ended.

A line is recorded once its pictures have their names, and a line that was recorded is passed over when it is read
again: so a run that is killed here, or a file that breaks off, is read from its beginning, and nothing is saved twice.
What can't be recorded, such as for a full disk, stays where it is on the server.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path

import anyio
from attrs import define, evolve, field, frozen

from asyncsdk import api, files
from asyncsdk.batches import Batch
from asyncsdk.counts import counted
from asyncsdk.errors import ChargeUnknownError, EditError, NotFoundError, SaveError
from asyncsdk.http.response import Stream
from asyncsdk.images.batch.drafts import DraftedPicture, DraftWriter, LineDrafts, PictureDraft, drop, problems_of
from asyncsdk.images.batch.output import OutputLine, OutputReader, PictureBytes, index_of
from asyncsdk.images.batch.requests import custom_id_of
from asyncsdk.images.batch.state import BatchCall
from asyncsdk.images.batch.tally import Tally
from asyncsdk.images.batch.verdicts import LineVerdict, verdict_of
from asyncsdk.images.billing import problem_of
from asyncsdk.images.bulk.delivery import LedgerWriter, ResultWriter
from asyncsdk.images.bulk.intake import PreparedEdit
from asyncsdk.images.costs.money import in_dollars
from asyncsdk.images.destination import NOT_DELIVERED, RAW
from asyncsdk.images.ledger.book import BatchRecord
from asyncsdk.images.ledger.states import ItemState
from asyncsdk.images.names import raw_stem
from asyncsdk.images.outcome import EditOutcome, Problem, shortfall
from asyncsdk.images.result import EditResult
from asyncsdk.models import EditedImage
from asyncsdk.redaction import Redactor
from asyncsdk.retry import Retry

READ_RETRIES = 5  # of a file that breaks off: each begins at its beginning

logger = logging.getLogger(__name__)


@frozen(kw_only=True)
class KeptLine:
    """A line that is to be kept as it is, before its edit is recorded; `item` is None for one of no edit."""

    line: OutputLine
    verdict: LineVerdict
    drafts: Mapping[int, PictureDraft]
    item: str | None


@define(eq=False, kw_only=True)
class BatchCollector:
    """Reads the files of one batch of a call."""

    call: BatchCall
    record: BatchRecord
    batch: Batch
    _states: dict[str, ItemState] = field(factory=dict, init=False)
    _lines: dict[str, tuple[str, int]] = field(factory=dict, init=False)  # by which each item ended in this call
    _drafts: Path | None = field(default=None, init=False)

    async def collect(self) -> None:
        """Record all its edits, and that it is over. Raises APIError, LedgerError, EditError, SaveError, OSError."""
        self._states = await self.call.memory.of_batch(self.record.key)
        self._drafts = self.call.memory.rows.drafts_for(self.call.target.directory)
        tally = Tally(
            {custom_id_of(self.call.memory.digest(item), state.attempt): item for item, state in self._states.items()}
        )
        found = [file_id for file_id in (self.batch.output_file_id, self.batch.error_file_id) if file_id]
        await self.call.memory.note({"t": "results", "batch": self.record.key, "files": found})
        are_read = True
        for file_id in found:
            try:
                tally = await self._read(file_id, tally)
            except NotFoundError as error:
                logger.warning("batch %d: %s is gone: %s", self.record.number, file_id, error)
                are_read = False
        await self.end_rest(list(tally.rest()), tally.verdict_of_rest(self.batch, are_files_read=are_read))

    async def end_one(self, item: str, verdict: LineVerdict) -> None:
        """Record an edit of a batch that was not begun."""
        self._states = self._states or await self.call.memory.of_batch(self.record.key)
        if self._states[item].status == "batched":
            await self._record(item, verdict, {})

    async def end_rest(self, items: list[str], verdict: LineVerdict, *, is_over: bool = True) -> None:
        """Record edits without a line of their own, and that the batch is over, if it is."""
        for item in items:
            await self.end_one(item, verdict)
        if is_over:
            await self.call.memory.note({"t": "closed", "batch": self.record.key})

    async def _read(self, file_id: str, tally: Tally) -> Tally:
        """Read a file, as often as it takes; the tally with its lines."""
        kept, fork = list[KeptLine](), tally

        async def read(stream: Stream) -> None:
            nonlocal fork, kept
            await drop(draft for each in kept for draft in each.drafts.values())
            fork, kept = tally.fork(), []
            drafts = LineDrafts(self.call.target.directory, self._drafts)
            try:
                async for line in _lines_of(stream, drafts):
                    pictures = drafts.take()
                    verdict = await _verdict_of(line, pictures, stream.redactor)
                    keeps = await self._take(file_id, line, pictures, verdict, fork)
                    kept += [] if keeps is None else [keeps]
            finally:
                await drop(drafts.take().values())

        await self.call.run.client.receive(api.file_content(file_id), read, retry=Retry(READ_RETRIES))
        if kept:
            await self._keep(file_id, kept)
        strays = [each.line.number for each in kept if each.item is None]
        if strays:
            logger.warning(
                "batch %d: %d lines of %s are of no edit that waits for one, the first is line %d: they are kept in %s",
                self.record.number, len(strays), file_id, strays[0], self.call.memory.rows.directory / RAW,
            )  # fmt: skip
        return fork

    async def _take(
        self,
        file_id: str,
        line: OutputLine,
        drafts: dict[int, PictureDraft],
        verdict: LineVerdict,
        tally: Tally,
    ) -> KeptLine | None:
        """Record the edit of a line; or return it, where it is to be kept before."""
        taken, place = tally.take(verdict), (file_id, line.start)
        item = None if taken == "unknown" else tally.items[verdict.custom_id or ""]
        state = None if item is None else self._states[item]
        if item is None or state is None or (taken == "again" and self._lines.get(item, place) != place):
            return KeptLine(line=line, verdict=verdict, drafts=drafts, item=None)
        if not _is_better(verdict, state):
            await drop(drafts.values())
            return None
        self._lines[item] = place
        if verdict.is_worth_keeping:
            return KeptLine(line=line, verdict=verdict, drafts=drafts, item=item)
        try:
            await self._record(item, verdict, drafts)
        finally:
            await drop(drafts.values())  # such as of a picture that an earlier call had saved
        return None

    async def _keep(self, file_id: str, kept: list[KeptLine]) -> None:
        """Keep lines as they are, and record the edits of those that have one."""
        paths = dict[int, Path]()

        async def read(stream: Stream) -> None:
            await _copy_lines(stream, kept, self._raw_path, paths)

        await self.call.run.client.receive(api.file_content(file_id), read, retry=Retry(READ_RETRIES))
        for each in kept:
            path = paths.get(each.line.number)
            if each.item is not None:
                await self._record(each.item, each.verdict, each.drafts, raw=path)
            await drop(each.drafts.values())

    def _raw_path(self, each: KeptLine) -> Path:
        name = raw_stem(self.call.prepared_of(each.item, self._states[each.item]).id if each.item else "unknown")
        return self.call.memory.rows.directory / RAW / f"{name}-{self.record.key}-{each.line.number}.raw"

    async def _record(
        self, item: str, verdict: LineVerdict, drafts: Mapping[int, PictureDraft], *, raw: Path | None = None
    ) -> None:
        """Save the pictures of an edit and record its end. Raises SaveError where they can't be saved."""
        prepared = self.call.prepared_of(item, self._states[item])
        ledger = LedgerWriter(self.call.memory.rows, prepared)
        cost = self.call.cost(self.record, prepared.edit, verdict.usage)
        if verdict.status != "done":
            outcome = evolve(_without_pictures(prepared, verdict, raw), cost=in_dollars(cost))
            if outcome.status == "failed":
                await self.call.memory.failed(item)
            await ledger.end(outcome, cost=cost)
            await self._note(item, outcome, 0)
            return
        assert verdict.response is not None  # noqa: S101 - for the type checker: it is done
        data = tuple(EditedImage(content=DraftedPicture.of(drafts[index_of(each.mark)])) for each in verdict.pictures)
        response = evolve(verdict.response, data=data, usage=verdict.usage)
        result = EditResult(response, prepared.edit, self.call.run.client.download_url)
        writer = ResultWriter(result, prepared.place, ledger, None, self.call.target, _at_once, DraftWriter)
        failure = await writer.keep()
        if failure is not None and failure.code != NOT_DELIVERED:
            raise _not_saved(prepared.id, self.record, failure)
        problem = problem_of(failure) if failure is not None else _shortfall(result, verdict, raw)
        outcome = EditOutcome(
            edit=prepared.edit,
            id=prepared.id,
            status="done" if failure is None else "uncertain",
            files=writer.files,
            objects=writer.objects,
            displaced=writer.displaced.files,
            displaced_objects=writer.displaced.objects,
            usage=verdict.usage,
            cost=in_dollars(cost),
            problem=problem,
            error=failure,
        )
        await self.call.memory.rows.end(
            item,
            outcome.status,
            id=prepared.name,
            problem=problem,
            files=writer.names,
            usage=verdict.usage,
            cost=cost,
            images=len(data),
            request_id=response.request_id,
        )
        if failure is None:
            await writer.settle()
        await self._note(item, outcome, len(data))
        if failure is not None:
            raise failure
        if writer.doubt is not None:
            raise writer.doubt

    async def _note(self, item: str, outcome: EditOutcome, pictures: int) -> None:
        was = self._states[item]
        self._states[item] = evolve(was, status=outcome.status)  # type: ignore[arg-type]  # one of a state
        most = self.call.prepared_of(item, was).most
        await self.call.recorded(self.record, item, outcome, pictures, most=most, was=was.status)


def _without_pictures(prepared: PreparedEdit, verdict: LineVerdict, raw: Path | None) -> EditOutcome:
    problem = None if verdict.error is None else problem_of(_with_raw(verdict.error, raw))
    if problem is not None and verdict.code is not None:
        problem = evolve(problem, code=problem.code or verdict.code)
    return EditOutcome(
        edit=prepared.edit,
        id=prepared.id,
        status=verdict.status,
        usage=verdict.usage,
        problem=problem,
        error=verdict.error,
    )


async def _lines_of(stream: Stream, drafts: LineDrafts) -> AsyncIterator[OutputLine]:
    """The lines of a file; the pictures of each are in `drafts` when it comes."""
    reader = OutputReader()
    async with aclosing(stream._chunks) as chunks:  # noqa: SLF001
        async for chunk in chunks:
            for piece in reader.feed(chunk):
                if isinstance(piece, PictureBytes):
                    await drafts.add(piece.index, piece.content)
                else:
                    yield piece
    for line in reader.close():
        yield line


async def _verdict_of(line: OutputLine, drafts: dict[int, PictureDraft], redactor: Redactor) -> LineVerdict:
    found = await problems_of(drafts)
    problems = {each.mark: found[index_of(each.mark)] for each in line.pictures if index_of(each.mark) in found}
    return verdict_of(line, problems, redactor=redactor)


async def _copy_lines(
    stream: Stream, kept: list[KeptLine], path_of: Callable[[KeptLine], Path], paths: dict[int, Path]
) -> None:
    """Keep the bytes of these lines, by their places in the file, each written as it comes: it may have 200 MB."""
    waiting, position, drafts = list(kept), 0, dict[int, files.Draft]()
    try:
        async for chunk in stream:
            while waiting:
                line = waiting[0].line
                if line.number not in drafts:
                    drafts[line.number] = await files.in_saving_thread(_raw_draft, path_of(waiting[0]))
                draft = drafts[line.number]
                piece = chunk[max(0, line.start - position) : max(0, line.start + line.length - position)]
                if piece:
                    await files.in_saving_thread(draft.append, piece)
                if position + len(chunk) < line.start + line.length:
                    break
                await files.in_saving_thread(draft.keep)
                paths[line.number] = draft.target
                del waiting[0], drafts[line.number]
            position += len(chunk)
    finally:
        with anyio.move_on_after(0.5, shield=True):
            for draft in drafts.values():
                await files.in_saving_thread(draft.drop)


def _raw_draft(path: Path) -> files.Draft:
    files.make_directory(path.parent)
    return files.Draft(path, mode=files.PRIVATE)


def _is_better(verdict: LineVerdict, state: ItemState) -> bool:
    """Whether a line says more than what is recorded."""
    return state.status == "batched" or (
        verdict.status == "done" and state.status in {"failed", "refused", "uncertain"}
    )


def _with_raw(error: Exception, raw: Path | None) -> Exception:
    if raw is not None and isinstance(error, ChargeUnknownError):
        error.raw_files = (raw,)
        error.args = (f"{error}\n  What came is kept as it came: {raw}.",)
    return error


def _came(pictures: int) -> str:
    return f"{counted(pictures, 'picture')} came, and {'it is' if pictures == 1 else 'they are'} paid."


def _shortfall(result: EditResult, verdict: LineVerdict, raw: Path | None) -> Problem | None:
    problem = shortfall(result)
    if not verdict.broken and problem is None:
        return None
    problem = problem or Problem(type="EditError", message=_came(len(verdict.pictures)))
    why = f" What else came can't be used ({'; '.join(verdict.broken)})." if verdict.broken else ""
    where = "" if raw is None else f" It is kept as it came: {raw}."
    raw_files = () if raw is None else (str(raw),)
    return evolve(problem, message=f"{problem.message}{why}{where}", raw_files=raw_files)


def _not_saved(name: str, record: BatchRecord, failure: SaveError) -> EditError:
    """The error of a run that can't save: nothing is lost as long as the server has the results."""
    cause = failure.__cause__
    reason = getattr(cause, "strerror", None) or cause or failure
    error = EditError(
        f"the pictures of {name!r} can't be saved ({reason}). They are paid, and stay on the server with the results "
        f"of batch {record.batch_id}: nothing is lost.\n  Make room or mend the disk: the same call then saves them, "
        "and pays nothing for it."
    )
    error.__cause__, error.resumable = failure, True
    return error


async def _at_once(_: Exception) -> None:
    """No other edit is at the server."""
