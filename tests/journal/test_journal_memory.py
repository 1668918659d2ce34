"""The journal that forgets with the process keeps the same contract."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from asyncsdk.errors import JournalError, UploadBusyError
from asyncsdk.uploads.journal import JournalEntry, Owner
from asyncsdk.uploads.journal.memory import MemoryJournal
from tests.journal.support import KEY, NOW, completed, opened, part

DAY = 24 * 3600
THIS = Owner(os.getpid(), socket.gethostname())


async def test_what_one_claim_wrote_the_next_one_reads() -> None:
    journal = MemoryJournal()
    async with journal.claim(KEY) as log:
        await log.append(opened())
        assert log.records == (opened(),)
    async with journal.claim(KEY) as log, journal.claim("other") as other:
        assert log.records == (opened(),)
        assert other.records == ()
    async with MemoryJournal().claim(KEY) as log:
        assert log.records == ()


async def test_settling_leaves_the_opening_and_the_last_word() -> None:
    journal = MemoryJournal()
    async with journal.claim(KEY) as log:
        await log.append(opened())
        await log.append(part(0))
        await log.append_final(completed())
        assert log.records == (opened(), completed())
    assert await journal.entries() == [JournalEntry(KEY, (opened(), completed()), None)]


async def test_nothing_is_appended_once_the_claim_is_over() -> None:
    async with MemoryJournal().claim(KEY) as log:
        pass
    with pytest.raises(JournalError, match="the claim is over"):
        await log.append(opened())


async def test_a_second_claim_waits_for_the_first_and_is_told_of_it_once() -> None:
    journal = MemoryJournal()
    told: list[Owner | None] = []

    async def second() -> int:
        async with journal.claim(KEY, on_busy=told.append) as log:
            return len(log.records)

    async with journal.claim(KEY) as log:
        task = asyncio.ensure_future(second())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await log.append(opened())
        assert told == [THIS]
        assert not task.done()
    assert await task == 1


async def test_a_second_claim_that_will_not_wait_is_refused() -> None:
    journal = MemoryJournal()
    async with journal.claim(KEY):
        with pytest.raises(UploadBusyError, match=f"process {os.getpid()}"):
            async with journal.claim(KEY, wait=False):
                pytest.fail("claimed twice")
        assert await journal.entries() == [JournalEntry(KEY, (), THIS)]
    async with journal.claim(KEY, wait=False):
        pass


async def test_a_waiter_that_is_cancelled_and_a_body_that_raises_leave_the_key_free() -> None:
    journal = MemoryJournal()

    async def wait() -> None:
        async with journal.claim(KEY):
            pytest.fail("claimed twice")

    async def fail() -> None:
        async with journal.claim(KEY):
            task = asyncio.ensure_future(wait())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with journal.claim(KEY, wait=False):
        pass


async def test_purging_forgets_what_nobody_can_use_and_nobody_holds() -> None:
    journal = MemoryJournal()
    for key in ("pending", "completed", "held"):
        async with journal.claim(key) as log:
            await log.append(opened())
    async with journal.claim("completed") as log:
        await log.append_final(completed())
    async with journal.claim("held"):
        assert await journal.purge(now=NOW) == 0
        assert await journal.purge(now=NOW + 2 * DAY) == 1
        assert [entry.key for entry in await journal.entries()] == ["completed", "held"]
    assert await journal.purge(now=NOW + 365 * DAY) == 2
    assert await journal.entries() == []


async def test_a_process_that_lives_long_forgets_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = NOW
    monkeypatch.setattr("asyncsdk.uploads.journal.memory.time.time", lambda: clock)
    journal = MemoryJournal()
    async with journal.claim("old") as log:
        await log.append(opened())
    clock += 2 * DAY
    async with journal.claim("new") as log:
        await log.append_final(completed(at=clock))
        assert [entry.key for entry in await journal.entries()] == ["new"]


def test_it_serves_one_loop_after_another() -> None:
    journal = MemoryJournal()

    async def contend() -> None:
        async def own() -> None:
            async with journal.claim(KEY):
                await asyncio.sleep(0)

        await asyncio.gather(own(), own())

    asyncio.run(contend())
    asyncio.run(contend())
