"""What is in the tables: damaged rows, those of other versions, what is removed and when, an older schema."""

from __future__ import annotations

import logging

import pytest

from asyncsdk.postgres import connection, faults
from asyncsdk.postgres.statements import schema_steps, statement
from asyncsdk.uploads.journal import Expired, JournalEntry
from asyncsdk.uploads.journal.postgres import FEW_RECORDS, PostgresJournal
from tests.journal.support import KEY, NOW, append_parts, completed, opened, part
from tests.postgres.proxy import proxy_to
from tests.postgres.server import PostgresServer

DAY = 24 * 3600


async def write(url: str, *records: object, key: str = KEY) -> None:
    async with PostgresJournal(url).claim(key) as log:
        for record in records:
            await log.append(record)  # type: ignore[arg-type] # records


async def test_a_row_that_is_not_as_it_was_written_is_not_believed_and_is_kept(
    postgres_server: PostgresServer, database: str, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await write(database_url, opened(), part(0), part(1))
    change = "update asyncsdk.upload_record set line = replace(line, 'part_0', 'part_9') where number = 2"
    postgres_server.sql(change, database=database)
    with caplog.at_level(logging.WARNING, logger="asyncsdk.uploads.journal"):
        async with PostgresJournal(database_url).claim(KEY) as log:
            assert log.records == (opened(), part(1))
    assert f"{KEY}: damaged, not believed: row 2 of claim 1" in caplog.text
    postgres_server.sql("update asyncsdk.upload_record set line = 'rubbish'", database=database)
    assert await PostgresJournal(database_url).entries() == [JournalEntry(KEY, (), None)]
    assert await PostgresJournal(database_url).purge(now=NOW + 400 * DAY) == 0


async def test_a_few_records_are_left_as_they_are(
    postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    async with PostgresJournal(database_url).claim(KEY) as log:
        await log.append(opened())
        await append_parts(log, FEW_RECORDS - 2)
        await log.append_final(completed())
    assert postgres_server.sql("select count(*) from asyncsdk.upload_record", database=database) == str(FEW_RECORDS)


async def test_once_a_day_one_process_removes_what_is_of_no_use(
    postgres_server: PostgresServer, database: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncsdk.uploads.journal.postgres.token", lambda: "")  # from which key on
    await write(database_url, opened(expires_at=int(NOW) - 9 * DAY), key="old")
    postgres_server.sql("update asyncsdk.holder set until = until - interval '2 days'", database=database)

    async def settle() -> list[str]:
        async with PostgresJournal(database_url).claim("new") as log:
            await log.append_final(Expired(upload="upload_2", reason=""))
        return [entry.key for entry in await PostgresJournal(database_url).entries()]

    assert await settle() == ["new", "old"]
    postgres_server.sql("update asyncsdk.upload_purge set at = at - interval '25 hours'", database=database)
    assert await settle() == ["new"]
    await write(database_url, opened(expires_at=int(NOW) - 9 * DAY), key="old")
    assert await settle() == ["new", "old"]
    lapsed = "select count(*) from asyncsdk.holder where until < clock_timestamp() - interval '1 day'"
    assert postgres_server.sql(lapsed, database=database) == "0"


async def test_a_long_journal_is_listed_over_one_connection(
    postgres_server: PostgresServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncsdk.uploads.journal.postgres.PAGE", 2)
    for number in range(7):
        await write(database_url, opened(), key=f"key{number}")
    async with proxy_to(postgres_server.port) as proxy:
        journal = PostgresJournal(proxy.through(database_url))
        assert [entry.key async for entry in journal.stream()] == [f"key{number}" for number in range(7)]
        assert proxy.made == 1


async def test_an_older_schema_is_brought_to_this_version(
    postgres_server: PostgresServer, database: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(database_url, opened())
    step = "create table asyncsdk.later (); insert into asyncsdk.schema_version (version) values (7)"
    for module in (connection, faults):
        monkeypatch.setattr(module, "VERSION", 7)
    monkeypatch.setattr(connection, "schema_steps", lambda made, _: [step] if made == 6 else [])
    async with PostgresJournal(database_url).claim(KEY) as log:
        assert log.records == (opened(),)
    assert (
        postgres_server.sql("select version from asyncsdk.schema_version", database=database) == "1\n2\n3\n4\n5\n6\n7"
    )
    assert postgres_server.sql("select count(*) from asyncsdk.later", database=database) == "0"


def test_the_steps_from_one_version_to_another() -> None:
    assert schema_steps(None, 1) == [statement("schema_1")]
    assert schema_steps(1, 3) == [statement("schema_2"), statement("schema_3")]
    assert schema_steps(1, 1) == []


def test_each_statement_says_its_law() -> None:
    from pathlib import Path

    import asyncsdk.postgres

    folder = Path(asyncsdk.postgres.__file__).parent / "sql"
    for path in folder.glob("*.sql"):
        top = path.read_text().split("\n")
        assert top[0].startswith("-- "), path.name
        comment = [line for line in top if line.startswith("--")]
        assert any(line.startswith("-- Law: ") for line in comment), path.name
    assert len(list(folder.glob("*.sql"))) == 64
