"""Who holds a key in a database, who may take it, and what a late owner can still do: nothing."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from attrs import evolve

from asyncsdk.clock import boot_time
from asyncsdk.errors import JournalError, UploadBusyError
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.uploads.journal import Owner
from asyncsdk.uploads.journal.postgres import PostgresJournal
from tests.journal.support import KEY, append_parts, opened, part
from tests.postgres.proxy import Proxy, proxy_to
from tests.postgres.server import PostgresServer
from tests.waiting import until

SHORT = LeaseTerms(lease=0.4, renew_every=0.1)
LAPSE = "update asyncsdk.holder set until = clock_timestamp() - interval '1 second'"


def other(url: str, number: int = 0) -> PostgresJournal:
    """A journal as another process has it: with a holder of its own. `number`: of several."""
    return PostgresJournal(url, terms=evolve(SHORT, renew_every=0.1 + number / 1000))


def rival(url: str, number: int) -> PostgresJournal:
    """The same, with a lease that does not lapse while a test runs."""
    return PostgresJournal(url, terms=LeaseTerms(renew_every=20 + number))


def renewals_of(proxy: Proxy) -> int:
    return sum(b"Renew the lease" in each for each in proxy.statements)


async def test_a_late_owner_writes_nothing_and_learns_why(
    postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    async with PostgresJournal(database_url).claim(KEY) as late:
        await late.append(opened())
        postgres_server.sql(LAPSE, database=database)
        async with other(database_url).claim(KEY) as log:
            assert log.records == (opened(),)
            with pytest.raises(JournalError, match="another process has taken over this upload") as caught:
                await late.append(part(0))
            assert caught.value.resumable
            assert "completes nothing" in str(caught.value)
            await log.append(part(1))
        assert late.records == (opened(),)
    async with other(database_url).claim(KEY) as log:
        assert log.records == (opened(), part(1))


async def test_a_late_owner_gives_nothing_back_that_is_anothers(
    postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    held, leave = asyncio.Event(), asyncio.Event()

    async def be_late() -> None:
        async with PostgresJournal(database_url).claim(KEY):
            held.set()
            await leave.wait()

    late = asyncio.ensure_future(be_late())
    await held.wait()
    postgres_server.sql(LAPSE, database=database)
    async with other(database_url).claim(KEY):
        leave.set()
        await late
        with pytest.raises(UploadBusyError):
            async with PostgresJournal(database_url).claim(KEY, wait=False):
                pytest.fail("claimed twice")


async def test_a_claim_that_lapsed_and_that_nobody_took_is_still_its_owners(
    postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    async with PostgresJournal(database_url).claim(KEY) as log:
        postgres_server.sql(LAPSE, database=database)
        await log.append(opened())
    async with PostgresJournal(database_url).claim(KEY) as log:
        assert log.records == (opened(),)


async def test_what_lapsed_is_not_taken_before_one_lease_of_unbroken_connection(
    postgres_server: PostgresServer, database: str, database_url: str
) -> None:
    async with PostgresJournal(database_url).claim(KEY):
        postgres_server.sql(LAPSE, database=database)
        started = asyncio.get_running_loop().time()
        async with other(database_url).claim(KEY):
            assert asyncio.get_running_loop().time() - started >= SHORT.lease


async def test_a_lease_is_renewed_while_something_is_held_and_by_one_of_many(
    postgres_server: PostgresServer, database_url: str
) -> None:
    async with proxy_to(postgres_server.port) as proxy:
        url = proxy.through(database_url)
        journal = other(url)
        started = asyncio.get_running_loop().time()
        async with journal.claim("first"):
            async with journal.claim("second"):
                await asyncio.sleep(0.6)  # more than one lease
                await until(lambda: renewals_of(proxy) >= 2)
            renewals, elapsed = renewals_of(proxy), asyncio.get_running_loop().time() - started
            assert renewals <= elapsed / SHORT.renew_every + 2
            await until(lambda: renewals_of(proxy) > renewals)  # the other one renews it now
            with pytest.raises(UploadBusyError):
                async with other(database_url, 1).claim("first", wait=False):
                    pytest.fail("taken from a living process")


async def test_a_process_has_two_connections_at_most_and_none_when_it_holds_nothing(
    postgres_server: PostgresServer, database_url: str
) -> None:
    async with proxy_to(postgres_server.port) as proxy:
        url = proxy.through(database_url)
        most = 0

        async def work(number: int) -> None:
            nonlocal most
            async with other(url).claim(f"key{number}") as log:
                await append_parts(log)
                await until(lambda: proxy.connections >= 2)  # the second one is that of the lease
                await asyncio.sleep(0.1)
                most = max(most, proxy.connections)

        await asyncio.gather(*map(work, range(20)))
        assert most == 2
        await until(lambda: proxy.connections == 0)


async def test_records_that_wait_together_share_one_statement(
    postgres_server: PostgresServer, database_url: str
) -> None:
    async with proxy_to(postgres_server.port) as proxy:
        journal = PostgresJournal(proxy.through(database_url))
        async with journal.claim("a") as first, journal.claim("b") as second:
            proxy.statements.clear()
            await asyncio.gather(*(log.append(part(number)) for log in (first, second) for number in range(8)))
        assert sum(b"Append records" in each for each in proxy.statements) == 1


async def test_of_many_claims_that_begin_together_one_takes_the_lease(
    postgres_server: PostgresServer, database_url: str
) -> None:
    async with proxy_to(postgres_server.port) as proxy:
        journal = PostgresJournal(proxy.through(database_url))

        async def claim(number: int) -> None:
            async with journal.claim(f"key{number}"):
                pass

        await asyncio.gather(*map(claim, range(6)))
        assert renewals_of(proxy) == 1


async def test_of_ten_that_begin_at_once_on_an_empty_database_all_get_what_they_want(database_url: str) -> None:
    async def begin(number: int) -> None:
        async with rival(database_url, number).claim(f"key{number}") as log:
            await log.append(opened(key=f"key{number}"))

    await asyncio.gather(*map(begin, range(10)))
    assert len(await PostgresJournal(database_url).entries()) == 10


async def test_of_many_that_want_one_new_key_each_has_it_once(database_url: str) -> None:
    async def begin(number: int) -> None:
        async with rival(database_url, number).claim(KEY) as log:
            await log.append(part(number))

    await asyncio.gather(*map(begin, range(6)))
    async with PostgresJournal(database_url).claim(KEY) as log:
        assert sorted(record.at for record in log.records) == [part(number).at for number in range(6)]
        assert log.epoch == 7


STOPPED = """
import asyncio, sys
sys.path.insert(0, {root!r})
from asyncsdk.errors import JournalError
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.uploads.journal.postgres import PostgresJournal
from tests.journal.support import KEY, opened, part
async def main():
    async with PostgresJournal({url!r}, terms=LeaseTerms(lease=0.4, renew_every=0.1)).claim(KEY) as log:
        await log.append(opened())
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        try:
            await log.append(part(0))
        except JournalError as error:
            print(str(error).partition(":")[0], flush=True)
asyncio.run(main())
"""


async def test_a_process_that_is_stopped_for_longer_than_its_lease_is_refused_when_it_goes_on(
    database_url: str,
) -> None:
    root = str(Path(__file__).parent.parent.parent)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STOPPED.format(root=root, url=database_url),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert await child.stdout.readline() == b"held\n"
        child.send_signal(signal.SIGSTOP)
        told: list[Owner | None] = []
        async with other(database_url).claim(KEY, on_busy=told.append) as log:
            child.send_signal(signal.SIGCONT)
            child.stdin.write(b"\n")
            assert (await child.stdout.readline()).startswith(b"another process has taken over this upload")
            await log.append(part(1))
            assert log.records == (opened(), part(1))
        assert [owner.pid for owner in told if owner] == [child.pid]
        assert await child.wait() == 0
    finally:
        if child.returncode is None:
            child.kill()


async def test_a_lease_that_is_not_good_is_renewed_before_anything_is_written(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = 0.0
    monkeypatch.setattr("asyncsdk.postgres.database.boot_time", lambda: boot_time() + ahead)
    async with proxy_to(int(database_url.rpartition(":")[2].partition("/")[0])) as proxy:
        url = proxy.through(database_url)
        async with PostgresJournal(url).claim(KEY) as log:
            await log.append(opened())
            proxy.statements.clear()
            ahead = 41.0  # the machine slept
            await log.append(part(0))
    names = [b"Renew" in each for each in proxy.statements if b"Renew" in each or b"Append" in each]
    assert names[:2] == [True, False]
