"""The batches of a ledger in a database: facts that all copies read, and edits that a batch holds.

A batch is followed by one process at a time, by its lease; the edits in it are started, and are held by the batch
itself, which never lapses (`postgres/sql/schema_5.sql`).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field

from asyncsdk.clock import boot_time
from asyncsdk.images.batch.rows import BatchRow
from asyncsdk.images.ledger.book import BatchBook, BatchRecord, creating_of, needs_of, spare_of
from asyncsdk.images.ledger.claims import Claim, rewound, worded
from asyncsdk.images.ledger.shared import SharedLedger
from asyncsdk.images.ledger.states import ItemState
from asyncsdk.postgres.faults import PATIENCE
from asyncsdk.postgres.machine import is_gone_here

LOCK = "ledger_lock"
LEAST_FACTS = 100  # fewer are not worth a statement
REPEATED_SECONDS = 2 * PATIENCE  # for which a process may ask again whether it has added a fact


@define(eq=False)
class SharedBatches:
    """The batches of a ledger that machines share."""

    rows: SharedLedger
    book: BatchBook = field(factory=BatchBook, init=False)
    _read: int = field(default=0, init=False)  # the number of the last fact
    _facts: int = field(default=0, init=False)  # how many the book was made of
    _gone: list[str] = field(factory=list, init=False)  # other holders whose processes are known to be gone
    _begun: dict[str, float] = field(factory=dict, init=False)  # when each batch was put in, in seconds of elapsed time

    async def refresh(self) -> None:
        """Read the facts that were added since. Raises LedgerError."""
        self._apply(await self._run("batch_facts", self._read))

    async def note(self, *facts: Mapping[str, Any]) -> None:
        """Add facts. Raises LedgerError."""
        if facts:
            given = uuid.uuid4(), json.dumps(facts), self._read
            self._apply(await self._run("batch_note", *given, None, "[]", lock=LOCK))

    async def of_batch(self, batch: str) -> dict[str, ItemState]:
        """The edits that are in a batch, or ended in it, in the order of its lines; they may be ended from now on."""
        found = dict[str, ItemState]()
        for row in await self._run("batch_rows", uuid.UUID(batch)):
            is_open = row["phase"] == "started"
            found[row["key"]] = ItemState(
                "batched" if is_open else row["status"],
                row["id"],
                row["at"] or 0.0,
                n=(row["new_n"] if is_open else row["n"]) or 1,
                source=row["new_source"] if is_open else row["source"],
                cost=row["new_cost"] if is_open else row["cost"],
                batch=batch,
                attempt=row["epoch"],
            )
            claim = Claim(row["key"], row["id"], row["epoch"], str(row["try"]), is_started=True)
            claim.digest = row["new_digest"] if is_open else row["digest"]
            claim.source, claim.n = found[row["key"]].source, found[row["key"]].n
            self.rows.in_batches.setdefault(row["key"], claim)
            if self.rows.in_batches[row["key"]].epoch != row["epoch"]:
                self.rows.in_batches[row["key"]] = claim
        return found

    async def states(self, items: Collection[str]) -> dict[str, ItemState]:
        """The states of edits, of those that have one. Raises LedgerError."""
        seen = await self.rows.look(list(items))
        return {key: state for key, each in seen.items() if (state := each.state) is not None}

    async def begin(self, record: BatchRecord, rows: Sequence[BatchRow]) -> tuple[BatchRecord | None, frozenset[str]]:
        """Put these edits, which are claimed, into a batch. Raises LedgerError, LedgerRewoundError."""
        claims = {row.item: self._claim_of(row.item) for row in rows}
        given = [_started(row, claim) for row in rows if (claim := claims[row.item]) is not None]
        lost = frozenset(item for item, claim in claims.items() if claim is None)
        if lost:
            return None, lost
        needs = needs_of(record.key, (file_id for row in rows for file_id in row.needs))
        facts = [*needs, creating_of(record)]
        await self._lease()
        asked = boot_time()
        [row] = await self._run(
            "batch_begin", self.rows.holder, record.key, uuid.UUID(record.key), json.dumps(given), json.dumps(facts),
            uuid.uuid4(), self._read, lock=LOCK,
        )  # fmt: skip
        if row["is_rewound"]:
            raise rewound(self.rows.place)
        self._apply(json.loads(row["facts"]))
        if not row["is_made"]:
            return None, frozenset(claims) - frozenset(json.loads(row["keys"]))
        for item in claims:
            self._forget(item)
        self._begun[record.key] = asked
        return self.book.open[record.key], frozenset()

    def may_create(self, record: BatchRecord) -> bool:
        """Whether the lease never lapsed since `begin`: else another copy may have looked for it in vain."""
        asked = self._begun.get(record.key)
        return asked is not None and self.rows.database.is_held_since(asked)

    async def withdraw(self, record: BatchRecord, keep: Collection[str]) -> frozenset[str]:
        """Take edits back that it held: those of `keep` are claimed, the others free. Raises LedgerError."""
        tries = {key: str(uuid.uuid4()) for key in keep}
        given = json.dumps([{"key": key, "new": new} for key, new in tries.items()])
        facts = json.dumps([{"t": "withdrawn", "batch": record.key}])
        [row] = await self._run(
            "batch_withdraw", self.rows.holder, record.key, given, self.rows.run, uuid.uuid4(), facts, self._read,
            lock=LOCK,
        )  # fmt: skip
        self._apply(json.loads(row["facts"]))
        ours = {each["key"]: each["epoch"] for each in json.loads(row["keys"])}
        for key, epoch in ours.items():
            was = self.rows.in_batches.get(key)
            # not among the claims of the intake, which waits until it has none
            claim = self.rows.in_batches[key] = Claim(key, key if was is None else was.id, epoch, tries[key])
            if was is not None:
                claim.digest, claim.source, claim.n = was.digest, was.source, was.n
        return frozenset(ours)

    async def give_back(self, items: Iterable[str]) -> None:
        """Leave edits to other copies. Raises LedgerError."""
        items = list(items)
        for item in items:
            claim = self.rows.in_batches.get(item)
            if claim is not None and not claim.is_started:
                self.rows.claims[item] = self.rows.in_batches.pop(item)
        await self.rows.give_back(items)

    async def take_up(self, batches: Iterable[str]) -> frozenset[str]:
        """Those that this process follows from now on. Raises LedgerError."""
        await self._lease()
        keys = json.dumps(list(batches))
        rows = await self._run("batch_take", self.rows.holder, keys, await self._may_take())
        return frozenset(row["key"] for row in rows)

    async def is_last(self) -> bool:
        """Claim nothing more; whether no other copy is alive. Raises LedgerError."""
        others = await self._run("batch_last", self.rows.holder)
        self._gone = [str(other["id"]) for other in others if is_gone_here(other["pid"], other["machine"])]
        return len(self._gone) == len(others)

    async def set_aside(self, pictures: Sequence[str]) -> bool:
        """Write down that no line refers to these any more, if no other copy began meanwhile. Raises LedgerError."""
        if pictures:
            given = uuid.uuid4(), json.dumps(list(spare_of(pictures))), self._read
            rows = await self._run("batch_note", *given, self.rows.holder, json.dumps(self._gone), lock=LOCK)
            self._apply(rows)
        return all(picture in self.book.files for picture in pictures)

    async def compact(self) -> None:
        """Replace all facts by as few as possible, if they are many more, and none came meanwhile. Raises LedgerError.

        Those of the last minutes are kept beside, for a process that asks again whether it has added them.
        """
        facts = [{"t": "afresh"}, *self.book.facts(), *self.book.facts_of_batches()]
        if self._facts > 2 * len(facts) + LEAST_FACTS:
            given = uuid.uuid4(), json.dumps(facts), self._read, REPEATED_SECONDS
            self._apply(await self._run("batch_compact", *given, lock=LOCK))

    def attempt(self, item: str) -> int:
        """The epoch of its claim."""
        claim = self._claim_of(item)
        return 1 if claim is None else claim.epoch

    def tries(self, item: str) -> int:
        """As the facts count them."""
        return self.book.tries[item]

    async def failed(self, item: str) -> None:
        """Count it, as the rows do not. Raises LedgerError."""
        await self.note({"t": "tried", "item": item})

    def digest(self, item: str) -> str:
        """Of its key."""
        return f"{hashlib.sha256(item.encode(errors='surrogatepass')).hexdigest()}#0"

    def _claim_of(self, item: str) -> Claim | None:
        """The claim of an edit that is in no batch."""
        withdrawn = self.rows.in_batches.get(item)
        return self.rows.claims.get(item) or (None if withdrawn is None or withdrawn.is_started else withdrawn)

    def _forget(self, item: str) -> None:
        self.rows.claims.pop(item, None)
        self.rows.in_batches.pop(item, None)

    def _apply(self, rows: Iterable[Any]) -> None:
        for row in rows:
            if row["number"] > self._read:
                self._read, self._facts = row["number"], self._facts + 1
                fact = json.loads(row["fact"]) if isinstance(row["fact"], str) else row["fact"]
                if fact["t"] == "afresh":
                    self.book, self._facts = BatchBook(), 1
                else:
                    self.book.apply(fact)

    async def _run(self, name: str, *arguments: Any, lock: str | None = None) -> Sequence[Any]:
        with worded(self.rows.place):
            return await self.rows.database.run(name, *arguments, lock=lock)

    async def _lease(self) -> None:
        with worded(self.rows.place):
            await self.rows.database.ensure_lease(self.rows.holder)

    async def _may_take(self) -> bool:
        with worded(self.rows.place):
            return await self.rows.database.may_take_lapsed()


def _started(row: BatchRow, claim: Claim) -> dict[str, Any]:
    fields = {"key": claim.key, "epoch": claim.epoch, "was": claim.last, "new": str(uuid.uuid4())}
    return fields | {"digest": claim.digest, "source": claim.source, "n": row.n}
