"""Servers that are no place for a journal: a clear error before anything is sent, and the password in none."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from pathlib import Path

import pytest

from asyncsdk.errors import ConfigurationError, JournalError, JournalVersionError
from asyncsdk.postgres import connection
from asyncsdk.postgres.faults import VERSION
from asyncsdk.postgres.statements import schema_script, schema_steps, statement
from asyncsdk.uploads.journal.postgres import PostgresJournal
from tests.journal.support import KEY, opened
from tests.ports import HeldPort
from tests.postgres.server import SUPERUSER, PostgresServer

CANARY = "canary7f3a9c"


async def refused(url: str, caplog: pytest.LogCaptureFixture | None = None) -> JournalError:
    pytest.importorskip("asyncpg")
    with pytest.raises(JournalError) as caught:
        async with PostgresJournal(url).claim(KEY):
            pytest.fail("claimed")
    texts = [str(caught.value), repr(caught.value), repr(caught.value.__cause__), caplog.text if caplog else ""]
    assert CANARY not in "".join(texts)
    assert "Nothing was sent" in str(caught.value)
    return caught.value


def role(server: PostgresServer, name: str, *statements: str, database: str) -> str:
    made = f"{name}_{database}"
    server.sql(f"create role {made} login password '{CANARY}'", *statements, database=database)
    return server.url(database, user=made, password=CANARY)


async def test_a_wrong_password(
    postgres_server: PostgresServer, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        error = await refused(postgres_server.url(database, password=CANARY), caplog)
    assert "refuses the user or the password" in str(error)
    assert f"postgresql://127.0.0.1:{postgres_server.port}/{database}" in str(error)


async def test_a_database_that_does_not_exist(postgres_server: PostgresServer) -> None:
    assert "that database does not exist" in str(await refused(postgres_server.url("nothing")))


async def test_no_server_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.postgres.faults.FIRST_PATIENCE", 0.3)
    with HeldPort() as port:
        error = await refused(f"postgresql://me:{CANARY}@127.0.0.1:{port}/uploads")
    assert "no server answers at that address" in str(error)


async def test_a_host_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.postgres.faults.FIRST_PATIENCE", 0.0)
    assert "the name of its host is not known" in str(
        await refused(f"postgresql://me:{CANARY}@nothing.invalid/uploads")
    )


@pytest.mark.parametrize(
    "option", ["sslmode=verify-full&sslrootcert=/nothing/ca.crt", "sslmode=require&sslcert=/nothing/a"]
)
async def test_a_file_of_the_url_that_is_not_there(
    database_url: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncsdk.postgres.faults.FIRST_PATIENCE", 0.0)
    assert "what sslrootcert, sslcert or sslkey name" in str(await refused(f"{database_url}?{option}"))


@pytest.mark.parametrize("sslmode", ["prefer", "disable"])
@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b""])
async def test_a_server_of_another_kind(answer: bytes, sslmode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr("asyncsdk.postgres.faults.FIRST_PATIENCE", 0.0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        await asyncio.sleep(0)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await refused(f"postgresql://me:{CANARY}@127.0.0.1:{port}/uploads?sslmode={sslmode}")
    assert any(words in str(error) for words in ("not a Postgres server", "another kind of server"))


async def test_a_port_that_takes_everything_and_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr("asyncsdk.postgres.faults.FIRST_PATIENCE", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = await refused(f"postgresql://me:{CANARY}@127.0.0.1:{silent.getsockname()[1]}/uploads")
    assert "did not answer in time" in str(error)


async def test_many_that_ask_a_silent_server_wait_for_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.4)
    monkeypatch.setattr(connection, "REFUSED_SECONDS", 60.0)
    monkeypatch.setattr("asyncsdk.postgres.faults.FIRST_PATIENCE", 0.0)
    callers = list[asyncio.StreamWriter]()
    over = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer)
        await over.wait()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        url = f"postgresql://me:{CANARY}@127.0.0.1:{server.sockets[0].getsockname()[1]}/uploads"
        errors = await asyncio.gather(*(refused(url) for _ in range(5)))
        errors.append(await refused(url))
        assert len(callers) == 1
        monkeypatch.setattr(connection, "REFUSED_SECONDS", 0.0)
        await refused(url)  # it is asked again
        assert len(callers) == 2
        over.set()
    assert {("did not answer in time" in str(error), error.resumable) for error in errors} == {(True, True)}


async def test_a_database_that_is_read_only(postgres_server: PostgresServer, own_database: str) -> None:
    url = postgres_server.url(own_database)
    postgres_server.sql(f"alter database {own_database} set default_transaction_read_only = on")
    assert "it is read-only" in str(await refused(url))
    assert await PostgresJournal(url).entries() == []  # to look at it is no reason to refuse


async def test_commits_that_may_be_lost(postgres_server: PostgresServer, own_database: str) -> None:
    postgres_server.sql(f"alter database {own_database} set synchronous_commit = off")
    error = await refused(postgres_server.url(own_database))
    assert "synchronous_commit is off" in str(error)
    assert "set synchronous_commit = on" in str(error)


async def test_a_user_who_may_not_create(postgres_server: PostgresServer, database: str) -> None:
    url = role(postgres_server, "reader", database=database)
    error = await refused(url)
    assert "the user may not do what is needed" in str(error)
    assert "asyncsdk uploads schema" in str(error)


async def test_a_user_for_whom_the_schema_was_made_needs_no_more_than_the_grants(
    postgres_server: PostgresServer, database: str
) -> None:
    url = role(postgres_server, "writer", *schema_steps(None, VERSION), database=database)
    grants = [line.removeprefix("-- ") for line in statement("grants").splitlines() if line.startswith("-- grant")]
    postgres_server.sql(*(line.replace("USER", f"writer_{database}") for line in grants), database=database)
    async with PostgresJournal(url).claim(KEY) as log:
        await log.append(opened())
    [entry] = await PostgresJournal(url).entries()
    assert entry.records == (opened(),)


@pytest.mark.parametrize("made", [[], [1], [1, 2]])
async def test_what_is_printed_makes_the_schema_and_brings_an_older_one_up(
    postgres_server: PostgresServer, database: str, made: list[int]
) -> None:
    script = schema_script(VERSION)
    statements = [*(statement(f"schema_{version}") for version in made), script, script]  # it may be run again
    name = f"printed{len(made)}"
    url = role(postgres_server, name, *statements, database=database)
    versions = postgres_server.sql("select version from asyncsdk.schema_version order by 1", database=database)
    assert versions.split() == [str(version) for version in range(1, VERSION + 1)]
    grants = [line.removeprefix("-- ") for line in script.splitlines() if line.startswith("-- grant")]
    postgres_server.sql(*(line.replace("USER", f"{name}_{database}") for line in grants), database=database)
    async with PostgresJournal(url).claim(KEY) as log:
        await log.append(opened())


@pytest.mark.parametrize("made", range(1, VERSION))
async def test_a_user_who_may_not_create_is_told_that_the_schema_is_older(
    postgres_server: PostgresServer, database: str, made: int
) -> None:
    name = f"older{made}"
    url = role(postgres_server, name, *schema_steps(None, made), database=database)
    grants = [line.removeprefix("-- ") for line in statement("grants").splitlines() if line.startswith("-- grant")]
    granted = [line.replace("USER", f"{name}_{database}") for line in grants]
    postgres_server.sql(*granted, database=database)
    error = str(await refused(url))
    assert f"version {made} of its schema was made by an older asyncsdk, this one needs version {VERSION}" in error
    assert "asyncsdk uploads schema" in error
    assert "then grant again what it says" in error
    postgres_server.sql(schema_script(VERSION), *granted, database=database)
    async with PostgresJournal(url).claim(KEY) as log:
        await log.append(opened())


async def test_a_schema_that_a_newer_asyncsdk_made(
    postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    async with PostgresJournal(database_url).claim(KEY):
        pass
    postgres_server.sql("insert into asyncsdk.schema_version (version) values (99)", database=database)
    error = await refused(database_url)
    assert isinstance(error, JournalVersionError)
    assert "version 99 of its schema was made by a newer asyncsdk" in str(error)
    with pytest.raises(JournalVersionError):
        await PostgresJournal(database_url).entries()


async def test_a_schema_whose_table_is_gone(postgres_server: PostgresServer, database: str, database_url: str) -> None:
    async with PostgresJournal(database_url).claim(KEY):
        pass
    postgres_server.sql("drop table asyncsdk.upload_key", database=database)
    assert "a table of the schema asyncsdk is missing" in str(await refused(database_url))


async def test_without_asyncpg_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ConfigurationError, match=r"needs asyncpg: pip install asyncpg. Nothing was sent") as caught:
        async with PostgresJournal(f"postgresql://me:{CANARY}@db/uploads").claim(KEY):
            pytest.fail("claimed")
    assert CANARY not in str(caught.value)


async def test_no_secret_is_in_a_row_a_log_or_the_list_of_sessions(
    postgres_server: PostgresServer, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = role(postgres_server, "owner", database=database)
    postgres_server.sql(f"grant create on database {database} to owner_{database}")
    with caplog.at_level(logging.DEBUG):
        async with PostgresJournal(url).claim(KEY) as log:
            await log.append(opened())
            sessions = postgres_server.sql("select row_to_json(a) from pg_stat_activity a", database=database)
    tables = json.loads(
        postgres_server.sql(
            "select json_agg(x) from (select row_to_json(h)::text from asyncsdk.holder h union all "
            "select row_to_json(k)::text from asyncsdk.upload_key k union all "
            "select row_to_json(r)::text from asyncsdk.upload_record r) x",
            database=database,
        )
    )
    assert len(tables) >= 3
    assert CANARY not in str(tables) + sessions + caplog.text + postgres_server.log()


@pytest.mark.parametrize("way", ["PGPASSWORD", "PGSERVICE", "PGPASSFILE"])
async def test_a_password_may_come_from_where_libpq_has_it(
    postgres_server: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    server, file = postgres_server, tmp_path / "file"
    url = f"postgresql://{SUPERUSER}@127.0.0.1:{server.port}/{database}"
    if way == "PGSERVICE":
        host = f"host=127.0.0.1\nport={server.port}\ndbname={database}"
        file.write_text(f"[night]\n{host}\nuser={SUPERUSER}\npassword={server.password}\n")
        monkeypatch.setenv("PGSERVICEFILE", str(file))
        url = "postgresql://"
    file.touch()
    if way == "PGPASSFILE":
        file.write_text(f"127.0.0.1:{server.port}:*:{SUPERUSER}:{server.password}\n")
    file.chmod(0o600)
    values = {"PGPASSWORD": server.password, "PGSERVICE": "night", "PGPASSFILE": str(file)}
    monkeypatch.setenv(way, values[way])
    async with PostgresJournal(url).claim(KEY) as log:
        await log.append(opened())
    assert server.sql("select count(*) from asyncsdk.upload_record", database=database) == "1"
