"""What a run may ask of a ledger, whichever it is: one in files, or one in a database."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

from asyncsdk import PostgresLedger
from asyncsdk.errors import LedgerRewoundError
from asyncsdk.images.bulk.policy import status_of_state
from asyncsdk.images.ledger import ClaimLostError, Ledger
from asyncsdk.images.ledger.claims import Wanted
from asyncsdk.images.ledger.file import open_ledger
from asyncsdk.images.ledger.index import Spent
from asyncsdk.images.ledger.seen import key_of_id
from asyncsdk.images.ledger.shared import SharedLedger
from asyncsdk.images.outcome import Problem
from asyncsdk.models import Usage
from asyncsdk.postgres.database import Database
from asyncsdk.postgres.faults import VERSION
from asyncsdk.postgres.statements import schema_steps
from tests.postgres.server import PostgresServer

PROBLEM = Problem(type="X", message="y", moderation={"stage": "input"})
USAGE = Usage(input_tokens=2, output_tokens=3, total_tokens=5)


@frozen
class Opened:
    """A ledger that is open, as a run uses it."""

    ledger: Ledger
    item: Callable[[str], str]

    async def begin(self, name: str, n: int = 1, cost: int | None = None) -> str:
        """Write down that an edit of this id, which costs `cost` at most, is about to be sent. Returns its item."""
        item = self.item(name)
        if isinstance(self.ledger, SharedLedger):
            seen = await self.ledger.look([item])
            await self.ledger.claim([Wanted(item, name, seen.get(item), cost)], max_edits=None, max_tokens=None)
            self.ledger.claims[item].n = n
        await self.ledger.intend(item, id=name, n=n, source="here", cost=cost)
        return item

    async def statuses(self, *names: str) -> list[str]:
        return [status_of_state(state) for state in await self.ledger.look_up(names)]

    @property
    async def spent(self) -> tuple[int, int]:
        if isinstance(self.ledger, SharedLedger):
            granted = await self.ledger.claim([], max_edits=None, max_tokens=None)
            return granted.spent.edits, granted.spent.tokens
        spent: Any = self.ledger.spent  # type: ignore[attr-defined]  # the one in files
        return spent.edits, spent.tokens

    async def costs(self, url: str) -> tuple[int, int, int]:
        """What all costs, what of it is paid, and what may be."""
        if url:
            shown = await PostgresLedger(url).show() or {}
            return shown["cost"], shown["cost_paid"], shown["cost_possible"]
        ledger: Any = self.ledger
        return ledger.spent.cost, ledger.index.costs.cost_paid, ledger.index.costs.cost_possible


Open = Callable[[], AbstractAsyncContextManager[Opened]]


@pytest.fixture(params=["files", "postgres"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    url = request.getfixturevalue("database_url") if request.param == "postgres" else ""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Opened]:
        if url:
            async with PostgresLedger(url).open(tmp_path / ".asyncsdk", {}) as shared:
                yield Opened(shared, key_of_id)
            return
        async with open_ledger(tmp_path / ".asyncsdk") as ledger:
            yield Opened(ledger, lambda name: f"{name.lower()}#0")

    return opened


async def test_what_is_written_is_there_again(opening: Open) -> None:
    async with opening() as run:
        item = await run.begin("Done:1", n=2)
        await run.ledger.end(item, "done", id="Done:1", files=("Done%3A1.png", "Done%3A1.1.png"), usage=USAGE)
        for status in ("failed", "refused", "uncertain"):
            item = await run.begin(status)
            await run.ledger.end(item, status, id=status, problem=PROBLEM)
    async with opening() as run:
        states = await run.ledger.look_up(["done:1", "failed", "refused", "uncertain", "unknown"])
        assert [state and state.status for state in states] == ["done", "failed", "refused", "uncertain", None]
        done, failed = states[:2]
        assert done is not None
        assert failed is not None
        assert (done.id, done.n, done.usage) == ("Done:1", 2, USAGE)
        assert done.files == ("Done%3A1.png", "Done%3A1.1.png")
        assert failed.problem == PROBLEM
        assert abs(done.at - time.time()) < 60


async def test_what_is_or_may_be_paid_counts(opening: Open) -> None:
    async with opening() as run:
        for status in ("done", "failed", "refused", "uncertain"):
            item = await run.begin(status)
            await run.ledger.end(item, status, id=status, usage=USAGE if status == "done" else None)
        assert await run.spent == (2, 5)
        await run.ledger.end(await run.begin("failed"), "done", id="failed", usage=USAGE)
        assert await run.spent == (3, 10)


async def test_what_is_paid_and_what_may_be_are_two_sums_also_of_edits_that_are_sent_again(
    opening: Open, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("database_url") if "[postgres]" in request.node.name else ""
    async with opening() as run:
        for name in ("done", "sent again"):
            await run.ledger.end(await run.begin(name, cost=60), "done", id=name, usage=USAGE, cost=50)
        await run.ledger.end(await run.begin("lost", cost=70), "uncertain", id="lost")
        await run.ledger.end(await run.begin("kept", cost=60), "uncertain", id="kept", usage=USAGE, cost=40)
        await run.ledger.end(await run.begin("failed", cost=60), "failed", id="failed")
        assert await run.costs(url) == (210, 140, 70)
        item = await run.begin("sent again", cost=80)
        assert await run.costs(url) == (290, 140, 150), "what is in flight, beside what it was paid for before"
        await run.ledger.end(item, "done", id="sent again", usage=USAGE, cost=55)
        assert await run.costs(url) == (265, 145, 70), "the time before is in neither"
    async with opening() as run:
        assert await run.costs(url) == (265, 145, 70)


async def test_an_edit_that_was_surely_not_done_is_sent_again(opening: Open) -> None:
    async with opening() as run:
        item = await run.begin("a")
        assert await run.statuses("a") == ["uncertain"]  # if all ended here
        run.ledger.release(item)
        await run.ledger.intend(item, id="a", n=1)
        await run.ledger.end(item, "done", id="a")
        assert await run.spent == (1, 0)
    async with opening() as run:
        assert await run.statuses("a") == ["done"]


async def test_one_that_is_given_back_is_as_before(opening: Open) -> None:
    async with opening() as run:
        await run.ledger.end(await run.begin("old"), "done", id="old", files=("old.png",), usage=USAGE)
        for name in ("old", "new"):
            run.ledger.release(await run.begin(name))
    async with opening() as run:
        assert (await run.statuses("old"), await run.spent) == (["done"], (1, 5))
        [old] = await run.ledger.look_up(["old"])
        assert old is not None
        assert old.files == ("old.png",)
        assert (await run.statuses("new"))[0] in {"new", "failed"}


async def test_pictures_are_known_by_their_names(opening: Open) -> None:
    async with opening() as run:
        item = await run.begin("A:1", n=2)
        await run.ledger.end(item, "done", id="A:1", files=("A%3A1.png", "A%3A1.1.png"))
        owners = await run.ledger.owners_of(["A%3A1", "a%3a1.1", "zz"])
        assert [owner and owner.item for owner in owners] == [item, item, None]


async def test_what_got_to_its_bucket_later_is_done(opening: Open) -> None:
    async with opening() as run:
        item = await run.begin("a")
        await run.ledger.end(item, "uncertain", id="a", problem=PROBLEM, files=("a.png",))
        await run.ledger.delivered(item, ["a.png"], "done")
        [state] = await run.ledger.look_up(["a"])
        assert state is not None
        assert (state.status, state.files, state.problem) == ("done", ("a.png",), None)


async def test_a_redo_never_reaches_what_is_done_after_it_was_asked_for(opening: Open) -> None:
    async with opening() as run:
        assert await run.ledger.redo_before(1.0) == 1.0
        assert await run.ledger.redo_before(time.time() + 3600) <= time.time() + 1


async def test_a_start_that_took_longer_than_the_lease_is_taken_back_and_made_again(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with PostgresLedger(database_url).open(tmp_path, {}) as ledger:
        await ledger.claim([Wanted("a", "a", None)], max_edits=None, max_tokens=None)
        good = iter([False, True])
        monkeypatch.setattr(Database, "has_good_lease", property(lambda _: next(good)))
        await ledger.intend("a", id="a", n=1)
        [seen] = (await ledger.look(["a"])).values()
        assert (seen.phase, seen.epoch, list(good)) == ("started", 1, [])


async def test_an_edit_is_not_sent_on_the_word_of_a_database_that_has_lost_commits(
    database_url: str, postgres_server: PostgresServer, database: str, tmp_path: Path
) -> None:
    async with PostgresLedger(database_url).open(tmp_path, {}) as ledger:
        await ledger.claim([Wanted("a", "a", None)], max_edits=None, max_tokens=None)
        postgres_server.sql("update asyncsdk.ledger_worker set writes = 0", database=database)
        with pytest.raises(LedgerRewoundError):
            await ledger.intend("a", id="a", n=1)


async def test_a_database_with_a_journal_of_a_former_version_has_an_empty_ledger(
    database_url: str, postgres_server: PostgresServer, database: str, tmp_path: Path
) -> None:
    postgres_server.sql(*schema_steps(None, 1), database=database)
    ledger = PostgresLedger(database_url)
    assert await ledger.show() is None
    async with ledger.look(tmp_path) as known:
        assert await known.look_up(["a"]) == [None]


async def test_pictures_that_wait_are_left_to_the_process_that_works_at_their_edit(opening: Open) -> None:
    async with opening() as run:
        await run.begin("a")
        [owner] = await run.ledger.owners_of(["a"])
        assert owner is not None
        assert owner.is_held == isinstance(run.ledger, SharedLedger)


async def test_processes_that_are_over_leave_one_row_that_counts_as_they_did(
    database_url: str, postgres_server: PostgresServer, database: str, tmp_path: Path
) -> None:
    for name in "abc":
        async with PostgresLedger(database_url).open(tmp_path, {}) as ledger:
            await ledger.claim([Wanted(name, name, None)], max_edits=None, max_tokens=None)
            await ledger.intend(name, id=name, n=1)
            await ledger.end(name, "done", id=name, usage=USAGE)
    async with PostgresLedger(database_url).open(tmp_path, {}) as ledger:
        assert (await ledger.claim([], max_edits=3, max_tokens=None)).spent == Spent(3, 15, unpriced=15)
        assert postgres_server.sql("select count(*) from asyncsdk.ledger_worker", database=database) == "2"


async def test_a_late_answer_ends_an_edit_that_another_has_claimed_and_not_started(
    database_url: str, tmp_path: Path
) -> None:
    ledger = PostgresLedger(database_url)
    async with ledger.open(tmp_path, {}) as first, ledger.open(tmp_path, {}) as second:
        await first.claim([Wanted("a", "a", None)], max_edits=None, max_tokens=None)
        await first.intend("a", id="a", n=1)
        [seen] = (await first.look(["a"])).values()
        await first.mark_lapsed([evolve(seen, is_gone=True)])
        assert await ledger.release(["a"], force=True) == (["a"], {})
        assert (
            await second.claim([Wanted("a", "a", (await second.look(["a"]))["a"])], max_edits=None, max_tokens=None)
        ).keys
        await first.end("a", "done", id="a", files=("a.png",), usage=USAGE)
        with pytest.raises(ClaimLostError):
            await second.intend("a", id="a", n=1)
        [state] = await second.look_up(["a"])
        assert state is not None
        assert (state.status, state.files) == ("done", ("a.png",))
        assert (await second.claim([], max_edits=None, max_tokens=None)).spent == Spent(1, 5, unpriced=5)


async def test_a_database_of_the_version_before_is_read_as_it_is_and_brought_to_this_one(
    postgres_server: PostgresServer, database: str, database_url: str, tmp_path: Path
) -> None:
    postgres_server.sql(*schema_steps(None, 2), database=database)
    worker = "insert into asyncsdk.ledger_worker (holder, run, is_over, edits, tokens) values"
    edit = "insert into asyncsdk.edit (key, id, status, epoch, holder, try, at) values"
    token = "gen_random_uuid()"
    postgres_server.sql(
        f"{worker} ({token}, 1, true, 2, 9)",
        f"{edit} ('a', 'a', 'done', 1, {token}, {token}, now())",
        database=database,
    )
    ledger = PostgresLedger(database_url)
    shown = await ledger.show()
    assert shown is not None
    assert (shown["edits"], shown["tokens"], shown["cost"], shown["unpriced"]) == (2, 9, 0, 9)
    assert [entry["id"] async for entry in ledger.entries()] == ["a"]
    async with ledger.look(tmp_path) as looked:
        assert (await looked.look_up(["a"]))[0] is not None
        assert looked.spent == Spent(2, 9, 0, 9)
    async with ledger.open(tmp_path, {}) as opened:
        granted = await opened.claim([Wanted("b", "b", None, 60)], max_edits=None, max_tokens=None, max_cost=100)
        assert (granted.keys, granted.spent) == (frozenset({"b"}), Spent(2, 9, 0, 9))
        held = await opened.claim([Wanted("c", "c", None, 60)], max_edits=None, max_tokens=None, max_cost=100)
        assert (held.keys, held.is_held_back, held.spent.cost) == (frozenset(), True, 60)
        await opened.intend("b", id="b", n=1)
        await opened.end("b", "done", id="b", usage=Usage(total_tokens=7), cost=40)
        assert (await opened.claim([], max_edits=None, max_tokens=None)).spent == Spent(3, 16, 40, 9)
    assert postgres_server.sql("select max(version) from asyncsdk.schema_version", database=database) == str(VERSION)
