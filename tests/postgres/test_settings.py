"""What an administrator may have set: isolation, timeouts, names, a primary that changes."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time

import pytest

from asyncsdk.errors import JournalError
from asyncsdk.postgres import connection
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.postgres.url import database_url as url_of
from asyncsdk.uploads.journal.postgres import PostgresJournal
from tests.journal.support import KEY, append_parts, completed, opened, part
from tests.postgres.proxy import proxy_to
from tests.postgres.server import PostgresServer
from tests.postgres.test_claims import rival

asyncpg = pytest.importorskip("asyncpg")


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
async def test_many_begin_at_once_and_share_a_key_where_transactions_are_isolated_from_each_other(
    postgres_server: PostgresServer, own_database: str, isolation: str
) -> None:
    postgres_server.sql(f"alter database {own_database} set default_transaction_isolation = '{isolation}'")
    url = postgres_server.url(own_database)

    async def begin(number: int) -> None:
        async with rival(url, number).claim(KEY) as log:
            await log.append(part(number))
        async with rival(url, number).claim(f"own{number}") as log:
            await append_parts(log, 4)
            await log.append_final(completed())

    await asyncio.gather(*map(begin, range(8)))
    async with PostgresJournal(url).claim(KEY) as log:
        assert sorted(record.at for record in log.records) == [part(number).at for number in range(8)]
    assert len(await PostgresJournal(url).entries()) == 9


async def test_a_conflict_with_another_transaction_is_not_reported_as_an_outage(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away: list[bool] = []

    async def run(self: connection.PostgresConnection, *_: object, **__: object) -> list[object]:
        away.append(self.is_away)
        if len(away) < 4:
            raise asyncpg.SerializationError("could not serialize access")
        return []

    monkeypatch.setattr(connection.PostgresConnection, "_run", run)
    caplog.set_level(logging.INFO)
    assert await connection.PostgresConnection(url_of("postgresql://db/x"), has_worked=True).run("facts") == []
    assert (away, caplog.messages) == ([False] * 4, [])


@pytest.mark.parametrize("setting", ["statement_timeout", "lock_timeout"])
async def test_a_statement_that_a_timeout_of_the_server_ended_is_run_again_on_the_same_connection(
    postgres_server: PostgresServer, own_database: str, setting: str
) -> None:
    url = postgres_server.url(own_database)
    async with PostgresJournal(url).claim(KEY):
        pass
    postgres_server.sql(f"alter database {own_database} set {setting} = '150ms'")
    async with proxy_to(postgres_server.port) as proxy:
        journal = PostgresJournal(proxy.through(url))
        async with journal.claim(KEY) as log:
            other = await asyncpg.connect(url)
            async with other.transaction():
                await other.execute("select from asyncsdk.upload_key for update")
                writing = asyncio.ensure_future(log.append(opened()))
                await asyncio.sleep(0.5)
                assert not writing.done()
            await writing
            await other.close()
            assert proxy.made == 1
    async with PostgresJournal(url).claim(KEY) as log:
        assert log.records == (opened(),)


async def test_a_primary_that_is_read_only_for_a_while_is_waited_for_and_one_that_is_from_the_first_is_not(
    postgres_server: PostgresServer, own_database: str
) -> None:
    url, read_only = (
        postgres_server.url(own_database),
        f"alter database {own_database} set default_transaction_read_only",
    )
    cut = f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{own_database}'"
    async with PostgresJournal(url).claim(KEY) as log:
        await log.append(opened())
        postgres_server.sql(f"{read_only} = on", cut)
        writing = asyncio.ensure_future(log.append(part(0)))
        await asyncio.sleep(0.5)
        assert not writing.done()
        with pytest.raises(JournalError, match=r"it is read-only.*Nothing was sent"):
            async with rival(url, 1).claim("another"):
                pytest.fail("claimed")
        postgres_server.sql(f"set default_transaction_read_only = off; {read_only} = off")
        await writing
        assert log.records == (opened(), part(0))


async def test_a_role_that_may_have_a_single_connection_keeps_its_lease(
    postgres_server: PostgresServer, own_database: str
) -> None:
    single, read = f"single_{own_database}", "select until, until > clock_timestamp() from asyncsdk.holder"
    postgres_server.sql(
        f"create role {single} login connection limit 1 password 'x'",
        f"grant create on database {own_database} to {single}",
    )
    url, terms = postgres_server.url(own_database, user=single, password="x"), LeaseTerms(lease=8.0, renew_every=0.4)
    async with PostgresJournal(url, terms=terms).claim(KEY):
        ends = set[str]()
        while len(ends) < 3:  # it was renewed twice
            until, is_alive = (await asyncio.to_thread(postgres_server.sql, read, database=own_database)).split("|")
            ends.add(until)
            assert is_alive == "t"


async def test_of_several_hosts_one_that_is_silent_does_not_hide_the_next(
    postgres_server: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = f"@127.0.0.1:{silent.getsockname()[1]},127.0.0.1:{postgres_server.port}"
        url = postgres_server.url(database).replace(f"@127.0.0.1:{postgres_server.port}", hosts)
        async with PostgresJournal(url).claim(KEY) as log:
            await log.append(opened())


@pytest.mark.parametrize(
    ("option", "variable", "name"),
    [("", "", "asyncsdk"), ("?application_name=night", "", "night"), ("", "batch", "batch")],
)
async def test_the_name_of_the_application_is_ours_where_nobody_gave_one(
    postgres_server: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch, *,
    option: str, variable: str, name: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("PGAPPNAME", variable)
    async with PostgresJournal(postgres_server.url(database) + option).claim(KEY):
        named = f"select count(*) from pg_stat_activity where datname = '{database}' and application_name = '{name}'"
        assert postgres_server.sql(named) == "1"


async def test_a_name_that_is_not_resolved_keeps_no_thread_that_the_program_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr("asyncsdk.postgres.faults.FIRST_PATIENCE", 0.0)
    ended = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        ended.wait(10)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started = time.monotonic()
    with pytest.raises(JournalError, match="not resolved in time"):
        async with PostgresJournal("postgresql://me@db.example/uploads").claim(KEY):
            pytest.fail("claimed")
    assert time.monotonic() - started < 2
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("asyncio_")] == []
    ended.set()
