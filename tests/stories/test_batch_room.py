"""Calls that wait for room under a limit in dollars: what ends them, and what fails meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from asyncsdk import Client, ImageEdit, ImageEditor, LimitReachedError, PostgresLedger, api
from asyncsdk.images.batch.memory import FileBatches
from asyncsdk.images.costs.money import NANOS
from asyncsdk.images.costs.pricing import Pricing
from asyncsdk.images.costs.table import packaged
from asyncsdk.images.ledger.book import BatchRecord
from asyncsdk.server import Fault, LocalServer
from asyncsdk.server.batches.lines import refused
from tests.stories.batches import QUICK, batch, direct, edits, ended, message, only, statuses
from tests.stories.test_batch_costs import PLAIN, SHORT, most_of, spent


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    """Its batches do not end by themselves."""
    async with LocalServer(tmp_path / "server", batch_seconds=600, documented_tokens=True) as running:
        yield running


@pytest.fixture
async def editor(server: LocalServer) -> AsyncIterator[ImageEditor]:
    async with Client("sk-test", base_url=server.url, timing=QUICK) as client:
        yield ImageEditor(client)


async def fail(server: LocalServer) -> None:
    """The first batch fails as a whole, since the queue is full."""
    repository = server._repository  # noqa: SLF001
    problem, now = refused("token_limit_exceeded", "The queue is full."), repository.now()
    await repository.change_batch(server.batches[0].id, lambda each: each.entered("failed", now, refusals=(problem,)))


async def test_an_error_of_the_list_ends_a_call_that_waits_for_room(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    async def jobs() -> AsyncIterator[ImageEdit]:
        for each in edits(9, **PLAIN):
            yield each
        raise RuntimeError("the list broke off")

    limit = 2 * await most_of(editor, **PLAIN)
    async with asyncio.timeout(20):
        with pytest.raises(RuntimeError, match="the list broke off"):
            await batch(editor, jobs(), out, max_cost=limit)
    assert [each.total or 4 for each in server.batches] == [4]
    assert await spent(out) == pytest.approx(limit, rel=1e-6)


async def test_what_was_taken_for_lost_counts_on_though_its_batch_failed_as_a_whole(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    most = await most_of(editor, **PLAIN)
    await batch(editor, edits(3, **PLAIN), out, detach=True)
    await fail(server)
    server.inject(Fault("batches.get", "answer", status=404, times=1000))
    assert statuses((await batch(editor, edits(3, **PLAIN), out))[0]) == only("uncertain", 3)
    server.clear_faults()
    with pytest.raises(LimitReachedError):
        async with asyncio.timeout(20):
            await batch(editor, edits(4, **PLAIN)[::-1], out, max_cost=1.7 * most)
    assert len(server.batches) == 1
    assert await spent(out) == pytest.approx(1.5 * most, rel=1e-6)


async def test_an_edit_that_comes_while_its_batch_fails_as_a_whole_is_free_for_the_next_call(
    editor: ImageEditor, server: LocalServer, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, withdraw, jobs = await most_of(editor, **PLAIN), FileBatches.withdraw, edits(4, **PLAIN)
    await batch(editor, jobs[:3], out, detach=True)
    is_failing, has_come = asyncio.Event(), asyncio.Event()

    async def slow(memory: FileBatches, record: BatchRecord, keep: Collection[str]) -> frozenset[str]:
        is_failing.set()
        await has_come.wait()
        return await withdraw(memory, record, keep)

    async def some() -> AsyncIterator[ImageEdit]:
        yield jobs[3]  # there is no room for it, so that the earlier batch is looked at
        await is_failing.wait()
        yield jobs[0]
        await asyncio.sleep(0.3)
        has_come.set()

    monkeypatch.setattr(FileBatches, "withdraw", slow)
    await fail(server)
    async with asyncio.timeout(20):
        found, _ = await batch(editor, some(), out, max_cost=1.6 * most, detach=True)
    assert statuses(found) == {"e1": "failed", "e4": "batched"}
    assert "Nothing was paid for it, and the same call sends it again" in message(found["e1"])
    assert await spent(out) == pytest.approx(0.5 * most, rel=1e-6)
    found, _ = await batch(editor, jobs, out, max_cost=2 * most, detach=True)
    assert statuses(found) == only("batched", 4)


async def test_an_edit_that_comes_once_its_batch_was_left_is_reported(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    most, jobs = await most_of(editor, **PLAIN), edits(5, **PLAIN)
    await batch(editor, jobs[:2], out, detach=True)
    await batch(editor, jobs[2:4], out, detach=True)
    await fail(server)

    async def some() -> AsyncIterator[ImageEdit]:
        before = server.calls["batches.get"]
        yield jobs[4]  # there is no room for it, so that both batches are looked at
        while server.calls["batches.get"] < before + 2:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        for each in jobs[2:4]:
            yield each

    async with asyncio.timeout(20):
        found, _ = await batch(editor, some(), out, max_cost=2.2 * most, detach=True)
    assert statuses(found) == dict.fromkeys(("e3", "e4", "e5"), "batched")


async def test_what_a_batch_did_not_do_is_reserved_at_its_full_price_when_it_is_sent_directly(
    editor: ImageEditor, server: LocalServer, out: Path, database_url: str
) -> None:
    def ledger() -> PostgresLedger:
        return PostgresLedger(database_url, terms=SHORT)

    async def counted() -> float:
        return float(((await ledger().show()) or {})["cost"]) / NANOS

    jobs = edits(3, **PLAIN)
    most = (Pricing(packaged()).most(jobs[0]) or 0) / NANOS  # before its picture is read
    await batch(editor, jobs, out, ledger=ledger(), max_cost=2 * most, detach=True)
    assert await counted() == pytest.approx(1.5 * most, rel=1e-6)
    await editor.client.send(api.cancel_batch(server.batches[0].id))
    await ended(server)
    assert statuses((await batch(editor, jobs, out, ledger=ledger()))[0]) == only("failed", 3)
    assert await counted() == 0
    with pytest.raises(LimitReachedError):
        await direct(editor, jobs, out, ledger=ledger(), max_cost=0.9 * most)
    assert server.edits.edits == 0
    with pytest.raises(LimitReachedError):
        await direct(editor, jobs, out, ledger=ledger(), max_cost=1.1 * most)
    assert server.edits.edits == 1
    assert await counted() <= 1.1 * most
