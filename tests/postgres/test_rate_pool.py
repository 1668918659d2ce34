"""A rate pool in a real database: its row is what the pure rule says, whoever changes it and whatever gets lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from asyncsdk.errors import ConfigurationError, RateLimitError
from asyncsdk.postgres.database import Database
from asyncsdk.postgres.faults import VERSION
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.postgres.rate_pool import PoolLimiter
from asyncsdk.postgres.statements import schema_script
from asyncsdk.postgres.url import database_url as url_of
from asyncsdk.ratelimit import INPUT_IMAGES, MARGIN, Permit, RateLimit
from asyncsdk.ratepool import LONGEST_TRUST, Reading
from tests.faults.leaving import stopwatch
from tests.postgres.proxy import When, proxy_to
from tests.postgres.server import PostgresServer
from tests.waiting import until

ROW = "select to_json(p) from asyncsdk.rate_pool p"


@asynccontextmanager
async def process(url: str, *, per_minute: float | None = 600, run: int = 1) -> AsyncIterator[PoolLimiter]:
    """A limiter with connections of its own, as another process has it."""
    database = Database(url_of(url), LeaseTerms())
    limiter = PoolLimiter(INPUT_IMAGES, per_minute, "shop", run, database)
    async with database.session(), limiter.open():
        yield limiter


@asynccontextmanager
async def taking(limiter: PoolLimiter, *, at_once: int = 8) -> AsyncIterator[list[float]]:
    """For when it lets something be sent within the block, by the database's clock, which is that of `time.time` here.

    When a waiting task hears of it depends on the machine.
    """
    moments = list[float]()

    async def one() -> None:
        while True:
            moments.append((await limiter.acquire(1)).at)

    group = asyncio.gather(*(one() for _ in range(at_once)))
    yield moments
    group.cancel()
    with pytest.raises(asyncio.CancelledError):
        await group


async def taken(limiter: PoolLimiter, seconds: float) -> list[float]:
    async with taking(limiter) as moments:
        await asyncio.sleep(seconds)
    return moments


def reading_of(limiter: PoolLimiter) -> Reading:
    reading = limiter._share.reading  # noqa: SLF001
    assert reading is not None
    return reading


def limit_of(limiter: PoolLimiter) -> RateLimit:
    return reading_of(limiter).limit


def refusal(seconds: float) -> RateLimitError:
    return RateLimitError(f"Please try again in {seconds}s.", status_code=429)


async def test_two_processes_have_one_rate(database_url: str) -> None:
    async with process(database_url) as first, process(database_url, per_minute=None) as second:
        began = time.monotonic()
        with stopwatch() as watch:
            ours, theirs = await asyncio.gather(taken(first, 3.0), taken(second, 3.0))
            awake = min(3.0, watch.seconds)
        moments = ours + theirs
        seconds = time.monotonic() - began
        assert len(moments) <= 10 * MARGIN * (seconds + 0.5) + 1
        assert len(moments) >= 10 * MARGIN * 0.8 * awake
        assert first.rate == second.rate == 600 * MARGIN


async def test_one_process_has_all_of_the_rate(database_url: str) -> None:
    async with process(database_url, per_minute=1200) as limiter:
        with stopwatch() as watch:
            moments = await taken(limiter, 2.0)
            assert len(moments) >= 20 * MARGIN * 0.8 * min(2.0, watch.seconds)


async def test_a_429_in_one_process_holds_the_other_within_a_second(database_url: str) -> None:
    async with process(database_url) as first, process(database_url) as second:
        permit = await first.acquire(1)
        async with taking(second) as moments:
            await until(lambda: len(moments) > 5)
            refused = time.time()
            first.refused(refusal(3.0), permit)
            await until(lambda: limit_of(first).episode)
            written = time.time()  # at the latest
            await until(lambda: moments[-1] > refused + 3.0)
        assert [at for at in moments if at < refused] != []
        assert [at for at in moments if written + LONGEST_TRUST < at < refused + 2.9] == []


async def test_without_a_limit_nothing_waits_until_one_process_hears_it(database_url: str) -> None:
    async with process(database_url, per_minute=None) as first, process(database_url, per_minute=None) as second:
        permits = [await first.acquire(1) for _ in range(50)]
        assert [await second.acquire(1) for _ in range(50)]
        assert first.rate is None
        await asyncio.sleep(0.3)  # as an answer takes
        first.refused(
            RateLimitError("on input-images per min: Limit 60. Try again in 1s.", status_code=429), permits[-1]
        )
        await until(lambda: first.rate)
        await asyncio.sleep(LONGEST_TRUST + 0.1)
        await asyncio.wait_for(second.acquire(1), 5)
        assert first.rate == second.rate == 60 * MARGIN


async def test_the_slots_of_a_process_that_is_gone_are_forfeited_and_no_more(
    postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    async with process(database_url, per_minute=300) as killed:
        waiting = [asyncio.ensure_future(killed.acquire(1)) for _ in range(30)]
        await until(lambda: len([each for each in waiting if each.done()]) > 1)  # given by its first change of the row
        killed._share._unused.clear()  # noqa: SLF001 - it reports nothing more
        killed._share._line.clear()  # noqa: SLF001
        killed._is_over = True  # noqa: SLF001
        for each in waiting:
            each.cancel()
        row = json.loads(postgres_server.sql(ROW, database=database))
        given = row["next_at"] - row["changed_at"]
        assert given < 1.5
        async with process(database_url, per_minute=300) as other:
            opened = reading_of(other).clock
            slot = await other.acquire(1)
            assert row["next_at"] - 0.001 <= slot.at <= max(row["next_at"], opened) + 0.5


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_change_whose_answer_is_lost_is_made_once(
    postgres_server: PostgresServer, database: str, database_url: str, when: When
) -> None:
    async with proxy_to(postgres_server.port) as proxy, process(proxy.through(database_url)) as limiter:
        before = json.loads(postgres_server.sql(ROW, database=database))["version"]
        proxy.cut("pool_change", when)
        await limiter.acquire(3)
        row = json.loads(postgres_server.sql(ROW, database=database))
        assert proxy.cuts_left == 0
        assert row["version"] > before  # on a slow machine it reports a second time
        assert sum(row["sent"][1::2]) == 3


async def test_a_database_that_is_away_lets_nothing_begin_and_goes_on_when_it_is_back(
    postgres_server: PostgresServer, database_url: str
) -> None:
    async with (
        proxy_to(postgres_server.port) as proxy,
        process(proxy.through(database_url), per_minute=1200) as limiter,
    ):
        async with taking(limiter) as moments:
            await until(lambda: len(moments) > 5)
            proxy.go_away()
            away = time.time()
            await asyncio.sleep(LONGEST_TRUST + 0.6)
            back = time.time()
            proxy.is_away = False
            await until(lambda: moments[-1] > back)
        assert [at for at in moments if away + LONGEST_TRUST < at < back] == []


async def test_another_limit_in_the_same_run_is_refused_and_in_the_next_run_it_counts(database_url: str) -> None:
    async with process(database_url, per_minute=600):
        with pytest.raises(ConfigurationError, match=r"rate_pool=shop has a limit of 600 .* this call gives 60\."):
            async with process(database_url, per_minute=60):
                pass
    async with process(database_url, per_minute=60, run=2) as limiter:
        assert limiter.rate == 60 * MARGIN


async def test_a_row_that_is_gone_is_made_again(
    postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    async with process(database_url) as limiter:
        await limiter.acquire(1)
        postgres_server.sql("delete from asyncsdk.rate_pool", database=database)
        await asyncio.wait_for(limiter.acquire(1), 5)
        assert limiter.rate == 600 * MARGIN


async def test_a_cancelled_wait_holds_nobody_up(database_url: str) -> None:
    async with process(database_url, per_minute=60) as limiter:
        await limiter.acquire(1)
        waits = [asyncio.ensure_future(limiter.acquire(1)) for _ in range(3)]
        await asyncio.sleep(0.1)
        for each in waits[:2]:
            each.cancel()
        permit = await asyncio.wait_for(waits[2], 5)
        assert isinstance(permit, Permit)


async def test_a_schema_of_the_version_before_gets_its_pools(
    postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    postgres_server.sql(schema_script(2), database=database)
    async with process(database_url) as limiter:
        await limiter.acquire(1)
    assert postgres_server.sql("select max(version) from asyncsdk.schema_version", database=database) == str(VERSION)
