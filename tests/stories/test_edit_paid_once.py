"""No edit is paid twice unless that was asked for, then at most twice, and none that may be paid is forgotten."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import anyio
import pytest

from asyncsdk import AuthenticationError, ChargeUnknownError, ImageEditor, LedgerError, LimitReachedError
from tests.raw_server import Talk, answering, client_of, reply, serving
from tests.stories.edits import BUSY, LOST, all_of, done, jobs, until

WRONG_KEY = reply(401, {"error": {"message": "wrong key", "code": "invalid_api_key"}})


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Once it holds something, the ledger can't be written."""
    full: list[int] = []
    write = os.write

    def writing(descriptor: int, content: bytes) -> int:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, content)

    monkeypatch.setattr("os.write", writing)
    return full


@pytest.mark.parametrize("first", [(), (done(),)], ids=["never answered", "answered before"])
@pytest.mark.parametrize("max_retries", [2, 5])
async def test_who_may_pay_twice_does_not_pay_three_times(
    out: Path, first: tuple[bytes, ...], max_retries: int
) -> None:
    async with answering(*first, LOST) as server, client_of(server, max_retries=max_retries) as client:
        edits = ImageEditor(client).edit_many(
            jobs(1 + len(first)), out=out, on_uncertain="retry", concurrency=1, max_edits=10
        )
        async with edits as outcomes:
            *_, lost = await all_of(outcomes)
        assert lost.status == "uncertain"
        assert len(server.requests) == 2 + len(first)


async def test_what_is_turned_away_between_two_that_were_lost_does_not_count(out: Path) -> None:
    answers = [done(), LOST, *[BUSY] * 5, LOST, done()]
    async with answering(*answers) as server, client_of(server) as client:
        edits = ImageEditor(client).edit_many(jobs(2), out=out, on_uncertain="retry", concurrency=1)
        async with edits as outcomes:
            assert [each.status for each in await all_of(outcomes)] == ["done", "uncertain"]
        assert len(server.requests) == 8


async def test_what_was_lost_and_came_the_second_time_is_done_and_counts_twice(out: Path) -> None:
    async with answering(LOST, BUSY, done()) as server, client_of(server) as client:
        async with ImageEditor(client).edit_many(jobs(1), out=out, on_uncertain="retry") as outcomes:
            assert [each.status for each in await all_of(outcomes)] == ["done"]
        async with ImageEditor(client).edit_many(jobs(3), out=out, max_edits=3, concurrency=1) as outcomes:
            await until(outcomes, LimitReachedError)
            assert outcomes.counts == {"skipped": 1, "done": 1}
        assert len(server.requests) == 4


@pytest.mark.usefixtures("impatient")
async def test_what_was_lost_is_told_where_a_limit_forbids_to_repeat_it(out: Path) -> None:
    async with answering(LOST) as server, client_of(server) as client:
        edits = ImageEditor(client).edit_many(jobs(1), out=out, on_uncertain="retry", max_edits=1)
        async with edits as outcomes:
            [lost] = await until(outcomes, LimitReachedError)
            assert outcomes.counts == {"uncertain": 1}
        assert isinstance(lost.error, ChargeUnknownError)
        assert len(server.requests) == 1
        async with ImageEditor(client).edit_many(jobs(1), out=out) as outcomes:
            [again] = await all_of(outcomes)
        assert again.status == "uncertain"
        assert again.problem is not None


@pytest.mark.usefixtures("impatient")
async def test_what_was_lost_is_told_where_the_ledger_can_not_be_written(out: Path, no_room: list[int]) -> None:
    async def handle(talk: Talk) -> None:
        while True:
            await talk.hear()
            no_room.append(1)
            await talk.say(LOST)

    async with serving(handle) as server, client_of(server) as client:
        async with ImageEditor(client).edit_many(jobs(1), out=out, on_uncertain="retry") as outcomes:
            [lost] = await until(outcomes, LedgerError)
        assert lost.status == "uncertain"
        assert len(server.requests) == 1


@pytest.mark.usefixtures("impatient")
async def test_an_intent_that_could_not_be_written_releases_no_earlier_one(out: Path, no_room: list[int]) -> None:
    heard = anyio.Event()

    async def handle(talk: Talk) -> None:
        await talk.hear()
        heard.set()
        await talk.gone()

    async with serving(handle) as server, client_of(server) as client:
        async with ImageEditor(client).edit_many(jobs(1), out=out):
            await heard.wait()
        async with ImageEditor(client).edit_many(jobs(1), out=out, on_uncertain="retry") as outcomes:
            no_room.append(1)
            with pytest.raises(LedgerError):
                await all_of(outcomes)
            no_room.clear()
        async with ImageEditor(client).edit_many(jobs(1), out=out) as outcomes:
            assert [each.status for each in await all_of(outcomes)] == ["uncertain"]
        assert len(server.requests) == 1


async def test_a_wrong_key_on_the_second_try_of_what_was_lost_stops_the_run(out: Path) -> None:
    async with answering(LOST, WRONG_KEY) as server, client_of(server) as client:
        edits = ImageEditor(client).edit_many(jobs(5), out=out, on_uncertain="retry", concurrency=1)
        async with edits as outcomes:
            [lost] = await until(outcomes, AuthenticationError)
        assert isinstance(lost.error, ChargeUnknownError)
        assert len(server.requests) == 2


async def test_a_limit_on_the_second_try_of_what_was_lost_slows_the_run(out: Path) -> None:
    told = {"error": {"message": "Limit 5, Used 5, Requested 1. Please try again in 90s.", "code": "x"}}
    async with answering(LOST, reply(429, told)) as server, client_of(server, max_retries=1) as client:
        edits = ImageEditor(client).edit_many(jobs(1), out=out, on_uncertain="retry")
        async with edits as outcomes:
            while not outcomes.rate_limit_wait:
                await anyio.sleep(0.01)
            outcomes.stop()
            assert [each.status for each in await all_of(outcomes)] == ["uncertain"]
        assert len(server.requests) == 2
