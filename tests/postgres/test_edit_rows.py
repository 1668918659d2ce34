"""The statements of the shared ledger do to a row what its state machine says, whatever the sequence."""

from __future__ import annotations

import asyncio
import json
import math
import random
import uuid
from collections import Counter
from typing import Any

import pytest
from attrs import define, evolve, field

from asyncsdk.images.ledger import rows
from asyncsdk.images.ledger.claims import Claim, is_held
from asyncsdk.images.ledger.rows import EditRow
from asyncsdk.postgres.database import Database
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.postgres.statements import statement
from asyncsdk.postgres.url import database_url as read_url

KEY = "a"
LEFT_ALONE = 660.0
FOUND = """
select *, jsonb_array_length(late) as lates, extract(epoch from clock_timestamp() - tried) as tried_ago,
       extract(epoch from clock_timestamp() - new_tried) as new_tried_ago
from asyncsdk.edit
"""
WINDOW = 1000.0
ENDS = ["done", "failed", "refused", "uncertain"]


@define(eq=False)
class BothSides:
    """The row in the database and the row of the model. Its `now` is set by moving what is in the database."""

    connection: Any
    random: random.Random
    row: EditRow = field(factory=EditRow)
    is_keyed: bool = False  # nearly all is sent with a key, and much of it is lost
    edits: int = 0
    cost: int = 0
    now: float = 0.0
    until: dict[str, float] = field(factory=dict)
    batches: list[uuid.UUID] = field(factory=list)  # all that there ever were
    known: list[tuple[int, str | None]] = field(factory=lambda: [(0, None)])  # epochs and tries that anyone ever saw

    def pick(self) -> tuple[int, str | None]:
        """What somebody saw, not long ago."""
        return self.known[-1] if self.is_keyed and self.random.random() < 0.7 else self.random.choice(self.known[-4:])

    async def begin(self, holders: list[str]) -> None:
        tables = [f"asyncsdk.{name}" for name in ("edit", "ledger_worker", "holder", "batch", "batch_fact")]
        await self.connection.execute(f"truncate {', '.join(tables)}")
        for holder in holders:
            self.until[holder] = 30.0
            await self.connection.execute(
                "insert into asyncsdk.holder values ($1, 1, 'h', 'm', clock_timestamp() + interval '30 s')",
                uuid.UUID(holder),
            )

    async def pass_time(self, seconds: float) -> None:
        self.now += seconds
        await self.connection.execute(
            f"update asyncsdk.holder set until = until - interval '{seconds} s';"
            f"update asyncsdk.edit set started = started - interval '{seconds} s',"
            f"tried = tried - interval '{seconds} s', new_tried = new_tried - interval '{seconds} s'"
        )

    async def renew(self, holder: str) -> None:
        self.until[holder] = self.now + 30.0
        await self.connection.execute(
            "update asyncsdk.holder set until = clock_timestamp() + interval '30 s' where id = $1", uuid.UUID(holder)
        )

    def is_alive(self, holder: str | None) -> bool:
        return self.until.get(holder or "", 0.0) > self.now

    def took(self, change: rows.Changed) -> str:
        self.row, self.edits, self.cost = change.row, self.edits + change.counted, self.cost + change.spent
        if change.answer == "yes":
            self.known.append((self.row.epoch, self.row.last))
        return change.answer

    async def claim(self, holder: str, *, may_take: bool) -> tuple[str, str]:
        (epoch, last), new = self.pick(), str(uuid.UUID(int=self.random.getrandbits(128)))
        cost, likely = self.random.choice([None, 70, 90]), 0.6 if self.row.status == "uncertain" else 0.05
        asks = self.random.random() < likely
        seen = [{"key": KEY, "id": KEY, "epoch": epoch, "last": last, "new": new, "cost": cost, "again": asks}]
        lapsed = may_take and not self.is_alive(self.row.holder)
        ours = theirs = ""
        for _ in range(self.random.choice([1, 2])):
            got = await self.connection.fetch(
                statement("edit_claim"),
                uuid.UUID(holder),
                json.dumps(seen),
                "[]",
                may_take,
                None,
                None,
                LEFT_ALONE,
                "{}",
                None,
                0,
                WINDOW,
            )
            theirs = "no" if got[0]["key"] is None else "yes"
            ours = self.took(
                rows.claim(
                    self.row,
                    seen=(epoch, last),
                    new=new,
                    holder=holder,
                    now=self.now,
                    may_take=lapsed,
                    lease=60.0,
                    cost=cost,
                    asks=asks,
                    window=WINDOW,
                )
            )
        return ours, theirs

    async def change(self, holder: str) -> tuple[str, str]:
        kind = self.random.choice(["start", "start", "turn away", "give back", "end", "end"])
        if self.is_keyed and self.row.phase == "claimed":
            kind = self.random.choice(["start", "start", kind])
        (epoch, was), new = self.pick(), str(uuid.UUID(int=self.random.getrandbits(128)))
        if was is None:
            return "", ""
        fields: dict[str, Any] = {"kind": kind, "key": KEY, "epoch": epoch, "was": was, "new": new, "n": 1, "tokens": 0}
        how: Any = "uncertain" if self.is_keyed and self.random.random() < 0.5 else self.random.choice(ENDS)
        cost = self.random.choice([None, 50])
        fields |= {"status": how, "cost": cost} if kind == "end" else {}
        generation = self.random.choice(
            [None, *[self.row.generation] * (9 if self.is_keyed else 1), self.row.generation + 1]
        )
        asked = kind == "turn away" and self.random.random() < 0.5
        header = self.random.choice(["Key"] * 9 + ["Other"])
        fields |= {"generation": generation, "header": header, "again": asked}
        ours = theirs = ""
        for _ in range(self.random.choice([1, 2])):
            got = await self.connection.fetch(statement("edit_change"), uuid.UUID(holder), json.dumps([fields]), 1)
            theirs = "no" if got[0]["key"] is None else got[0]["answer"]
            if self.row.epoch == 0:
                return "no", theirs
            if kind == "start":
                is_alive = self.is_alive(holder)
                key: Any = {"generation": generation, "header": header}
                change = rows.start(self.row, epoch=epoch, was=was, new=new, now=self.now, is_alive=is_alive, **key)
            elif kind == "turn away":
                change = rows.turn_away(self.row, epoch=epoch, was=was, new=new, asked=asked)
            elif kind == "end":
                change = rows.end(self.row, epoch=epoch, was=was, new=new, status=how, cost=cost)
            else:
                change = rows.give_back(self.row, epoch=epoch, was=was, new=new)
            ours = self.took(change)
        return ours, theirs

    async def others(self) -> tuple[str, str]:
        if self.random.random() < 0.6:
            may_take = self.random.random() < 0.8
            seen = json.dumps([{"key": KEY, "epoch": self.row.epoch, "last": self.row.last}])
            got = await self.connection.fetch(statement("edit_lapse"), seen, "[]", may_take)
            lapsed = may_take and not self.is_alive(self.row.holder)
            return self.took(rows.lapse(self.row, may_take=lapsed)), "yes" if got else "no"
        if self.random.random() < 0.4:
            new = uuid.UUID(int=self.random.getrandbits(128))
            await self.connection.execute(statement("edit_abandon"), uuid.UUID(int=1), 1, new)
            left = await self.connection.fetch("select from asyncsdk.edit where phase = 'claimed'")
            [spent] = await self.connection.fetch("select coalesce(sum(cost), 0) as n from asyncsdk.ledger_worker")
            assert self.cost - spent["n"] in {0, self.row.new_cost or 0}
            was_claimed = self.row.phase == "claimed"
            change = rows.abandon(self.row, new=str(new), may_take=not self.is_alive(self.row.holder))
            return self.took(change), "yes" if was_claimed and not left else "no"
        new, force = uuid.UUID(int=self.random.getrandbits(128)), self.random.random() < 0.5
        got = await self.connection.fetch(statement("edit_release"), None, force, LEFT_ALONE, new)
        is_released = any(each["is_old"] for each in got)
        is_lapsed = not self.is_alive(self.row.holder)
        change = rows.release(self.row, new=str(new), now=self.now, lease=60.0, force=force, is_lapsed=is_lapsed)
        return self.took(change), "yes" if is_released else "no"

    def token(self) -> uuid.UUID:
        return uuid.UUID(int=self.random.getrandbits(128))

    async def put_in_batch(self, holder: str) -> tuple[str, str]:
        (epoch, was), new, batch = self.pick(), str(self.token()), self.token()
        if was is None:
            return "", ""
        given = json.dumps([{"key": KEY, "epoch": epoch, "was": was, "new": new, "n": 1}])
        fact, once = json.dumps([{"t": "creating", "batch": batch.hex, "number": 0}]), self.token()
        ours = theirs = ""
        for _ in range(self.random.choice([1, 2])):
            [got] = await self.connection.fetch(
                statement("batch_begin"), uuid.UUID(holder), batch.hex, batch, given, fact, once, 0
            )
            theirs = "yes" if got["is_made"] else "no"
            if self.row.epoch == 0:
                return "no", theirs
            is_alive = self.is_alive(holder)
            ours = self.took(rows.start(self.row, epoch=epoch, was=was, new=new, now=self.now, is_alive=is_alive))
            if ours == "yes":
                self.row = evolve(self.row, holder=str(batch))
                self.until[str(batch)] = math.inf
                self.batches.append(batch)
        return ours, theirs

    async def withdraw(self, holder: str) -> tuple[str, str]:
        if not self.batches:
            return "", ""
        batch, new, once = self.random.choice(self.batches[-2:]), str(self.token()), self.token()
        is_kept = self.random.random() < 0.5
        given = json.dumps([{"key": KEY, "new": new}] if is_kept else [])
        fact = json.dumps([{"t": "withdrawn", "batch": batch.hex}])
        ours = theirs = ""
        for _ in range(self.random.choice([1, 2])):
            [got] = await self.connection.fetch(
                statement("batch_withdraw"), uuid.UUID(holder), batch.hex, given, 1, once, fact, 0
            )
            theirs = "yes" if json.loads(got["keys"]) else "no"
            [there] = await self.connection.fetch("select try from asyncsdk.edit")
            last = new if is_kept else str(there["try"])  # one that is free has a try that the statement chose
            change = rows.withdraw(self.row, batch=str(batch), new=last, holder=holder if is_kept else None)
            ours = self.took(change) if is_kept else self.took(change) and "no"  # which has no claim to report
            self.until.pop(str(batch), None)
        facts = "select count(*) as n from asyncsdk.batch_fact where fact->>'t' = 'withdrawn' and try = $1"
        assert [row["n"] for row in await self.connection.fetch(facts, once)] == [1]
        return ours, theirs

    async def is_equal(self) -> None:
        [counted] = await self.connection.fetch("select coalesce(sum(edits), 0) as n from asyncsdk.ledger_worker")
        found = await self.connection.fetch(FOUND)
        if self.row.epoch == 0:
            assert not found
            return
        [there] = found
        theirs = there["status"], there["phase"], there["epoch"], str(there["try"]), str(there["holder"])
        assert theirs == (self.row.status, self.row.phase, self.row.epoch, self.row.last, self.row.holder)
        assert (there["lates"] or 0) == len(self.row.late)
        assert counted["n"] == self.edits
        assert (there["cost"], there["new_cost"]) == (self.row.cost, self.row.new_cost)
        keys = there["generation"], there["header"], there["new_generation"], there["asks"]
        assert keys == (self.row.generation, self.row.header, self.row.new_generation, self.row.asks)
        for name, tried in (("tried_ago", self.row.tried), ("new_tried_ago", self.row.new_tried)):
            assert (there[name] is None) is (tried is None)
            assert tried is None or float(there[name]) == pytest.approx(self.now - tried, abs=25.0)
        [spent] = await self.connection.fetch("select coalesce(sum(cost), 0) as n from asyncsdk.ledger_worker")
        assert spent["n"] == self.cost
        [got] = await self.connection.fetch(statement("ledger_show"))
        shown = json.loads(got["shown"])
        parts = shown["cost_paid"], shown["cost_possible"]
        assert (min(parts) >= 0, sum(parts) <= shown["cost"]) == (True, True), "no sending is in two sums"
        if self.row.status == "uncertain" or (self.row.phase is not None and not self.row.asks):
            assert shown["cost_possible"] >= ((self.row.cost if self.row.phase is None else self.row.new_cost) or 0)


@pytest.mark.parametrize("part", range(2))
async def test_the_statements_do_what_the_state_machine_says(database_url: str, part: int) -> None:
    from asyncsdk.postgres.connection import connect

    url = read_url(database_url)
    database = Database(url, LeaseTerms())
    async with database.session():
        await database.run("ledger_stop", 0)  # makes the schema
        await database.run("ledger_accept")
    connection = await connect(url)
    await connection.execute("update asyncsdk.ledger set is_stopping = false")
    seen, asked = set[str](), Counter[str]()
    try:
        for seed in range(45):
            sides = BothSides(connection, random.Random(1000 * part + seed), is_keyed=seed % 2 > 0)
            holders = [str(uuid.UUID(int=number)) for number in (1, 2)]
            await sides.begin(holders)
            for step in range(40):
                holder, dice = sides.random.choice(holders), sides.random.random()
                if sides.is_keyed and sides.random.random() < 0.5:  # what a process does next
                    await sides.renew(holder)
                    dice = 0.3 if sides.row.phase is None else 0.6
                if dice < 0.1:
                    await sides.pass_time(sides.random.choice([31.0, 700.0]))
                    continue
                if dice < 0.25:
                    await sides.renew(holder)
                    continue
                if dice < 0.5:
                    answers = await sides.claim(holder, may_take=sides.random.random() < 0.5)
                elif dice < 0.75:
                    answers = await sides.change(holder)
                elif dice < 0.84:
                    answers = await sides.put_in_batch(holder)
                elif dice < 0.88 and not sides.is_keyed:
                    answers = await sides.withdraw(holder)
                else:
                    answers = await sides.others()
                assert answers[0] == answers[1], (seed, step)
                await sides.is_equal()
                seen.add(f"{sides.row.status} {sides.row.phase} {bool(sides.row.late)}")
                asked[sides.row.phase or ""] += sides.row.asks
    finally:
        await connection.close()
    assert len(seen) > 15
    assert min(asked["claimed"], asked["started"]) > 5


@pytest.mark.parametrize(("digest", "tokens"), [("first", 0), ("other fields", 7)])
async def test_a_late_answer_counts_once_with_what_has_its_key_and_beside_what_has_another(
    database_url: str, digest: str, tokens: int
) -> None:
    from asyncsdk.postgres.connection import connect

    first, second, holder = (uuid.UUID(int=number) for number in (1, 2, 3))
    async with (database := Database(read_url(database_url), LeaseTerms())).session():
        await database.run("ledger_stop", 0)  # makes the schema
        await database.run("ledger_accept")
    connection = await connect(read_url(database_url))
    try:
        await connection.execute(
            "insert into asyncsdk.edit (key, id, status, epoch, holder, try, digest, generation, tried) "
            "values ($1, $1, 'done', 2, $2, $3, $4, 0, clock_timestamp())",
            KEY, holder, second, digest,
        )  # fmt: skip
        late = {"kind": "end", "key": KEY, "epoch": 1, "was": str(first), "new": str(uuid.uuid4()), "n": 1}
        late |= {"status": "done", "digest": "first", "tokens": 7, "generation": 0}
        [got] = await connection.fetch(statement("edit_change"), holder, json.dumps([late]), 1)
        assert got["answer"] == "late"
        [counted] = await connection.fetch("select tokens from asyncsdk.ledger_worker")
        assert counted["tokens"] == tokens
    finally:
        await connection.close()


async def test_an_edit_that_is_let_go_while_another_has_it_locked_is_let_go_all_the_same(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asyncsdk.postgres.connection import connect

    real, tries, was_locked, is_free = Database.run, list[str](), asyncio.Event(), asyncio.Event()

    async def run(self: Database, name: str, *arguments: Any, **options: Any) -> Any:
        if name == "edit_lapse":
            tries.append(name)
            if len(tries) == 3:  # twice it was locked
                was_locked.set()
                await is_free.wait()
        return await real(self, name, *arguments, **options)

    monkeypatch.setattr(Database, "run", run)
    holder, last = uuid.UUID(int=1), uuid.UUID(int=2)
    async with (database := Database(read_url(database_url), LeaseTerms())).holding(holder):
        await database.run("ledger_stop", 0)  # makes the schema
        connection = await connect(read_url(database_url))
        try:
            await connection.execute(
                "insert into asyncsdk.edit (key, id, phase, epoch, holder, try) values ($1, $1, 'started', 1, $2, $3)",
                KEY, holder, last,
            )  # fmt: skip
            async with connection.transaction():
                await connection.execute("select from asyncsdk.edit for update")
                claim = Claim(KEY, KEY, 1, str(last), is_started=True, started=-1e9)
                letting_go = asyncio.ensure_future(is_held(database, holder, claim))
                await asyncio.wait_for(was_locked.wait(), 30)
            is_free.set()
            assert not await letting_go
            assert [row["status"] for row in await connection.fetch(FOUND)] == ["uncertain"]
        finally:
            await connection.close()
