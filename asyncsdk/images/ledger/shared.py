"""A ledger that machines share, as one process has it open: it looks up, claims and changes edits under its lease."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.clock import boot_time
from asyncsdk.error_details import LedgerDamage
from asyncsdk.errors import LedgerError
from asyncsdk.images import idempotency
from asyncsdk.images.idempotency import EditKey
from asyncsdk.images.ledger import ClaimLostError, KnownItem
from asyncsdk.images.ledger.claims import (
    NO_ROW,
    ChangeToMake,
    Claim,
    Granted,
    Wanted,
    ended,
    gone_in,
    granted_in,
    is_held,
    keys_of,
    owner_in,
    replaced,
    rewound,
    rounds,
    seen_edit,
    stopped,
    worded,
)
from asyncsdk.images.ledger.index import Spent, spent_of
from asyncsdk.images.ledger.owner import PictureOwner
from asyncsdk.images.ledger.progress import Whole
from asyncsdk.images.ledger.rows import ANSWER_LIMIT
from asyncsdk.images.ledger.seen import SeenEdit, key_of_id
from asyncsdk.images.ledger.states import ItemState
from asyncsdk.images.outcome import Problem, Status
from asyncsdk.models import Usage
from asyncsdk.postgres import DatabaseFault, NotMadeError
from asyncsdk.postgres.commit import BatchWriter
from asyncsdk.postgres.database import Database
from asyncsdk.postgres.faults import PATIENCE
from asyncsdk.postgres.lease import LeaseTerms

START_ATTEMPTS = 3  # a lease that the database calls lapsed is renewed, and the start asked for again
GIVE_BACK_SECONDS = 2.0  # on leaving; else the lease ends by itself

logger = logging.getLogger(__name__)


@define(eq=False)
class SharedLedger:
    """The state of each edit by its key: its id, as names are compared."""

    place: str
    directory: Path
    run: int
    begun: float  # the run, by the database's clock
    terms: LeaseTerms
    options: str = field(repr=False)  # as the ledger keeps them
    database: Database
    holder: uuid.UUID  # what it holds lapses once it is closed
    _group: TaskGroup | None = None  # none: it is read only, and what is claimed is a preview
    spent: Spent = field(factory=Spent)
    hosts: frozenset[str] = frozenset()  # of those that work with it already
    whole: Whole | None = None
    damage: tuple[LedgerDamage, ...] = field(default=(), init=False)
    claims: dict[str, Claim] = field(factory=dict, init=False)
    in_batches: dict[str, Claim] = field(factory=dict, init=False)  # edits of batches that this process follows
    may_take: bool = field(default=False, init=False)  # whether it may say that leases of the last page have lapsed
    _writer: BatchWriter[ChangeToMake] = field(init=False)
    _writes: int = field(default=0, init=False)  # what the database has acknowledged
    _is_rewound: bool = field(default=False, init=False)
    _is_stopping: bool = field(default=False, init=False)  # by another copy
    _stop_all: anyio.Event = field(factory=anyio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._writer = BatchWriter(self._write)

    @property
    def patience(self) -> float:
        """A database that is away is waited for."""
        return PATIENCE + self.terms.lease

    @property
    def is_read_only(self) -> bool:
        """Whether it was opened for a preview."""
        return self._group is None

    @property
    def left_alone(self) -> float:
        """For how many seconds after its start an uncertain edit is not sent again."""
        return ANSWER_LIMIT + self.terms.lease

    async def watch(self, out: Path) -> None:
        """The ledger is elsewhere."""

    def drafts_for(self, out: Path) -> None:
        """Beside the picture: other processes write there too."""

    def owner(self, item: str | None) -> PictureOwner:
        """An edit, for who names its pictures: none is moved, and the epoch of a claim sets its own apart."""
        claim = None if item is None else self.claims.get(item) or self.in_batches.get(item)
        return PictureOwner(None, item, "~0" if claim is None else f"~{claim.epoch}")

    async def look(self, keys: Sequence[str]) -> dict[str, SeenEdit]:
        """Those of a page of edits that are known, by their keys."""
        with self._worded():
            here = time.time()
            try:
                rows = await self.database.run("edit_look", json.dumps(keys), writes=self._group is not None)
            except NotMadeError:
                return {}
            seen = {row["key"]: seen_edit(row, here) for row in rows}
            self.may_take = any(each.seems_lapsed for each in seen.values()) and await self._may_take()
        return seen

    async def look_up(self, ids: Sequence[str]) -> Sequence[ItemState | None]:
        """The states of a page of edits, by their ids."""
        keys = list(map(key_of_id, ids))
        seen = await self.look(keys)
        return [seen[key].state if key in seen else None for key in keys]

    async def owners_of(self, stems: Sequence[str]) -> Sequence[KnownItem | None]:
        """The edits whose pictures have these names: `id`, `id.1`, `id~2.1`."""
        keys = list(set(chain.from_iterable(map(keys_of, stems))))
        seen = await self.look(keys)
        if await self.mark_lapsed(seen.values()):
            seen = await self.look(keys)
        return [owner_in(seen, stem) for stem in stems]

    async def claim(
        self,
        edits: Sequence[Wanted],
        *,
        max_edits: int | None,
        max_tokens: int | None,
        max_cost: int | None = None,
        dearest: int = 0,
    ) -> Granted:
        """Claim edits. A token whose price was not known counts as the `dearest`.

        Raises LedgerRewoundError, LedgerError.
        """
        if self._group is None:
            return Granted(keys=frozenset(each.key for each in edits), spent=self.spent)
        tries = {each.key: str(uuid.uuid4()) for each in edits}
        asked = json.dumps([each.as_json(tries[each.key]) for each in edits])
        gone, limits = gone_in(each.seen for each in edits), (max_edits, max_tokens, max_cost)
        with self._worded():
            await self.database.ensure_lease(self.holder)
            may_take = any(each.seen and each.seen.seems_lapsed for each in edits) and await self._may_take()
            before = self._writes
            rows = await self.database.run(
                "edit_claim", self.holder, asked, gone, may_take, max_edits, max_tokens, self.left_alone, self.options,
                max_cost, dearest, idempotency.WINDOW, lock=None if limits == (None, None, None) else "ledger_lock",
            )  # fmt: skip
        await self._note(rows[0], before)
        if self._is_rewound:
            raise rewound(self.place)
        if rows[0]["is_anothers"]:
            raise replaced(self.place)
        self.claims |= (granted := granted_in(rows, edits, tries))
        self.spent = spent_of(rows[0])
        if self._is_stopping and not granted:
            raise stopped(self.terms.lease)
        is_full = rows[0]["is_held_back"] and not rows[0]["is_stopping"]
        return Granted(keys=frozenset(granted), spent=self.spent, is_held_back=is_full)

    async def mark_lapsed(self, seen: Iterable[SeenEdit]) -> set[str]:
        """Make edits uncertain that were started and whose holder's lease lapsed. Returns the keys of these."""
        asked = [each for each in seen if each.standing(may_take=self.may_take) == "lapsed"]
        if not asked or self._group is None:
            return {each.key for each in asked}
        with self._worded():
            keys = json.dumps([{"key": each.key, "epoch": each.epoch, "last": each.last} for each in asked])
            rows = await self.database.run("edit_lapse", keys, gone_in(asked), await self._may_take())
        return {row["key"] for row in rows}

    async def _may_take(self) -> bool:
        return self._group is None or await self.database.may_take_lapsed()

    async def may_have_room(self) -> bool:
        """Whether others may yet give back what counts. What is left of those whose leases lapsed counts no more."""
        with self._worded():
            [row] = await self.database.run("edit_held", self.holder)
            if row["is_left"] and await self._may_take():
                await self.database.run("edit_abandon", self.holder, self.run, uuid.uuid4())
        return bool(row["is_held"] or row["is_left"])

    def stop_copies(self) -> None:
        """Stop all copies of this run, as soon as that can be written. It may be called outside of tasks."""
        self._stop_all.set()

    async def stop_when_asked(self) -> None:
        """Wait for `stop_copies`, and write it."""
        await self._stop_all.wait()
        try:
            await self.database.run("ledger_stop", self.run)
        except DatabaseFault as failed:
            logger.warning("%s: the other copies are not stopped: %s", self.place, failed.reason)

    async def intend(
        self, item: str, *, n: int, key: EditKey | None = None, again: bool = False, **_rest: object
    ) -> None:
        """Return once it is acknowledged that `item` is about to be sent.

        Raises ClaimLostError, LedgerRewoundError, LedgerError, EditError where another copy stopped all.
        """
        claim = self.claims.get(item)
        if claim is None:
            raise ClaimLostError
        if again and claim.is_started:
            with self._worded():
                if await is_held(self.database, self.holder, claim):
                    return
            self._forget(claim)
            raise ClaimLostError
        claim.sent_as = key
        if self._is_stopping:
            raise stopped(self.terms.lease)
        async with claim.turn:
            for _ in range(START_ATTEMPTS):
                await self._settle(claim)
                with self._worded():
                    await self.database.ensure_lease(self.holder)
                if await self._is_started(claim, n):
                    return
                if not claim.owes:  # else it took so long that the lease may be over: it is taken back
                    break
            self._forget(claim)
            raise ClaimLostError

    async def _is_started(self, claim: Claim, n: int) -> bool:
        """Whether it is acknowledged, in time, that an edit is about to be sent. If not: `owes`, to try again."""
        new = claim.pending = str(uuid.uuid4())
        for _ in range(START_ATTEMPTS):
            asked = boot_time()
            result = await self._change(claim, "start", new=new, n=n, **claim.known)
            if result["is_rewound"]:  # also where it was acknowledged: by a database that has lost others
                raise rewound(self.place)
            if result["answer"] == "yes":
                claim.started = asked
                claim.is_started, claim.pending = True, None
                claim.owes = not self.database.has_good_lease
                return not claim.owes
            if result["epoch"] != claim.epoch:
                break
            with self._worded():  # the database calls it lapsed
                await self.database.renew()
        return False

    def may_send(self, item: str) -> bool:
        """Whether the lease never lapsed since the start: a process may have slept before its first byte."""
        claim = self.claims.get(item)
        return claim is not None and claim.is_started and self.database.is_held_since(claim.started)

    def release(self, item: str) -> None:
        """Write down, as soon as that can be, that the server did nothing for `item`: it stays claimed."""
        claim = self.claims.get(item)
        if claim is not None and self._group is not None:
            claim.owes = True
            self._group.start_soon(self._settle_soon, claim)

    async def give_back(self, items: Iterable[str]) -> None:
        """Leave edits to others, of which nothing was sent. Those that were started are left as they are."""
        claims = [self.claims[item] for item in items if item in self.claims]
        async with tasks.group() as group:  # so that they are written together
            for claim in claims:
                group.start_soon(self._give_back, claim)

    async def end(
        self,
        item: str,
        status: Status,
        *,
        problem: Problem | None = None,
        files: tuple[str, ...] = (),
        usage: Usage | None = None,
        cost: int | None = None,
        images: int | None = None,
        request_id: str | None = None,
        **_rest: object,
    ) -> None:
        """Write down how `item` ended. What is paid is kept, whoever has the edit now. Raises LedgerError."""
        claim = self.claims.get(item) or self.in_batches.get(item)
        if claim is None:
            return
        async with claim.turn:
            await self._settle(claim)
            what = {**ended(claim, usage, problem), "images": images, "request_id": request_id, "cost": cost}
            result = await self._change(claim, "end", status=status, files=list(files) or None, **what)
            self._forget(claim)
        if result["answer"] == "late":
            logger.warning("%s: its answer came late: it is paid and kept, and another process had the edit", claim.id)
        elif result["answer"] == "no" and status == "done" and result["epoch"] is None:
            raise rewound(self.place)

    async def moved(self, item: str, files: Mapping[str, str]) -> None:
        """Nothing is moved: pictures keep their names."""

    async def delivered(self, item: str, files: Iterable[str], status: Status) -> None:
        """Write down that the pictures of `item`, which waited on this machine, are in their bucket now."""
        with self._worded():
            await self.database.run("edit_delivered", item, json.dumps(list(files)), status)

    async def redo_before(self, requested: float) -> float:
        """Up to when a redo as of `requested` reaches: at most to the begin of this run, for all of its copies."""
        return min(requested, self.begun)

    async def leave(self) -> None:
        """Give back what was not sent, within a moment."""
        with anyio.move_on_after(GIVE_BACK_SECONDS, shield=True):
            try:
                if self._stop_all.is_set():  # perhaps just now
                    await self.stop_when_asked()
                await self.give_back(list(self.claims))
                await self.database.run("ledger_leave", self.holder)
            except (LedgerError, DatabaseFault) as failed:
                logger.info("%s: not given back, its lease ends by itself: %s", self.place, failed)

    async def _settle_soon(self, claim: Claim) -> None:
        async with claim.turn:
            try:
                await self._settle(claim)
            except LedgerError as failed:  # where that is lost it counts as uncertain
                logger.warning("%s: not written that it was turned away: %s", claim.id, failed)

    async def _settle(self, claim: Claim) -> None:
        """Write that an attempt was turned away, if that is owed, or take back a start that was cancelled."""
        if claim.pending is not None or claim.owes:
            await self._change(claim, "turn away", was=claim.pending, again=claim.asks)
            claim.is_started = False
        claim.owes, claim.pending = False, None

    async def _give_back(self, claim: Claim) -> None:
        async with claim.turn:
            await self._settle(claim)
            if not claim.is_started:
                await self._change(claim, "give back")
            self._forget(claim)

    def _forget(self, claim: Claim) -> None:
        if self.claims.get(claim.key) is claim:
            del self.claims[claim.key]

    async def _change(
        self, claim: Claim, kind: str, *, was: str | None = None, new: str | None = None, **what: Any
    ) -> dict[str, Any]:
        """Make one change, with others that wait; `claim` then has its try."""
        new = new or str(uuid.uuid4())
        fields = {"kind": kind, "key": claim.key, "epoch": claim.epoch, "was": was or claim.last, "new": new, **what}
        change = ChangeToMake(fields, {})
        with self._worded():
            await self._writer.append(change)
        if change.result["answer"] == "yes":
            claim.last = new
        return change.result

    async def _write(self, changes: Sequence[ChangeToMake]) -> Iterable[None]:
        for each in rounds(changes):
            await self._write_round(each)
        return [None] * len(changes)

    async def _write_round(self, changes: Sequence[ChangeToMake]) -> None:
        before = self._writes
        rows = await self.database.run(
            "edit_change", self.holder, json.dumps([dict(change.fields) for change in changes]), self.run
        )
        await self._note(rows[0], before)
        answers = {str(row["new"]): row for row in rows if row["key"] is not None}
        for change in changes:
            row = answers.get(change.fields["new"], NO_ROW)
            change.result.update(answer=row["answer"], epoch=row["has_epoch"], is_rewound=self._is_rewound)

    async def _note(self, row: Any, before: int) -> None:
        """See whether the database has lost what it had acknowledged `before`; then all copies are to stop."""
        if row["writes"] <= before and not self._is_rewound:
            await self.database.run("ledger_rewound")
            self._is_rewound = True
        self._is_rewound = self._is_rewound or row["is_rewound"]
        self._is_stopping = row["is_stopping"] and not self._stop_all.is_set()
        self._writes = max(self._writes, row["writes"])

    def _worded(self) -> AbstractContextManager[None]:
        return worded(self.place)
