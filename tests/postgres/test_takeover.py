"""When a claim of another process is replaced: never one that lives, whatever happens between two instructions."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from asyncsdk.clock import boot_time
from asyncsdk.errors import JournalError, UploadBusyError
from asyncsdk.postgres.database import shared_database
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.postgres.statements import schema_steps, statement
from asyncsdk.postgres.url import database_url as url_of
from asyncsdk.uploads.journal.postgres import PostgresJournal
from tests.journal.support import KEY, opened, part
from tests.postgres.proxy import proxy_to
from tests.postgres.server import PostgresServer
from tests.postgres.test_claims import LAPSE, SHORT, other, renewals_of, rival
from tests.waiting import until

asyncpg = pytest.importorskip("asyncpg")

T = TypeVar("T")
SEES = "where k.key in (select g.key from given g)"
DOOR = "pg_advisory_xact_lock(7)::text is not null"  # between the snapshot of a statement and its lock
BEFORE_IT = "select count(*) from pg_locks where locktype = 'advisory' and not granted and objid = 7"


@pytest.fixture
async def connections(database_url: str) -> AsyncIterator[list[Any]]:
    made = [await asyncpg.connect(database_url, statement_cache_size=0) for _ in range(2)]
    for step in schema_steps(None, 1):
        await made[0].execute(step)
    yield made
    for each in made:
        await each.close()


@asynccontextmanager
async def held_at_the_door(quick: Any, statement: Awaitable[T]) -> AsyncIterator[asyncio.Future[T]]:
    """A statement of another connection that has its snapshot, and locks nothing before the block is over."""
    await quick.execute("select pg_advisory_lock(7)")
    waiting = asyncio.ensure_future(statement)
    async with asyncio.timeout(30):
        while not await quick.fetchval(BEFORE_IT):
            assert not waiting.done()
            await asyncio.sleep(0.005)
    yield waiting
    assert not waiting.done()
    await quick.execute("select pg_advisory_unlock(7)")


async def lease(connection: Any, seconds: float = 60.0) -> uuid.UUID:
    holder = uuid.uuid4()
    await connection.fetch(statement("holder_renew"), holder, 1, "host", "machine", seconds)
    return holder


async def claim(
    connection: Any, holder: uuid.UUID, instead: uuid.UUID | None = None, *, slowly: bool = False
) -> tuple[int | None, uuid.UUID]:
    text, attempt = statement("upload_claim"), uuid.uuid4()
    if slowly:
        assert text.count(SEES) == 1
        text = text.replace(SEES, f"{SEES} and {DOOR}")
    given = {"key": KEY, "attempt": str(attempt), "theirs": instead and str(instead), "is_gone": False}
    [row] = await connection.fetch(text, holder, json.dumps([given]))
    return row["epoch"], attempt


async def test_a_key_that_is_claimed_while_a_claim_of_it_runs_is_not_taken_from_its_new_owner(
    connections: list[Any],
) -> None:
    slow, quick = connections
    gone = await lease(slow, -1.0)
    _, lapsed = await claim(slow, gone)
    late, new = await lease(slow), await lease(quick)
    async with held_at_the_door(quick, claim(slow, late, lapsed, slowly=True)) as waiting:
        assert (await claim(quick, new, lapsed))[0] == 2
    assert (await waiting)[0] is None
    assert [row["holder"] for row in await quick.fetch("select holder from asyncsdk.upload_key")] == [new]


async def test_a_free_key_that_two_claim_at_once_is_that_of_one(connections: list[Any]) -> None:
    slow, quick = connections
    late, new = await lease(slow), await lease(quick)
    _, attempt = await claim(quick, new)
    given = [{"key": KEY, "attempt": str(attempt)}]
    await quick.fetch(statement("upload_release"), new, json.dumps(given))
    async with held_at_the_door(quick, claim(slow, late, slowly=True)) as waiting:
        assert (await claim(quick, new))[0] == 2
    assert (await waiting)[0] is None


def slowly(name: str, condition: str) -> str:
    """That statement, with a moment between what it sees and what it locks."""
    text = statement(name)
    assert text.count(condition) == 1
    return text.replace(condition, f"{DOOR} and {condition}")


async def taken_meanwhile(connections: list[Any], text: str, *arguments: Any) -> list[Any]:
    """What a statement of a late owner returns, while another claims its key; `arguments` follow its holder."""
    slow, quick = connections
    late, new = await lease(slow, -1.0), await lease(quick)
    _, attempt = await claim(slow, late)
    changing = slow.fetch(text, *(late if each is None else each for each in arguments))
    async with held_at_the_door(quick, changing) as waiting:
        assert (await claim(quick, new, attempt))[0] == 2
    rows: list[Any] = await waiting
    return rows


async def test_a_record_is_refused_whose_key_is_taken_while_it_is_written(connections: list[Any]) -> None:
    record = {"key": KEY, "epoch": 1, "number": 1, "at": 0.0, "kind": "part", "line": "late"}
    text = slowly("upload_append", "k.holder = $1")
    assert await taken_meanwhile(connections, text, None, json.dumps([record])) == []
    assert await connections[1].fetch("select from asyncsdk.upload_record") == []


async def test_a_late_owner_removes_nothing_of_a_key_that_is_taken_meanwhile(connections: list[Any]) -> None:
    await connections[1].execute(f"insert into asyncsdk.upload_record values ('{KEY}', 1, 1, now(), 'part', 'line')")
    await connections[1].execute(f"insert into asyncsdk.upload_key values ('{KEY}', 0)")
    which = json.dumps([{"epoch": 1, "number": 1}])
    await taken_meanwhile(connections, slowly("upload_compact", "k.holder = $1"), None, KEY, 1, which)
    assert len(await connections[1].fetch("select from asyncsdk.upload_record")) == 1


async def test_a_key_is_not_forgotten_that_is_claimed_meanwhile(connections: list[Any]) -> None:
    text = slowly("upload_forget", "not coalesce(h.until > clock_timestamp(), false)")
    assert await taken_meanwhile(connections, text, json.dumps([{"key": KEY, "epoch": 1}])) == []
    assert len(await connections[1].fetch("select from asyncsdk.upload_key")) == 1


async def test_a_lease_that_is_renewed_after_it_was_seen_to_have_lapsed_is_left_alone(connections: list[Any]) -> None:
    one, two = connections
    holder = await lease(one, -1.0)
    _, attempt = await claim(one, holder)
    await one.fetch(statement("holder_renew"), holder, 1, "host", "machine", 60.0)
    assert (await claim(two, await lease(two), attempt))[0] is None


async def test_after_a_sleep_of_the_machine_a_lapsed_lease_is_not_taken_at_once(
    postgres_server: PostgresServer, database: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = 0.0
    monkeypatch.setattr("asyncsdk.postgres.database.boot_time", lambda: boot_time() + ahead)
    async with PostgresJournal(database_url).claim(KEY), other(database_url).claim("mine"):
        postgres_server.sql(LAPSE, database=database)
        await asyncio.sleep(SHORT.lease * 1.5)  # it has renewed steadily
        ahead = 100.0
        with pytest.raises(UploadBusyError):
            async with other(database_url).claim(KEY, wait=False):
                pytest.fail("taken without a lease of steady renewals")


async def test_after_the_databases_clock_was_set_back_a_key_of_a_process_that_is_gone_is_taken(
    connections: list[Any], database_url: str
) -> None:
    gone = await lease(connections[0], 3600.0)  # of a process elsewhere, as by a clock that was ahead
    await claim(connections[0], gone)
    async with asyncio.timeout(10), other(database_url).claim(KEY) as log:
        assert log.epoch == 2


async def test_after_the_databases_clock_was_set_back_no_lease_is_shorter_than_one_that_is_renewed_now(
    connections: list[Any],
) -> None:
    usual, alive = await lease(connections[0], 500.0), await lease(connections[0], 3600.0)
    await lease(connections[1], 60.0)
    left = "select extract(epoch from until - clock_timestamp()) from asyncsdk.holder where id = $1"
    assert 55 < await connections[0].fetchval(left, alive) <= 60
    assert await connections[0].fetchval(left, usual) > 490


async def test_what_a_batch_holds_stays_its_own_whoever_renews_a_lease(connections: list[Any]) -> None:
    batch = uuid.uuid4()
    await connections[0].execute(
        "insert into asyncsdk.holder (id, pid, host, machine, until) values ($1, 0, 'a batch', 'key', 'infinity')",
        batch,
    )
    await lease(connections[1], 60.0)
    ends = "select until = 'infinity' from asyncsdk.holder where id = $1"
    assert await connections[0].fetchval(ends, batch)


async def test_after_a_step_of_the_databases_clock_a_lapsed_lease_is_not_taken_at_once(
    postgres_server: PostgresServer, database: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = statement("holder_renew")
    async with PostgresJournal(database_url).claim(KEY), other(database_url).claim("mine"):
        await asyncio.sleep(SHORT.lease * 1.5)
        stepped = real.replace("clock_timestamp()", "(clock_timestamp() + interval '1 hour')")
        monkeypatch.setattr(
            "asyncsdk.postgres.connection.statement",
            lambda name: stepped if name == "holder_renew" else statement(name),
        )
        postgres_server.sql(LAPSE, database=database)
        with pytest.raises(UploadBusyError):
            async with other(database_url).claim(KEY, wait=False):
                pytest.fail("taken by a clock that was just set")


async def test_a_claim_that_ends_in_an_outage_is_given_back_after_it_though_its_process_goes_on(
    postgres_server: PostgresServer, database_url: str
) -> None:
    async with proxy_to(postgres_server.port) as proxy:
        journal = PostgresJournal(proxy.through(database_url))
        async with journal.claim("long") as log:
            async with journal.claim(KEY):
                proxy.go_away()
            proxy.is_away = False
            await log.append(part(0))
            async with rival(database_url, 1).claim(KEY, wait=False):
                pass
            async with journal.claim(KEY, wait=False):  # nor does it wait for itself
                pass


async def test_a_claim_is_given_back_over_a_slow_line_too(postgres_server: PostgresServer, database_url: str) -> None:
    async with proxy_to(postgres_server.port) as proxy:
        async with PostgresJournal(proxy.through(database_url)).claim(KEY):
            proxy.delay = 0.15
        async with rival(database_url, 1).claim(KEY, wait=False):
            pass


async def test_a_lease_is_renewed_in_time_where_its_connection_is_dead_and_nobody_says_so(
    postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    terms = LeaseTerms(lease=5.0, renew_every=0.5)
    read = "select until, until > clock_timestamp() from asyncsdk.holder"
    async with proxy_to(postgres_server.port) as proxy:
        url = proxy.through(database_url)
        async with PostgresJournal(url, terms=terms).claim(KEY):
            await until(lambda: proxy.connections == 2 and renewals_of(proxy) > 1)  # once on its own connection
            proxy.mute()
            await asyncio.sleep(0.1)  # what had come there is done
            muted = ends = postgres_server.sql(read, database=database)
            while ends.split("|")[0] == muted.split("|")[0]:
                ends = await asyncio.to_thread(postgres_server.sql, read, database=database)
                assert ends.endswith("t"), "it lapsed"
            proxy.cut_all()


async def test_all_that_one_process_keeps_in_a_database_goes_through_the_same_connections(database_url: str) -> None:
    url, terms = url_of(database_url), LeaseTerms()
    assert shared_database(url, terms) is shared_database(url_of(database_url), LeaseTerms())
    assert shared_database(url, terms) is not shared_database(url, SHORT)


async def test_a_record_in_whose_place_another_one_is_is_not_acknowledged(
    postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    async with PostgresJournal(database_url).claim(KEY) as log:
        await log.append(opened())
        foreign = f"insert into asyncsdk.upload_record values ('{KEY}', 1, 2, now(), 'part', 'rubbish')"
        postgres_server.sql(foreign, database=database)
        with pytest.raises(JournalError, match="another record in the place of the next one") as caught:
            await log.append(part(0))
        assert caught.value.resumable
        assert log.records == (opened(),)
        await log.append(part(1))
    async with PostgresJournal(database_url).claim(KEY) as log:
        assert log.records == (opened(), part(1))


async def test_records_whose_key_was_lost_are_read_and_written_after(
    postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    async with PostgresJournal(database_url).claim(KEY) as log:
        await log.append(opened())
    postgres_server.sql("delete from asyncsdk.upload_key", database=database)
    async with PostgresJournal(database_url).claim(KEY) as log:
        assert log.records == (opened(),)
        await log.append(part(0))
    async with PostgresJournal(database_url).claim(KEY) as log:
        assert log.records == (opened(), part(0))


async def test_a_lease_that_was_renewed_after_a_sleep_was_not_held_all_the_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept = list[float]()
    monkeypatch.setattr("asyncsdk.postgres.database.boot_time", lambda: boot_time() + sum(slept))
    database = shared_database(url_of(database_url), LeaseTerms())
    async with database.holding():
        before = boot_time()
        assert database.is_held_since(before)
        slept.append(1000.0)
        assert not database.is_held_since(before)
        await database.ensure_lease()
        assert database.has_good_lease
        assert not database.is_held_since(before)
        assert database.is_held_since(before + 1001.0)
