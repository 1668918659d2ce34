"""Fixtures of a real Postgres: one server for a process of tests, a database for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres.server import NoPostgresError, PostgresServer, running


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
    """The name of an empty database."""
    return postgres_server.new_database()


@pytest.fixture
def database_url(postgres_server: PostgresServer, database: str) -> str:
    """The URL of an empty database, with its password."""
    return postgres_server.url(database)
