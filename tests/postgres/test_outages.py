"""A database that goes away, at any statement or for a while: nothing is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from asyncsdk.errors import JournalError
from asyncsdk.postgres import connection
from asyncsdk.postgres.faults import pause_after
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.postgres.statements import statement
from asyncsdk.uploads.journal.postgres import PostgresJournal
from tests.faults.leaving import cancelled_at_once
from tests.journal.support import KEY, append_parts, completed, opened, part
from tests.postgres.proxy import Proxy, When, proxy_to
from tests.postgres.server import PostgresServer, running
from tests.waiting import until

STATEMENTS = [
    "facts", "schema_lock", "schema_1", "COMMIT;", "version", "holder_renew", "upload_claim", "upload_read",
    "upload_append", "upload_compact", "upload_purge_begin", "upload_release",
]  # fmt: skip


def through(proxy: Proxy, url: str) -> PostgresJournal:
    return PostgresJournal(proxy.through(url))


def said(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """By us: asyncio may speak, too, of a future that asyncpg left."""
    return [record for record in caplog.records if record.name.startswith("asyncsdk.")]


def of_asyncpg() -> list[object]:
    return [each for each in asyncio.all_tasks() if "asyncpg" in str(each.get_coro())]


async def two_claims(journal: PostgresJournal) -> None:
    async with journal.claim(KEY) as log:
        await log.append(opened())
        await append_parts(log)
        await log.append_final(completed())
        assert log.records == (opened(), completed())
    async with journal.claim(KEY) as log:
        await log.append(opened("upload_2"))
        assert log.records == (opened(), completed(), opened("upload_2"))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", STATEMENTS)
async def test_a_connection_cut_at_any_statement_loses_and_doubles_nothing(
    postgres_server: PostgresServer, database: str, database_url: str, name: str, when: When
) -> None:
    async with proxy_to(postgres_server.port) as proxy:
        proxy.cut(name, when)
        await two_claims(through(proxy, database_url))
        assert proxy.cuts_left == 0
    rows = postgres_server.sql(
        f"select epoch, number, kind from asyncsdk.upload_record where key = '{KEY}' order by 1, 2", database=database
    )
    assert rows.split("\n") == ["1|1|opened", "1|10|completed", "2|1|opened"]
    held = postgres_server.sql("select count(*) from asyncsdk.upload_key where holder is not null", database=database)
    assert held == "0"


async def test_tables_are_made_in_a_database_that_is_slower_than_a_renewal_may_be(
    postgres_server: PostgresServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, limit = connection.make_schema, 1.0

    async def make_slowly(*arguments: Any) -> None:
        await asyncio.sleep(limit + 0.2)
        await make(*arguments)

    monkeypatch.setattr("asyncsdk.postgres.database.FIRST_SECONDS", limit)
    monkeypatch.setattr(connection, "make_schema", make_slowly)
    async with proxy_to(postgres_server.port) as proxy:
        journal = PostgresJournal(proxy.through(database_url), terms=LeaseTerms(lease=1.0, renew_every=0.3))
        async with asyncio.timeout(20), journal.claim(KEY) as log:
            await log.append(opened())
        begun = [each for each in proxy.statements if statement("schema_lock").encode() in each]
        assert len(begun) == 1, "what is cut short is begun again"


async def test_an_outage_is_waited_out_and_said_once(
    postgres_server: PostgresServer, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxy_to(postgres_server.port) as proxy:
        async with through(proxy, database_url).claim(KEY) as log:
            await log.append(opened())
            proxy.go_away()
            with caplog.at_level(logging.INFO, logger="asyncsdk.postgres"):
                appends = [asyncio.ensure_future(log.append(part(number))) for number in range(3)]
                await until(lambda: said(caplog))
                await asyncio.sleep(0.5)
                assert not any(append.done() for append in appends)
                proxy.is_away = False
                await asyncio.gather(*appends)
        assert [record.levelname for record in said(caplog)] == ["WARNING", "INFO"]
        assert "It is waited for" in said(caplog)[0].message
        assert "it answers again" in said(caplog)[1].message
    async with PostgresJournal(database_url).claim(KEY) as log:
        assert log.records == (opened(), part(0), part(1), part(2))


async def test_an_outage_in_which_the_upload_is_left_is_said_once(
    postgres_server: PostgresServer, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxy_to(postgres_server.port) as proxy:
        with caplog.at_level(logging.WARNING, logger="asyncsdk.postgres"):
            async with through(proxy, database_url).claim(KEY) as log:
                await log.append(opened())
                proxy.go_away()
                appending = asyncio.ensure_future(log.append(part(0)))
                await until(lambda: said(caplog))
                appending.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await appending
        assert len(said(caplog)) == 1


async def test_an_outage_that_does_not_end_is_an_error_and_what_was_written_is_safe(
    postgres_server: PostgresServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pause(*arguments: object, patience: float, **more: bool) -> float | None:
        return pause_after(*arguments, **more, patience=min(patience, 0.5))  # type: ignore[arg-type] # what it was given

    monkeypatch.setattr("asyncsdk.postgres.connection.pause_after", pause)
    async with proxy_to(postgres_server.port) as proxy, through(proxy, database_url).claim(KEY) as log:
        await log.append(opened())
        proxy.go_away()
        with pytest.raises(JournalError, match="What it held before and what the server holds is safe") as caught:
            await log.append(part(0))
        assert caught.value.resumable
    async with PostgresJournal(database_url).claim("other"):
        pass


async def test_a_claim_that_is_left_in_an_outage_keeps_nobody(
    postgres_server: PostgresServer, database_url: str
) -> None:
    async with proxy_to(postgres_server.port) as proxy:
        inside = asyncio.Event()

        async def work() -> None:
            async with through(proxy, database_url).claim(KEY) as log:
                await log.append(opened())
                proxy.go_away()
                inside.set()
                await log.append(part(0))

        task = asyncio.ensure_future(work())
        await inside.wait()
        await asyncio.sleep(0.3)
        await cancelled_at_once(task)
        await until(lambda: not of_asyncpg())


@pytest.mark.parametrize("after", [0.001, 0.008], ids=["on its way there", "on its way back"])
@pytest.mark.parametrize("step", range(1, 13))
async def test_a_claim_that_is_cancelled_at_any_statement_leaves_the_key_and_no_connection(
    postgres_server: PostgresServer, database_url: str, monkeypatch: pytest.MonkeyPatch, step: int, after: float
) -> None:
    async with proxy_to(postgres_server.port) as proxy:
        proxy.delay = 0.005  # no statement has its answer within twice that, however fast the server
        real, calls = connection.PostgresConnection._run, 0  # noqa: SLF001 - where each statement passes

        async def run(self: connection.PostgresConnection, *arguments: object, **more: bool) -> object:
            nonlocal calls
            calls += 1
            if calls == step:
                asyncio.get_running_loop().call_later(after, task.cancel)
            return await real(self, *arguments, **more)  # type: ignore[arg-type] # what it was called with

        task = asyncio.ensure_future(two_claims(through(proxy, database_url)))
        monkeypatch.setattr(connection.PostgresConnection, "_run", run)
        with pytest.raises(asyncio.CancelledError):
            await task
        monkeypatch.undo()
        await until(lambda: proxy.connections == 0)
    async with PostgresJournal(database_url).claim(KEY, wait=False) as log:
        written = [opened(), *map(part, range(8)), completed(), opened("upload_2")]
        assert all(record in written for record in log.records)


async def test_a_server_that_is_restarted_as_after_a_power_cut_keeps_what_was_acknowledged() -> None:
    pytest.importorskip("asyncpg")
    with running() as server:
        url = server.url(server.new_database())
        async with PostgresJournal(url).claim(KEY) as log:
            for number in range(3):
                await log.append(part(number))
                await asyncio.to_thread(server.stop)
                writing = asyncio.ensure_future(log.append(part(10 + number)))
                await asyncio.to_thread(server.start)
                await writing
        async with PostgresJournal(url).claim(KEY) as log:
            assert log.records == tuple(part(number) for number in (0, 10, 1, 11, 2, 12))
