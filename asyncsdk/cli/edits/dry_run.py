"""Checks every row of `edit-many` without sending it: for `--dry-run`, and for what is asked before many are sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from heapq import nlargest
from typing import TYPE_CHECKING, Any

from attrs import asdict, define, evolve, field, frozen

from asyncsdk.cli.display import choose
from asyncsdk.cli.edits.arguments import begin
from asyncsdk.cli.edits.forecast import Forecast, limit_of, most_named, plan_lines
from asyncsdk.cli.edits.messages import Summary
from asyncsdk.cli.edits.out_place import OutPlace
from asyncsdk.cli.edits.report import Report
from asyncsdk.cli.edits.sources import Rows
from asyncsdk.cli.edits.workers import tell_who_works
from asyncsdk.cli.exits import Exit
from asyncsdk.cli.options import Mode
from asyncsdk.cli.output import Out, complain
from asyncsdk.client import Client
from asyncsdk.errors import InvalidEditError
from asyncsdk.images.batch.requests import NOT_IN_BATCHES, require_batchable
from asyncsdk.images.bulk.preview import EditPlan
from asyncsdk.images.costs.money import CostRange
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.editor import ImageEditor
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.remote.stores import RemoteStores

if TYPE_CHECKING:
    from rich.console import RenderableType

    from asyncsdk.wal import Owner

_PLANNED = ("max_edits", "max_tokens", "max_cost")
NOWHERE = "http://nothing.is.sent"


@define
class Checking:
    """The rows as they are taken to be checked, and how many were."""

    rows: Rows
    taken: int = field(default=0, init=False)

    def edits(self) -> Iterator[ImageEdit]:
        """The edits of all rows; each is counted once the next one is asked for."""
        for edit in self.rows.edits():
            yield edit
            self.taken += 1


@frozen
class CheckingView:
    """How many rows are checked, of how many."""

    look: Callable[[], int]
    total: int

    def lines(self) -> list[str]:
        """As a line."""
        return [f"{self.look():,} of {self.total:,} checked"]

    def records(self) -> list[dict[str, Any]]:
        """As an object."""
        return [{"checked": self.look(), "total": self.total}]

    def frame(self, width: int) -> RenderableType:
        """As a bar."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 1), expand=True)
        grid.width = width
        grid.add_column(ratio=1, min_width=8)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_row(ProgressBar(total=self.total or 1, completed=self.look()), Text(self.lines()[0], style="bold"))
        return grid


@frozen
class DryRun:
    """A run that sends nothing, with the arguments of one that does."""

    rows: Rows
    place: OutPlace
    request: Mapping[str, Any]
    limits: Mapping[str, Any]
    stores: RemoteStores
    in_batches: Mapping[str, Any] | None = None
    prices: str | None = field(default=None, kw_only=True)
    mode: Mode = field(kw_only=True)
    written: Out = field(kw_only=True)

    async def show(self) -> Exit:
        """Print what a run would do. Needs no key."""
        Report(self.written).add_bad(self.rows, only=self._only)
        holder = await self._holder()
        plan = await self.plan()
        if plan.uncertain:
            tell_who_works(holder)
        for damage in plan.damage:
            complain(f"warning: {damage}: a run stops at it without --accept-damage")
        report = Report(self.written)
        for outcome in plan.problems:
            report.add(outcome)
        report.say_rest()
        forecast = self.forecast(plan)
        self.written.result(
            plan_lines(plan, forecast, images_per_minute=self.request["images_per_minute"]),
            record=_record(plan, forecast),
            name=None,
        )
        if forecast.problems.counts.total():
            return Exit.SOME_FAILED
        redo = set(self.request["redo"])
        names_none = self._only == "redo" and bool(redo) and redo == set(plan.unknown_in_redo)
        return Exit.FAILED if names_none else Exit.DONE

    async def _holder(self) -> Owner | None:
        from asyncsdk.images.ledger.file import holder_of

        return await holder_of(self.place.kept) if self.place.shared is None else None

    @property
    def _only(self) -> str | None:
        return next(iter(self.request["only"] or ()), None)

    async def look(self, *, may_check: bool) -> Forecast:
        """What is known before a run begins: the rows are checked if that `may` take its time."""
        if may_check:
            return self.forecast(await self.plan())
        pictures, most = [edit.n or 1 for edit in self.rows.edits()], self.limits["max_edits"]
        pictures = pictures if most is None else nlargest(most, pictures)
        return evolve(self.forecast(None), edits=len(pictures), pictures=sum(pictures))

    def forecast(self, plan: EditPlan | None) -> Forecast:
        """What the plan and the rows mean for a run."""
        problems, names, unbatchable, rows = Summary(), list[str](), Counter[str](), self.rows
        if self._only in {None, "refused"}:  # the run is about others
            problems.counts.update({"malformed": len(rows.bad), "left out": len(rows.left_out)})
            names += [f"{path}:{row.line}" for path, row in rows.bad] + [str(left.path) for left in rows.left_out]
        for outcome in () if plan is None else plan.problems:
            reason = reason_in_words(outcome)
            problems.add(outcome.status, outcome.problem, reason=reason)
            names.append(outcome.id if outcome.is_gone else f"{outcome.id} ({reason})")
            if reason == NOT_IN_BATCHES:
                unbatchable[str(outcome.error).removesuffix(" Nothing was sent.")] += 1
        batches = None if self.in_batches is None else batches_of(rows.edits(), self.in_batches["batch_size"])
        return Forecast(
            edits=rows.edits_in_all if plan is None else plan.sent,
            pictures=0 if plan is None else plan.pictures,
            plan=plan,
            problems=problems,
            named=most_named(names),
            not_pictures=len(rows.others),
            results=len(rows.results),
            limit=limit_of(*(self.limits[name] for name in _PLANNED)),
            limits_cost=self.limits["max_cost"] is not None,
            redoes=bool(self.request["redo"]) and not self.request["only"],
            replaced=self.place.replaced,
            batches=batches,
            unbatchable=unbatchable,
        )

    async def plan(self) -> EditPlan:
        """Check all rows, and show how far that is where it takes long. Raises what a run raises for its arguments."""
        checking, shape = Checking(self.rows), self.written.shape
        async with Client("none", base_url=NOWHERE) as client:
            editor = ImageEditor(client, remote_options=self.stores, prices=self.prices)
            place: Any = {"out": self.place.out, "ledger": self.place.ledger}
            begin(editor, (), self.in_batches, **place, **self.request, **self.limits)  # checks them; is not entered
            view = CheckingView(lambda: checking.taken, self.rows.edits_in_all)
            with choose(self.mode, view, quiet=shape.quiet, verbose=shape.verbose):
                limits = {name: self.limits[name] for name in _PLANNED}
                edits, in_batches = self.rows.compared(checking.edits()), self.in_batches is not None
                return await editor.plan(edits, batch=in_batches, **place, **self.request, **limits)


def batches_of(edits: Iterable[ImageEdit], size: int | None) -> int:
    """How many batches all edits make that can be in one."""
    from asyncsdk.images.batch.cutting import MOST_LINES, Cutter, expected_output

    cutter, numbers = Cutter(most_lines=size or MOST_LINES), set[int]()
    for edit in edits:
        with suppress(InvalidEditError):
            require_batchable(edit)
            numbers.add(cutter.place(edit.model or "", 0, expected_output(edit))[0].number)
    return len(numbers)


def reason_in_words(outcome: EditOutcome) -> str:
    """Why an edit is not sent, in a word or two."""
    return (outcome.error.reason if isinstance(outcome.error, InvalidEditError) else "") or "for other reasons"


def _record(plan: EditPlan, forecast: Forecast) -> dict[str, Any]:
    apart = {"problems", "damage", "cost", "batch_cost", "prices"}
    fields = asdict(plan, filter=lambda attribute, _: attribute.name not in apart)
    read = None if plan.prices is None or plan.prices.read is None else plan.prices.read.isoformat()
    return {
        **fields,
        "cost": _range(plan.cost),
        "batch_cost": _range(plan.batch_cost),
        "prices": read,
        "problems": forecast.problems.counts.total(),
        "reasons": dict(forecast.problems.reasons),
        "not_pictures": forecast.not_pictures,
        "results": forecast.results,
        "damage": list(map(str, plan.damage)),
        **({} if forecast.batches is None else _batches(plan, forecast)),
    }


def _range(cost: CostRange | None) -> dict[str, float] | None:
    """A range in dollars."""
    return None if cost is None else dict(zip(("low", "high"), cost.dollars, strict=True))


def _batches(plan: EditPlan, forecast: Forecast) -> dict[str, Any]:
    return {"batches": forecast.batches if plan.sent else 0, "unbatchable": dict(forecast.unbatchable)}
