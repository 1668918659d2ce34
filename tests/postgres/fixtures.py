"""Fixtures of a real Postgres: one server for a process of tests, whose one database is empty for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres.server import NoPostgresError, PostgresServer, binaries, running, unprivileged


@pytest.fixture(scope="session")
def needs_postgres() -> None:
    """Skip what starts a server of its own, in a process that says nothing of why there can't be one."""
    pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    try:
        binaries()
        unprivileged()
    except NoPostgresError as error:
        pytest.skip(f"no Postgres: {error}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server that all tests of this process share; where there can't be one, they are skipped, and say why."""
    pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    try:
        context = running()
        server = context.__enter__()
    except NoPostgresError as error:
        pytest.skip(f"no Postgres: {error}")
    try:
        yield server
    finally:
        context.__exit__(None, None, None)


@pytest.fixture
def database(postgres_server: PostgresServer) -> str:
    """The name of a database in which nothing is; to make one for each test would take most of its time."""
    if not postgres_server.database:
        postgres_server.database = postgres_server.new_database()
    postgres_server.sql("drop schema if exists asyncsdk cascade", database=postgres_server.database)
    return postgres_server.database


@pytest.fixture
def own_database(postgres_server: PostgresServer) -> str:
    """The name of a database of this test alone, whose settings it may change."""
    return postgres_server.new_database()


@pytest.fixture
def database_url(postgres_server: PostgresServer, database: str) -> str:
    """The URL of an empty database, with its password."""
    return postgres_server.url(database)
