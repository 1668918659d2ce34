"""Runs the edits of a list: shows how far they are, reports how each ended, and leaves what is left of them on disk."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, field

from asyncsdk.cli import units
from asyncsdk.cli.edits.advice import access_advice, stopping_workers
from asyncsdk.cli.edits.arguments import begin, limits_of
from asyncsdk.cli.edits.batches import seconds_left
from asyncsdk.cli.edits.batches import stopping as stopping_batches
from asyncsdk.cli.edits.messages import cut_off, recovered, still_there, stopping, summary, unknown_in_redo
from asyncsdk.cli.edits.moment import Moment
from asyncsdk.cli.edits.options import RunOptions
from asyncsdk.cli.edits.typed import as_typed
from asyncsdk.cli.exits import Exit, exit_code
from asyncsdk.cli.options import Mode, Output
from asyncsdk.cli.output import complain
from asyncsdk.cli.signals import Stop
from asyncsdk.counts import were
from asyncsdk.errors import (
    APIError,
    AsyncSDKError,
    ConfigurationError,
    LedgerError,
    RemoteError,
    SaveError,
)
from asyncsdk.images.destination import NOT_DELIVERED
from asyncsdk.open_files import lowered

if TYPE_CHECKING:
    import anyio

    from asyncsdk.cli.edits.out_place import OutPlace
    from asyncsdk.cli.edits.report import Report
    from asyncsdk.cli.edits.rescue import RescueQueue
    from asyncsdk.cli.edits.sources import Rows
    from asyncsdk.images.batch.progress import BatchProgress
    from asyncsdk.images.bulk.outcomes import Outcomes
    from asyncsdk.images.edit import ImageEdit
    from asyncsdk.images.editor import ImageEditor
    from asyncsdk.remote.stores import RemoteStores

# the condition on which the same command gets further, by the exit code of what stopped the run
WHEN = {Exit.LIMIT: "with a higher limit ", Exit.FAILED: "once the error below is fixed, "}
_SAYS_IT_ITSELF = "the same call"  # in an error that has its own advice on how to go on


@define(eq=False)
class BulkEditing:
    """One run. However it ends, each edit is reported, and what is left of them is on disk."""

    editor: ImageEditor
    queue: RescueQueue
    place: OutPlace
    run: RunOptions
    request: Mapping[str, Any]
    report: Report
    stop: Stop
    stores: RemoteStores
    in_batches: Mapping[str, Any] | None = None  # the arguments of batches, where edits go in these
    done_before: int = 0  # as far as it is known, also of those that a run that is stopped does not come to
    _outcomes: Outcomes | None = field(default=None, init=False)
    _total: int = field(default=0, init=False)
    _not_pictures: int = field(default=0, init=False)
    _results: int = field(default=0, init=False)
    _reason: Exception | None = field(default=None, init=False)
    _is_over: bool = field(default=False, init=False)
    _grace: anyio.CancelScope | None = field(default=None, init=False)
    _has_left: bool = field(default=False, init=False)
    _taken: int = field(default=0, init=False)
    _earlier: int = field(default=0, init=False)  # lines of earlier runs that stay in `failed.jsonl`
    _page_is_lost: bool = field(default=False, init=False)
    _began: float = field(factory=time.monotonic, init=False)
    _last_end: float | None = field(default=None, init=False)  # of an edit that was under way; as the clock of `_began`

    async def go(self, rows: Rows, mode: Mode, output: Output) -> int:
        """Edit the rows, and return the exit code."""
        from asyncsdk import tasks
        from asyncsdk.cli.display import choose
        from asyncsdk.cli.edits.bar import RunView
        from asyncsdk.cli.edits.rescue import LEAVE_SECONDS
        from asyncsdk.images.bulk.shared_intake import from_anywhere

        self.report.add_bad(rows, only=self.run.only)
        self._total, self._not_pictures, self._results = rows.total, len(rows.others), len(rows.results)
        try:
            is_copy = self.place.shared is not None and self.run.dask is None
            listed = self._counted(from_anywhere(rows.edits, rows.edits_in_all) if is_copy else rows.edits())
            place: Any = {"out": self.place.out, "ledger": self.place.ledger, "dask": self.run.dask}
            arguments = {**place, **self.request, **limits_of(self.run)}
            edits = rows.compared(listed)
            async with begin(self.editor, edits, self.in_batches, **arguments) as self._outcomes:
                if self.in_batches is None and self._outcomes.concurrency < self.run.concurrency:
                    complain(lowered(self.run.concurrency, self._outcomes.concurrency))
                if self._outcomes.recovered:
                    complain(recovered(self._outcomes.recovered, str(self.place)))
                for damage in self._outcomes.damage:
                    complain(f"warning: {damage}: ignored; what it recorded may be paid again")
                self.report.is_stopping = self._is_stopping
                self.stop.patience = LEAVE_SECONDS
                self.stop.gently(self._wind_down)
                self.stop.at_the_end(self._report_cut_off)
                if mode != "none":
                    self._look()  # so that how far all copies are is known once it is shown
                with choose(mode, RunView(self._look), quiet=output.quiet, verbose=output.verbose) as display:
                    self.report.aside = display.aside
                    await self._follow(self._outcomes)
        finally:
            if self._outcomes is not None:
                await tasks.to_the_end(partial(self._leave, self._outcomes))
        return self._code()

    async def _follow(self, outcomes: Outcomes) -> None:
        import anyio

        try:
            with anyio.CancelScope() as self._grace:
                async for outcome in outcomes:
                    if outcome.status != "skipped" and not outcome.is_earlier:
                        self._last_end = time.monotonic()
                    await self.queue.take(outcome)
                self._is_over = self.stop.signum is None
        except (AsyncSDKError, OSError) as error:  # what stops a run: reported last, and its exit code
            self._reason = error

    def _is_stopping(self) -> bool:
        """Whether the run ends soon; batches that a limit is reached with may take hours yet."""
        return self._outcomes is not None and self._outcomes.stopping and self._outcomes.limit_reached is None

    def _wind_down(self) -> None:
        """The first signal: nothing new is sent."""
        import asyncio

        self.queue.hurry()
        if self._grace is not None:
            self._grace.deadline = asyncio.get_running_loop().time() + self.run.grace
        if self._outcomes is not None and not self._is_over:
            self._outcomes.stop(all_copies=self.run.stop_all)
            self.report.aside()
            complain(self._stopping(self._outcomes.in_flight))

    def _stopping(self, in_flight: int) -> str:
        batches, grace = self._batches(), self.run.grace
        if batches is not None:
            return stopping_batches(batches, grace)
        return stopping(in_flight, grace) if self.run.dask is None else stopping_workers(grace)

    def _report_cut_off(self) -> None:
        """The last words, if a disk that hangs kept the rest from being reported in time."""
        if self._outcomes is not None and not self._has_left:
            ended = self.queue.ids.union(map(id, self._outcomes.abandoned))
            complain(cut_off(len(ended) + self._outcomes.in_flight))

    async def _leave(self, outcomes: Outcomes) -> None:
        """Report the rest, write `failed.jsonl` and the gallery, and print the summary."""
        for outcome in outcomes.abandoned:
            self.queue.add(outcome)
        if self.stop.signum is not None:
            self.queue.hurry()
        await self.queue.empty()
        self.report.say_rest(self._reason)
        details = await self._save_left()
        await self._write_page()
        if not self._is_over and self._reason is None:
            self.report.tally.counts["skipped"] = max(self.done_before, self.report.tally.counts["skipped"])
        not_sent = 0 if self._is_over or self.run.only else self._total - self.report.tally.counts.total()
        is_gone = isinstance(self._reason, LedgerError) and not self._reason.resumable
        complain(
            summary(
                self.report.tally,
                self._look(),
                details=details,
                not_sent=not_sent,
                when=when_it_goes_on(self._reason),
                has_ledger=not is_gone,
                replaced_in=self.place.replaced,
            )
        )
        if self._earlier:
            complain(still_there(self.place.records, self._earlier))
        unknown = self.report.unknown(only=self.run.only) if self._is_over else []
        if unknown:
            complain(unknown_in_redo(unknown))
        if kept := len(self.report.kept.intersection(self.request["redo"])):
            complain(
                f"{units.counted(kept, 'edit')} named in {self.run.redo} {were(kept)} done since that was saved, and "
                "not sent again. Save the file again to send and pay again."
            )
        if self._is_over and outcomes.limit_reached is not None:
            complain(f"note: {as_typed(outcomes.limit_reached)} Nothing was left to send.")
        self._has_left = True
        if self._reason is not None:
            why = why_it_stopped(self._reason)
            complain(f"error: {without_advice(why) if not_sent else why}")

    async def _again(self, error: Exception) -> bool:
        """Whether to try once more to write what is left: after a signal it is not waited for."""
        return self.stop.signum is None and await self.queue.rescue.again(error)

    async def _save_left(self) -> str | None:
        if self.place.shared is not None:  # each copy would write its own; the ledger has those of all
            return self.place.commands_of_left if self.report.left else None
        try:
            path, earlier = await self.report.save_left(self.place.records, again=self._again)
        except (OSError, ValueError) as error:
            complain(f"error: the list of what failed could not be written: {error}")
            return await self._save_left_elsewhere()
        self._earlier = earlier
        return str(path) if path is not None and self.report.left else None

    async def _save_left_elsewhere(self) -> str | None:
        """Next to the pictures that are saved elsewhere, so that it is known which edits they belong to."""
        if not self.queue.rescue.is_used:
            return None
        try:
            folder = await self.queue.rescue.directory(self._again)
            path, _ = await self.report.save_left(folder, again=self._again)
            return None if path is None else str(path)
        except OSError:
            return None

    async def _write_page(self) -> None:
        if self.run.gallery is None:
            return
        from asyncsdk.cli.edits.page_place import write_page

        try:
            await write_page(self.run.gallery, self.report.items, self.place, self.stores)
        except (OSError, RemoteError) as error:
            self._page_is_lost = True
            reason = getattr(error, "strerror", None) or error
            complain(f"error: the gallery {self.run.gallery} could not be written: {reason}")
        else:
            complain(f"Gallery: {self.run.gallery}")

    def _batches(self) -> Sequence[BatchProgress] | None:
        """How far each batch is; None of a direct run."""
        from asyncsdk.images.batch.outcomes import BatchOutcomes

        return self._outcomes.batches if isinstance(self._outcomes, BatchOutcomes) else None

    def _counted(self, edits: Iterable[ImageEdit]) -> Iterator[ImageEdit]:
        """The same, counted as they are taken."""
        for edit in edits:
            self._taken += 1
            yield edit

    def _look(self) -> Moment:
        assert self._outcomes is not None  # noqa: S101 - for the type checker: nothing is shown before it began
        batches = self._batches()
        return Moment(
            counts=self.report.tally.counts.copy(),
            total=None if self.run.only else self._total,
            in_flight=self._outcomes.in_flight,
            images=self._outcomes.images_made,
            tokens=self._outcomes.usage.total_tokens or 0,
            cost=self._outcomes.cost,
            unpriced=self._outcomes.unpriced_tokens,
            prices=self._outcomes.prices_read,
            seconds=time.monotonic() - self._began,
            last_end=None if self._last_end is None else self._last_end - self._began,
            holding=self._outcomes.rate_limit_wait,
            retrying=self._outcomes.retrying,
            not_pictures=self._not_pictures,
            results=self._results,
            whole=self._outcomes.whole,
            batches=batches,
            batches_left=None if batches is None else seconds_left(batches, now=time.time()),
            taken=self._taken,
        )

    def _code(self) -> int:
        if self.stop.signum is not None:
            return self.stop.code
        counts = self.report.tally.counts
        is_refused = isinstance(self._reason, ConfigurationError) and not any(
            map(counts.get, ("done", "failed", "uncertain"))
        )
        code = self.report.tally.code if self._reason is None else exit_code(self._reason, sent=not is_refused)
        if code == Exit.LIMIT and counts["batched"]:
            code = Exit.TRY_AGAIN  # what is in batches counts already: the same command goes on, and ends at the limit
        is_redo = self._is_over and self.run.only == "redo"
        names_none = is_redo and bool(self.report.watched) and not self.report.reported
        return code or (Exit.FAILED if self._page_is_lost or names_none else Exit.DONE)


def when_it_goes_on(reason: Exception | None) -> str | None:
    """The condition on which the same command gets further than to `reason`; None where that has its own advice."""
    code = Exit.DONE if reason is None else exit_code(reason, sent=True)
    return None if code == Exit.FAILED and _SAYS_IT_ITSELF in str(reason) else WHEN.get(code, "")


def why_it_stopped(reason: Exception) -> str:
    """The last message: why the run stopped, and what to do about it."""
    if isinstance(reason, SaveError) and reason.in_memory:  # the edit itself is reported above
        return (
            f"pictures that are paid could not be saved on disk ({reason.__cause__}). Nothing more was sent. Make room "
            "or fix the disk: the same command then goes on with the others."
        )
    if isinstance(reason, SaveError) and reason.code == NOT_DELIVERED:  # as above
        cause = str(reason.__cause__).removesuffix(".")
        return f"pictures that are paid could not be put in the bucket ({cause}). Nothing more was sent."
    if not isinstance(reason, APIError):
        return as_typed(str(reason))
    advice = access_advice(reason)
    return f"{reason}\n  {advice}" if advice else str(reason)


def without_advice(message: str) -> str:
    """`message` without how to go on, which the summary says too."""
    return message.removesuffix(" With a higher limit the same command goes on.")
