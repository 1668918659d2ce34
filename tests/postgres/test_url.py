"""A URL of a database is told from a path, and what is wrong with one is said without showing it."""

from __future__ import annotations

import pytest

from asyncsdk.errors import ConfigurationError
from asyncsdk.postgres.url import database_url, is_database_url
from asyncsdk.uploads.journal.file import FileJournal, open_journal
from asyncsdk.uploads.journal.postgres import PostgresJournal

CANARY = "canary-7f3a9c"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"postgresql://me:{CANARY}@db.example:5433/uploads", "postgresql://db.example:5433/uploads"),
        (f"postgres://me:{CANARY}@db.example/uploads?sslmode=require", "postgresql://db.example/uploads"),
        (f"postgresql://me:{CANARY}%2F%40x@[::1]:5432/uploads", "postgresql://[::1]:5432/uploads"),
        (f"postgresql:///uploads?host=/run/postgresql&password={CANARY}", "postgresql:///uploads"),
        (f"postgresql://me:{CANARY}@a:1,b:2/uploads", "postgresql://a:1,b:2/uploads"),
        ("postgresql://", "postgresql:///"),
    ],
)
def test_a_url_is_shown_without_user_password_and_options(text: str, place: str) -> None:
    url = database_url(text)
    assert (url.place, url.dsn) == (place, text)
    assert CANARY not in repr(url) + repr(PostgresJournal(text))
    assert isinstance(open_journal(text), PostgresJournal)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("postgressql://me:{}@db/uploads", "begins with postgressql:; did you mean postgresql://?"),
        ("postgresql:/me:{}@db/uploads", "begins with postgresql:; did you mean postgresql://?"),
        ("postgresql:me:{}@db/uploads", "begins with postgresql:; did you mean postgresql://?"),
        ("Postgres://me:{}@db/uploads", "begins with Postgres:; did you mean postgresql://?"),
        ("mysql://me:{}@db/uploads", "begins with mysql:. Nothing"),
        ("postgresql://me:{}/x@db/uploads", "write / as %2F"),
        ("postgresql://me:{}@x@db/uploads", "write / as %2F, @ as %40"),
        ("postgresql://me:{}#x@db/uploads", "# as %23"),
        ("postgresql://me:{}?x@db/uploads", "? as %3F"),
        ("postgresql://me:{}%x@db/uploads", "% as %25"),
        ("postgresql://me:{}@db:543x/uploads", "its port is not a number from 1 to 65535"),
        ("postgresql://me:{}@db:70000/uploads", "its port is not a number from 1 to 65535"),
        ("postgresql://me:{} @db/uploads", "a space or a control character"),
        ("postgresql://me:{}@db/uploads\n", "a space or a control character"),
        ("postgresql://me:{}@db/uploads?sslmod=require", "Did you mean sslmode?"),
        ("postgresql://me:{}@db/uploads?sslmode=requir", "It is one of allow, disable, prefer, require"),
        ("postgresql://me@db/uploads?{}", "one is not known among the options"),
        ("host=db user=me password={} dbname=uploads", "begins like this. Nothing"),
        ("password={}", "begins like this. Nothing"),
    ],
)
def test_a_typo_is_an_error_before_anything_is_sent_and_shows_no_password(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_journal(text.format(CANARY))
    assert words in str(caught.value)
    assert "Nothing was sent" in str(caught.value)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_of_several_hosts_another_is_asked_first_each_time() -> None:
    url = database_url("postgresql://me@[::1],b.example:6432,c/uploads")
    assert url.from_host(4) == {"host": ["b.example", "c", "::1"], "port": [6432, 5432, 5432]}
    assert database_url("postgresql://b.example:6432/uploads").from_host(4) == {}
    assert database_url("postgresql:///uploads?host=/run/postgresql").from_host(1) == {}


@pytest.mark.parametrize(
    "path", ["/var/lib/x", "./postgresql", "journal", "C:/x", "a:b", "postgres", "postgresql", "./host=a"]
)
def test_a_path_stays_a_path(path: str) -> None:
    assert not is_database_url(path)
    assert isinstance(open_journal(path), FileJournal)
