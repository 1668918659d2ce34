"""Claims of many keys at the same time: they go together, and each is still its own."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest

from asyncsdk.errors import UploadBusyError
from asyncsdk.postgres.database import Database, shared_database
from asyncsdk.uploads.journal.postgres import PostgresJournal
from tests.journal.support import KEY, opened


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many of each were run; each takes long enough for what belongs together to wait for it together."""
    counts: Counter[str] = Counter()
    run = Database.run

    async def counted(self: Database, name: str, *arguments: Any, **options: Any) -> Any:
        counts[name] += 1
        await asyncio.sleep(0.02)
        return await run(self, name, *arguments, **options)

    monkeypatch.setattr(Database, "run", counted)
    return counts


async def use(journal: PostgresJournal, key: str) -> int:
    """Claim a key, write to it, and give it back; returns how many records it had."""
    async with journal.claim(key) as log:
        before = len(log.records)
        await log.append(opened())
        return before


async def test_keys_that_are_claimed_at_the_same_time_take_few_statements(
    database_url: str, statements: Counter[str]
) -> None:
    journal = PostgresJournal(database_url)
    keys = [f"key{number}" for number in range(30)]
    assert await asyncio.gather(*(use(journal, key) for key in keys)) == [0] * 30
    statements.clear()
    assert await asyncio.gather(*(use(journal, key) for key in keys)) == [1] * 30
    for name in ("upload_claim", "upload_read", "upload_append", "upload_release"):
        assert 0 < statements[name] <= 6, statements
    assert {entry.owner for entry in await journal.entries()} == {None}


async def test_of_two_claims_of_one_key_in_one_statement_one_gets_it_and_the_other_waits(
    database_url: str, statements: Counter[str]
) -> None:
    journal = PostgresJournal(database_url)
    assert await asyncio.gather(*(use(journal, each) for each in (KEY, KEY, "other"))) in ([0, 1, 0], [1, 0, 0])
    statements.clear()
    assert sorted(await asyncio.gather(*(use(journal, each) for each in (KEY, KEY)))) == [1, 1]


async def test_a_claim_that_is_cancelled_while_it_waits_for_its_statement_holds_nothing(database_url: str) -> None:
    journal = PostgresJournal(database_url)
    await use(journal, "first")
    tasks = [asyncio.ensure_future(use(journal, f"key{number}")) for number in range(8)]
    for turns in range(8):
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks[turns].cancel()
    await asyncio.wait(tasks)
    for number in range(8):
        async with PostgresJournal(database_url).claim(f"key{number}", wait=False):
            pass
    assert {entry.owner for entry in await journal.entries()} == {None}


async def test_of_keys_of_which_one_is_held_the_others_are_claimed(database_url: str) -> None:
    journal = PostgresJournal(database_url)
    async with journal.claim(KEY):

        async def claim(key: str) -> None:
            async with journal.claim(key, wait=False):
                pass

        ended = await asyncio.gather(*(claim(each) for each in ("a", KEY, "b")), return_exceptions=True)
    assert [type(each) for each in ended] == [type(None), UploadBusyError, type(None)]


async def test_a_claim_that_was_left_before_its_statement_was_repeated_for_another_is_given_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, run = PostgresJournal(database_url), Database.run
    await use(journal, "first")

    async def left_first(self: Database, name: str, *arguments: Any, **options: Any) -> Any:
        if name == "upload_claim" and not left.done():
            left.cancel()
            await asyncio.wait([left])  # as after an outage, in which the lease's connection was the first to work
        return await run(self, name, *arguments, **options)

    async def claim(key: str) -> None:
        async with journal.claim(key) as log:
            await log.append(opened())
            async with asyncio.timeout(20), PostgresJournal(database_url).claim("left"):
                pass

    async with journal.claim("first"):
        monkeypatch.setattr(Database, "run", left_first)
        kept = asyncio.ensure_future(claim("kept"))
        left = asyncio.ensure_future(use(journal, "left"))
        await kept
    assert left.cancelled()
    assert {entry.owner for entry in await journal.entries()} == {None}


async def test_keys_are_given_back_in_their_order_so_that_nothing_waits_in_a_circle(database_url: str) -> None:
    import asyncpg

    journal = PostgresJournal(database_url)
    async with journal.connected(), AsyncExitStack() as stack:
        other = await asyncpg.connect(database_url)
        stack.push_async_callback(other.close)
        for key in ("b", "a"):
            await stack.enter_async_context(journal.claim(key))
        lock = "select from asyncsdk.upload_key where key = $1 for share"
        async with other.transaction():
            await other.execute(lock, "a")
            shared = shared_database(journal.url, journal.terms)
            attempts = dict(await other.fetch("select key, attempt::text from asyncsdk.upload_key"))
            given = json.dumps([{"key": key, "attempt": attempts[key]} for key in ("b", "a")])
            release = asyncio.ensure_future(shared.run("upload_release", shared.holder, given))
            async with asyncio.timeout(20):
                while not await other.fetchval("select count(*) from pg_locks where not granted"):
                    await asyncio.sleep(0.005)
            await other.execute("set local lock_timeout = '300ms'")
            await other.execute(lock, "b")
        await release
    assert not [entry for entry in await journal.entries() if entry.owner]
