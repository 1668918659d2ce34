"""Takes edits from a list that many processes have: asks the shared ledger in pages, claims a few at a time."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from itertools import chain
from typing import Any, Literal

import anyio
from attrs import define, evolve, field, frozen

from asyncsdk import files
from asyncsdk.errors import EditError, InvalidEditError
from asyncsdk.images.batch.requests import require_batchable
from asyncsdk.images.billing import ABANDONED, SENT_ELSEWHERE, charge_unknown, problem_of
from asyncsdk.images.bulk.ended import EndedPage
from asyncsdk.images.bulk.identity import source_digest
from asyncsdk.images.bulk.ids import IdProblems, names_taken
from asyncsdk.images.bulk.intake import (
    BatchedEdit,
    PreparedEdit,
    read_and_check,
    thread_errors_typed,
    unsent,
    with_pictures_as_sent,
)
from asyncsdk.images.bulk.naming import Names
from asyncsdk.images.bulk.policy import Limits, Policy
from asyncsdk.images.check import invalid, refusal_of_fields
from asyncsdk.images.costs.pricing import Pricing
from asyncsdk.images.destination import Destination
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.ledger.claims import Wanted
from asyncsdk.images.ledger.rows import Ended
from asyncsdk.images.ledger.seen import SeenEdit, key_of_id
from asyncsdk.images.ledger.shared import SharedLedger
from asyncsdk.images.ledger.states import ItemState
from asyncsdk.images.names import safe_name, why_refused
from asyncsdk.images.outcome import EditOutcome, Problem
from asyncsdk.images.pictures import LoadedEdit
from asyncsdk.images.target import Located, Target
from asyncsdk.remote.stores import RemoteStores

PAGE = 500  # edits that are asked for at once
MOST_CLAIMED = 16  # at once
SHORTEST_WAIT, LONGEST_WAIT = 0.1, 5.0  # seconds, for what others hold
_NO_ID = (
    "a ledger that machines share knows an edit by its id, and this one has none. Give each row an id of its own. "
    "Nothing was sent."
)
_OTHER = (
    "another edit with the id {!r}, of other pictures or fields, may be paid, and that is not known yet. Nothing was "
    "sent for this one.\n  Give it an id of its own, or settle the other one first (asyncsdk ledger uncertain)."
)
_LATER = " It may be sent again, and paid twice, with on_uncertain='retry' from {} on."

Verdict = Literal["claim", "ask again", "wait", "compare", "report", "problem", "leave"]


@frozen
class ListedEdit:
    """An edit of the list: its key and name, a digest of where it comes from, and why it can't be sent, if so."""

    edit: ImageEdit
    key: str
    name: str
    source: str | None = None
    problem: str | None = None


@frozen
class OfferedEdit:
    """An edit that is given out next, with what the ledger has of it."""

    listed: ListedEdit
    seen: SeenEdit | None
    verdict: Verdict


@define(eq=False, kw_only=True)
class SharedIntake:
    """One pass over the edits of a run, from anywhere in the list; those that others had are asked for again.

    `limits` are those of the whole ledger, which counts; here they are for messages. `few` are claimed at once.
    `in_batches`: that is where they go, at another price. `compared`: what is wrong with ids that the caller compared.
    """

    policy: Policy
    checked: bool
    ledger: SharedLedger
    limits: Limits
    target: Target | None = None
    stores: RemoteStores = field(factory=RemoteStores)
    few: int = MOST_CLAIMED
    pricing: Pricing | None = None
    in_batches: bool = False
    compared: IdProblems | None = None
    before_wait: Callable[[], Awaitable[None]] | None = None
    more_room: Callable[[], Awaitable[bool]] | None = None
    _names: Names = field(factory=Names, init=False)
    _number: int = field(default=0, init=False)
    _held: deque[ListedEdit] = field(factory=deque, init=False)  # by others, or lost to them
    _offered: OfferedEdit | None = field(default=None, init=False)

    async def in_turn(self, edits: AsyncIterable[ImageEdit]) -> AsyncGenerator[ImageEdit | EndedPage, None]:
        """Those of `edits` that are this process's, or that have ended, until all have."""
        page = list[ListedEdit]()
        async for edit in edits:
            self._number += 1
            page.append(self._listed(edit))
            if len(page) == PAGE:
                async for each in self._offers(page):
                    yield each
                page = []
                if len(self._held) >= PAGE:  # of copies that go on side by side, each passes over half of the list
                    async for each in self._offers(self._oldest_held()):
                        yield each
        async for each in self._offers(page):
            yield each
        wait = SHORTEST_WAIT
        while self._held or self.ledger.claims:  # one of ours may yet be lost
            if self.before_wait is not None:
                await self.before_wait()
            await anyio.sleep(wait * random.uniform(0.5, 1.5))
            before = len(self._held)
            async for each in self._offers(self._oldest_held()):
                yield each
            wait = min(wait * 1.5, LONGEST_WAIT) if len(self._held) == before and before else SHORTEST_WAIT

    async def prepare(self, edit: ImageEdit) -> PreparedEdit | EditOutcome | None:
        """The `edit` that `in_turn` gave last, ready to be sent, or how it ended already; None: nothing to say of it.

        Raises TypeError for what is not an edit, EditError where the system has no thread to read it.
        """
        offered, self._offered = self._offered, None
        assert offered is not None  # noqa: S101 - for the type checker
        listed, seen = offered.listed, offered.seen
        with thread_errors_typed():
            try:
                loaded = await read_and_check(edit, checked=self.checked, stores=self.stores)
                if loaded.error is not None:
                    raise loaded.error
            except (InvalidEditError, EditError) as error:
                await self.ledger.give_back([listed.key])
                return unsent(edit, listed.name, error)
            digest = await files.in_thread(loaded.digest)
        lost = seen if seen and (seen.is_uncertain or offered.verdict == "ask again") else None
        if lost is not None and digest != (lost.attempted or digest):
            await self.ledger.give_back([listed.key])
            return unsent(edit, listed.name, invalid(_OTHER.format(listed.name), "with the id of another"))
        if offered.verdict == "compare" and seen is not None:
            if digest == (seen.digest or seen.new_digest):
                return self._report(listed, seen)
            wrong = self._refusal(edit)
            if wrong is not None:
                return unsent(edit, listed.name, wrong)
            if not await self._claimed([offered]):
                self._held.append(listed)
                return None
        return self._prepared(offered, loaded, digest)

    def _prepared(self, offered: OfferedEdit, loaded: LoadedEdit, digest: str) -> PreparedEdit:
        """An edit that is claimed, ready to be sent."""
        listed, seen = offered.listed, offered.seen
        edit = listed.edit
        claim = self.ledger.claims.get(listed.key)
        if claim is not None:
            claim.digest, claim.source, claim.n = digest, listed.source, edit.n or 1
        place = None if self.target is None else Destination(self.target.directory, safe_name(listed.name))
        return PreparedEdit(
            loaded=loaded,
            id=listed.name,
            name=listed.name,
            item=listed.key,
            source=listed.source,
            place=place,
            is_in_redo=listed.name in self.policy.redo,
            before=None if seen is None else seen.state,
            is_asked_again=offered.verdict == "ask again",
            keyed_by=f"{listed.key}#{digest}",  # another job may have had the same id
        )

    async def ready(self, prepared: PreparedEdit) -> PreparedEdit | EditOutcome:
        """The edit with its pictures as they are sent, or how it ended where one can't be converted."""
        ready = await with_pictures_as_sent(prepared, checked=self.checked)
        if isinstance(ready, EditOutcome):
            await self.ledger.give_back([prepared.item or ""])
        return ready

    def lost(self, prepared: PreparedEdit) -> None:
        """Its claim is over, and nothing was sent: how it ends is seen later."""
        self._held.append(ListedEdit(prepared.edit, prepared.item or "", prepared.id, prepared.source))

    def _oldest_held(self) -> list[ListedEdit]:
        """A page of those that others had, no longer among them."""
        return [self._held.popleft() for _ in range(min(PAGE, len(self._held)))]

    def _listed(self, edit: ImageEdit) -> ListedEdit:
        if not isinstance(edit, ImageEdit):
            raise TypeError(f"edits are ImageEdit values, not {type(edit).__name__}")
        place, name = edit.line or -self._number, edit.id or edit.name
        if not isinstance(name, str) or not name:
            return ListedEdit(edit, "", str(abs(place)), problem=_NO_ID)
        if self.compared is None:
            problem = self._names.reserve(name, names_taken(edit.n), place)
        else:
            problem = self.compared.get(name)
        return ListedEdit(edit, key_of_id(name), name, source_digest(edit), problem)

    async def _offers(self, page: Sequence[ListedEdit]) -> AsyncIterator[ImageEdit | EndedPage]:
        if not page:
            return
        seen = await self.ledger.look([listed.key for listed in page if listed.problem is None])
        lapsed = await self.ledger.mark_lapsed(seen.values())
        ended, compared, wanted = self._sorted(page, seen, lapsed)
        if ended:
            yield EndedPage(ended)
        for each in compared:
            self._offered = each
            yield each.listed.edit
        for start in range(0, len(wanted), self.few):
            few = wanted[start : start + self.few]
            granted = await self._claimed(few)
            for each in few:
                if each.listed.key in granted:
                    self._offered = each
                    yield each.listed.edit
                else:
                    self._held.append(each.listed)

    def _sorted(
        self, page: Sequence[ListedEdit], seen: Mapping[str, SeenEdit], lapsed: Collection[str]
    ) -> tuple[deque[EditOutcome], list[OfferedEdit], list[OfferedEdit]]:
        """How those of a page ended that are not sent, those that have to be read for that, and those to claim."""
        ended, compared, wanted = deque[EditOutcome](), list[OfferedEdit](), list[OfferedEdit]()
        for listed in page:
            known = seen.get(listed.key)
            verdict = self._verdict(listed, known, is_lapsed=listed.key in lapsed)
            wrong = self._refusal(listed.edit) if verdict == "claim" else None
            if wrong is not None:
                ended.append(unsent(listed.edit, listed.name, wrong))
            elif verdict in {"claim", "ask again"}:
                wanted.append(OfferedEdit(listed, known, verdict))
            elif verdict == "compare":
                compared.append(OfferedEdit(listed, known, verdict))
            elif verdict != "wait":
                outcome = self._ended(listed, known, verdict)
                ended += () if outcome is None else (outcome,)
            elif not self.ledger.is_read_only:  # else it is a preview, and they send it
                self._held.append(listed)
        return ended, compared, wanted

    def _refusal(self, edit: ImageEdit) -> InvalidEditError | None:
        """Why an edit can't be sent, as far as its fields say: it needs no claim, and may have no price."""
        try:
            if self.in_batches:
                require_batchable(edit)
        except InvalidEditError as error:
            return error
        wrong = refusal_of_fields(edit, checked=self.checked)
        return self.pricing.refusal(edit) if wrong is None and self.pricing is not None else wrong

    def _verdict(self, listed: ListedEdit, seen: SeenEdit | None, *, is_lapsed: bool) -> Verdict:
        """What to do with an edit, as the ledger has it."""
        if listed.problem is not None:
            return "problem"
        if seen is None or seen.batch is not None:
            decision = self._decision(listed, None if seen is None else seen.state)
            return "claim" if decision == "send" else "leave" if decision == "leave" else "report"
        standing = seen.standing(may_take=self.ledger.may_take)
        if standing == "held" or (standing == "lapsed" and not is_lapsed):
            return "wait"
        if self._has_ended_now(seen, "failed"):
            return "report"
        decision = self._decision(listed, seen.state)
        if decision == "ask again":
            return "report" if self._has_ended_now(seen, "uncertain") else "ask again"
        if decision == "send":
            is_too_soon = seen.is_uncertain and seen.sent_again_in(self.ledger.terms.lease) > 0
            return "report" if is_too_soon else "claim"
        if decision == "leave":
            return "leave"
        is_same = not self.policy.verify and listed.source in {seen.source, seen.row["new_source"]} - {None}
        return "report" if is_same or standing == "free" else "compare"

    def _decision(self, listed: ListedEdit, state: ItemState | None) -> str:
        is_in_redo = listed.name in self.policy.redo
        is_maybe_paid, now = bool(listed.edit.maybe_paid), time.time()
        return self.policy.decide(listed.name, state, is_in_redo=is_in_redo, maybe_paid=is_maybe_paid, now=now)

    def _has_ended_now(self, seen: SeenEdit, status: Ended) -> bool:
        """Whether another copy of this run tried it already, or asked for it in vain: it is not tried once by each."""
        return seen.phase is None and seen.run == self.ledger.run and seen.status == status

    async def _claimed(self, wanted: Sequence[OfferedEdit]) -> frozenset[str]:
        """The keys of those that are ours now. Waits while what others may yet give back is beyond a limit.

        Raises LimitReachedError.
        """
        edits = [self._wanted(each) for each in wanted]
        limits, wait, dearest = self.limits, 2 * SHORTEST_WAIT, self.pricing.table.dearest if self.pricing else 0
        most: Any = {"max_edits": limits.max_edits, "max_tokens": limits.max_tokens, "max_cost": limits.max_cost}
        while True:
            granted = await self.ledger.claim(edits, **most, dearest=dearest)
            limits.edits, limits.tokens = granted.spent.edits, granted.spent.tokens
            limits.cost = granted.spent.most(dearest)
            if granted.keys or not granted.is_held_back:
                limits.edits += sum(not each.asks for each in edits if each.key in granted.keys)
                return granted.keys
            if not self.ledger.claims and not await self.ledger.may_have_room():
                if limits.is_cost_alone and self.more_room is not None and await self.more_room():
                    continue
                dear, offered = max(zip(edits, wanted, strict=True), key=lambda each: each[0].cost or 0)
                raise limits.reached(dear.cost, offered.listed.edit)
            if self.before_wait is not None:
                await self.before_wait()
            await anyio.sleep(wait * random.uniform(1.0, 2.0))
            wait = min(wait * 1.5, LONGEST_WAIT)  # to ask for them reads all edits

    def _wanted(self, offered: OfferedEdit) -> Wanted:
        """What is asked of the ledger for an edit."""
        listed, asks = offered.listed, offered.verdict == "ask again"
        return Wanted(listed.key, listed.name, offered.seen, None if asks else self._most(listed.edit), asks)

    def _most(self, edit: ImageEdit) -> int | None:
        """What an edit costs at most; no picture is read for that, which comes after the claim."""
        return None if self.pricing is None else self.pricing.most(edit, batched=self.in_batches)

    def _ended(self, listed: ListedEdit, seen: SeenEdit | None, verdict: Verdict) -> EditOutcome | None:
        """How an edit ended that is not sent by this run; None for one that the run is not about."""
        if verdict == "problem":
            reason = why_refused(listed.name, "without an id of its own")
            return unsent(listed.edit, listed.name, invalid(listed.problem or "", reason))
        return None if verdict == "leave" else self._report(listed, seen)

    def _report(self, listed: ListedEdit, seen: SeenEdit | None) -> EditOutcome:
        """How an edit ended that the run is about."""
        state = None if seen is None else seen.state
        if seen is not None and self._has_ended_now(seen, "failed"):
            return self._outcome(listed, state, "failed", None if state is None else state.problem)
        if state is None or seen is None:
            return self._outcome(listed, None, "uncertain", SENT_ELSEWHERE)
        if state.status == "batched":
            return BatchedEdit.of(listed.edit, listed.name, listed.key, state)
        is_earlier = seen.run != self.ledger.run  # else it ended in another copy
        if state.status in {"done", "refused"}:
            status: Literal["skipped", "refused"] = "skipped" if state.status == "done" else "refused"
            return self._outcome(listed, state, status, state.problem, is_earlier=is_earlier)
        problem = state.problem or problem_of(charge_unknown(EditError(ABANDONED)))
        wait = seen.sent_again_in(self.ledger.terms.lease)
        if wait > 0:
            at = time.strftime("%H:%M:%S", time.localtime(time.time() + wait))
            problem = evolve(problem, message=problem.message + _LATER.format(at))
        return self._outcome(listed, state, "uncertain", problem, is_earlier=is_earlier)

    def _outcome(
        self,
        listed: ListedEdit,
        state: ItemState | None,
        status: Literal["skipped", "failed", "refused", "uncertain"],
        problem: Problem | None,
        *,
        is_earlier: bool = False,
    ) -> EditOutcome:
        saved = () if state is None else state.files
        located = Located() if self.target is None else self.target.located(saved)
        return EditOutcome(
            edit=listed.edit,
            id=listed.name,
            status=status,
            files=located.files,
            objects=located.objects,
            is_earlier=is_earlier,
            usage=None if state is None else state.usage,
            cost=None if state is None else state.dollars,
            problem=problem,
        )


def from_anywhere(edits: Callable[[int, int | None], Iterable[ImageEdit]], count: int) -> Iterator[ImageEdit]:
    """A list of `count` edits from a random page on, and then those before it: copies of a run begin apart.

    `edits` gives a part of it, from one number up to another.
    """
    start = random.randrange(0, count, PAGE) if count > PAGE else 0
    return chain(edits(start, None), edits(0, start))
