"""A run that sends nothing: it reads from the shared ledger how the edits end that copies elsewhere send."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from typing import Protocol

import anyio
from attrs import define, evolve, field

from asyncsdk.errors import AsyncSDKError, EditError
from asyncsdk.images.bulk.ended import EndedPage
from asyncsdk.images.bulk.intake import PreparedEdit, unsent
from asyncsdk.images.bulk.run import BulkRun
from asyncsdk.images.bulk.shared_intake import (
    LONGEST_WAIT,
    PAGE,
    SHORTEST_WAIT,
    ListedEdit,
    OfferedEdit,
    SharedIntake,
    Verdict,
)
from asyncsdk.images.costs.money import nanos_of
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.ledger.seen import SeenEdit
from asyncsdk.images.outcome import EditOutcome
from asyncsdk.models import Usage, add

_NOT_THERE = (
    "no worker could send it, though its pictures can be read here. Nothing was sent for it.\n  Each worker has to "
    "reach them by the same path or URL; then the same call sends it."
)


class Copies(Protocol):
    """Those that send."""

    @property
    def are_over(self) -> bool:
        """Whether nothing more is to be expected of them."""

    @property
    def saw_all_end(self) -> bool:
        """Whether one of them went through all edits: what is left then can't be sent, as if its picture is gone."""

    @property
    def failure(self) -> AsyncSDKError | None:
        """Why they ended before all edits had, if they did."""

    def stop(self) -> None:
        """Start no more of them."""


@define(eq=False, kw_only=True)
class WatchingIntake(SharedIntake):
    """Goes through the list once, in order: waits at each page until its edits have ended, so memory is that of one."""

    copies: Copies
    are_compared: bool = False  # the copies read what is done too: that it is done is known once they are over
    is_through: bool = field(default=False, init=False)  # it has seen the whole list

    async def in_turn(self, edits: AsyncIterable[ImageEdit]) -> AsyncGenerator[ImageEdit | EndedPage, None]:
        """The edits that have ended, and in the end those that no copy could send.

        Raises what ended the copies if an edit is left.
        """
        page, left = list[ListedEdit](), 0
        async for edit in edits:
            self._number += 1
            page.append(self._listed(edit))
            if len(page) == PAGE:
                async for each in self._ends(page):
                    yield each
                left, page = left + len(page), []
        async for each in self._ends(page):
            yield each
        self.is_through = True
        if left + len(page) and self.copies.failure is not None:
            raise self.copies.failure

    async def prepare(self, edit: ImageEdit) -> EditOutcome | None:
        """How the `edit` that `in_turn` gave last ended; None for one that this run is not about."""
        outcome = await super().prepare(edit)
        if isinstance(outcome, PreparedEdit):
            outcome = await self.ready(outcome)
        if isinstance(outcome, PreparedEdit):  # it can be sent, and each copy passed it over
            return unsent(edit, outcome.id, EditError(_NOT_THERE))
        return outcome

    def _report(self, listed: ListedEdit, seen: SeenEdit | None) -> EditOutcome:
        """How an edit ended: for the caller of this run, what a copy of it has done is done now."""
        outcome = super()._report(listed, seen)
        is_now = outcome.status == "skipped" and seen is not None and seen.run == self.ledger.run
        return evolve(outcome, status="done") if is_now else outcome

    async def _ends(self, page: list[ListedEdit]) -> AsyncIterator[ImageEdit | EndedPage]:
        """Those of a page that have ended, as they do; what is in `page` afterwards has not."""
        wait = SHORTEST_WAIT
        while page:
            are_over, before = self.copies.are_over, len(page)  # asked before the ledger is
            if self.are_compared and not are_over:
                await anyio.sleep(LONGEST_WAIT)
                continue
            seen = await self.ledger.look([listed.key for listed in page if listed.problem is None])
            ended, passed_over, left = deque[EditOutcome](), list[OfferedEdit](), list[ListedEdit]()
            may_be_sent = not (are_over and self.copies.saw_all_end)
            for listed in page:
                known = seen.get(listed.key)
                verdict = self._watched(listed, known, are_over=are_over)
                if verdict == "wait" or (may_be_sent and verdict in {"claim", "compare"}):
                    left.append(listed)
                elif verdict in {"claim", "compare"}:
                    passed_over.append(OfferedEdit(listed, known, verdict))
                elif (outcome := self._ended(listed, known, verdict)) is not None:
                    ended.append(outcome)
            page[:] = left
            if ended:
                yield EndedPage(ended)
            for each in passed_over:
                self._offered = each
                yield each.listed.edit
            if are_over or not page:
                return
            wait = SHORTEST_WAIT if len(page) < before else min(wait * 1.5, LONGEST_WAIT)
            await anyio.sleep(wait)

    def _watched(self, listed: ListedEdit, seen: SeenEdit | None, *, are_over: bool) -> Verdict:
        """What an edit is to a run that sends nothing: that its answer is asked for again is left to the copies."""
        verdict = self._verdict(listed, seen, is_lapsed=False)
        if verdict == "ask again":
            return "report" if are_over else "wait"
        return verdict

    async def _claimed(self, wanted: Sequence[OfferedEdit]) -> frozenset[str]:
        """All, but nothing is sent from here: why no copy could is seen by what `prepare` makes of them."""
        return frozenset(each.listed.key for each in wanted)


@define(eq=False, kw_only=True)
class WatchedRun(BulkRun):
    """A run of copies: a stop is for all of them, and how their edits end is awaited."""

    copies: Copies

    def stop(self) -> None:
        """Let no copy send anything new; those that are over leave no flag to a call that comes next."""
        self.copies.stop()
        if self.ledger is not None and not self.copies.are_over:
            self.ledger.stop_copies()

    def take_reason(self) -> Exception | None:
        """Why it stopped before its end, once: a limit with the counts of the copy that reached it."""
        reason, self.reason = self.reason, None
        return reason

    def ended(self, outcome: EditOutcome | None) -> None:
        """Count how an edit ended."""
        super().ended(outcome)
        if outcome is not None and outcome.status == "done":
            self.images_made += len(outcome.files) + len(outcome.objects)
            self.usage = add([self.usage, outcome.usage or Usage()])
            self._pay(outcome)

    def _pay(self, outcome: EditOutcome) -> None:
        """Count what an edit cost, as its copy wrote that down."""
        if outcome.cost is not None:
            self.cost += nanos_of(outcome.cost)
        elif outcome.usage is not None:
            self.unpriced += outcome.usage.total_tokens or 0
