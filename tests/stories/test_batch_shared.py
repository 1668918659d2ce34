"""Edits in batches over one ledger in a database: several copies of the same call, and copies that are gone."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from asyncsdk import Client, EditOutcome, ImageEditor, LimitReachedError, PostgresLedger
from asyncsdk.images.batch.rows import BatchRow
from asyncsdk.images.batch.shared_memory import SharedBatches
from asyncsdk.images.ledger.book import BatchRecord
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from tests.stories.batches import QUICK, batch, direct, edits, ended, message, only, ours, statuses

SHORT = LeaseTerms(lease=1.0, renew_every=0.3)
Ledgers = Callable[[], PostgresLedger]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    async with LocalServer(tmp_path / "server", batch_seconds=0.2) as running:
        yield running


@pytest.fixture
def timing() -> Timing:
    return QUICK


@pytest.fixture
def ledger(database_url: str) -> Ledgers:
    return lambda: PostgresLedger(database_url, terms=SHORT)


async def test_one_copy_brings_all_to_their_ends(
    editor: ImageEditor, server: LocalServer, out: Path, ledger: Ledgers
) -> None:
    found, outcomes = await batch(editor, edits(7), out, ledger=ledger(), batch_size=3)
    assert statuses(found) == only("done", 7)
    assert [each.edits for each in outcomes.batches] == [3, 3, 1]
    assert (server.edits.edits, ours(server)) == (7, [])
    again, _ = await batch(editor, edits(7), out, ledger=ledger(), batch_size=3)
    assert statuses(again) == only("skipped", 7)


async def test_four_copies_send_each_edit_once_and_report_all(
    editor: ImageEditor, server: LocalServer, out: Path, ledger: Ledgers
) -> None:
    found: list[dict[str, EditOutcome]] = []

    async def copy(first: int) -> None:
        jobs = edits(24)
        found.append((await batch(editor, jobs[first:] + jobs[:first], out, ledger=ledger(), batch_size=5))[0])

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(copy(6 * number))
    assert all(set(each) == set(only("done", 24)) for each in found)
    totals = Counter(status for each in found for status in statuses(each).values())
    assert totals == {"done": 24, "skipped": 72}
    assert all(outcome.cost for each in found for outcome in each.values())
    assert set(server.edits.by_prompt.values()) == {1}
    assert len(server.edits.by_prompt) == 24
    assert ours(server) == []


async def test_direct_and_batched_copies_leave_each_other_s_edits_alone(
    editor: ImageEditor, server: LocalServer, out: Path, ledger: Ledgers
) -> None:
    await batch(editor, edits(3), out, ledger=ledger(), detach=True)
    assert (await ledger().show() or {})["states"] == {"batched": 3}
    found = await direct(editor, edits(4), out, ledger=ledger(), on_uncertain="retry", redo=["e1"])
    assert statuses(found) == {"e1": "batched", "e2": "batched", "e3": "batched", "e4": "done"}
    assert "in a batch" in message(found["e1"])
    await ended(server)
    found, _ = await batch(editor, edits(6), out, ledger=ledger())
    assert sorted(statuses(found).values()) == ["done"] * 5 + ["skipped"]
    assert set(server.edits.by_prompt.values()) == {1}
    assert ours(server) == []


async def test_a_copy_that_is_gone_leaves_its_batches_to_another(
    editor: ImageEditor, server: LocalServer, out: Path, ledger: Ledgers
) -> None:
    await batch(editor, edits(3), out, ledger=ledger(), detach=True)
    async with asyncio.timeout(30):
        found, _ = await batch(editor, edits(3), out, ledger=ledger())
    assert statuses(found) == only("done", 3)
    assert len(server.batches) == 1


@pytest.mark.parametrize("listed", [True, False])
async def test_a_create_whose_answer_was_lost_is_found_or_its_edits_are_uncertain(
    tmp_path: Path, out: Path, ledger: Ledgers, *, listed: bool
) -> None:
    async with LocalServer(tmp_path / "lost", batch_seconds=0.1, listing_delay=0.1 if listed else 60.0) as server:
        server.inject(Fault("batches.create", "reset", at="done"))
        async with Client("sk-test", base_url=server.url, timing=QUICK) as client:
            found, _ = await batch(ImageEditor(client), edits(3), out, ledger=ledger())
            assert statuses(found) == only("done" if listed else "uncertain", 3)
            again, _ = await batch(ImageEditor(client), edits(3), out, ledger=ledger())
            assert statuses(again) == only("skipped" if listed else "uncertain", 3)
        assert sum(request.route == "batches.create" for request in server.requests) == 1


async def test_a_batch_is_not_created_once_the_lease_has_lapsed_and_its_edits_go_into_another(
    editor: ImageEditor, server: LocalServer, out: Path, ledger: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, keys = SharedBatches.begin, list[str]()

    async def begun(memory: SharedBatches, record: BatchRecord, rows: list[BatchRow]) -> Any:
        result = await begin(memory, record, rows)
        if not keys:
            time.sleep(SHORT.lease + 0.2)  # the whole process is asleep, as its machine may be
        keys.append(record.key)
        return result

    monkeypatch.setattr(SharedBatches, "begin", begun)
    found, _ = await batch(editor, edits(3), out, ledger=ledger())
    assert statuses(found) == only("done", 3)
    assert [(each.metadata or {})["create"] for each in server.batches] == keys[1:]
    assert len(keys) == 2
    assert (server.edits.edits, ours(server)) == (3, [])


async def test_an_edit_that_is_lost_to_another_copy_before_its_batch_is_created_is_reported(
    editor: ImageEditor, server: LocalServer, out: Path, ledger: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = SharedBatches.begin

    async def begun(memory: SharedBatches, record: BatchRecord, rows: list[BatchRow]) -> Any:
        memory.rows.claims.pop("e1", None)  # as if its claim had lapsed
        return await begin(memory, record, rows)

    monkeypatch.setattr(SharedBatches, "begin", begun)
    found, _ = await batch(editor, edits(3), out, ledger=ledger())
    assert statuses(found) == {"e1": "failed", "e2": "done", "e3": "done"}
    assert "another copy of this run has it" in message(found["e1"])
    assert server.edits.edits == 2


async def test_what_fails_in_batches_goes_again_three_times(
    editor: ImageEditor, server: LocalServer, out: Path, ledger: Ledgers
) -> None:
    server.inject(Fault("batches.line", "answer", every=1, times=9, status=500))
    for _ in range(3):
        assert statuses((await batch(editor, edits(2), out, ledger=ledger()))[0]) == only("failed", 2)
    found, _ = await batch(editor, edits(2), out, ledger=ledger())
    assert "it failed in 3 batches" in message(found["e1"])
    assert len(server.batches) == 3


async def test_a_batch_above_the_queue_limit_is_created_again(tmp_path: Path, out: Path, ledger: Ledgers) -> None:
    async with LocalServer(tmp_path / "full", batch_seconds=0.4, batch_tokens=700) as server:
        async with Client("sk-test", base_url=server.url, timing=QUICK) as client:
            found, _ = await batch(ImageEditor(client), edits(6), out, ledger=ledger(), batch_size=3)
        assert statuses(found) == only("done", 6)
        assert set(server.edits.by_prompt.values()) == {1}
        assert ours(server) == []


async def test_a_limit_on_edits_counts_those_in_batches(
    editor: ImageEditor, server: LocalServer, out: Path, ledger: Ledgers
) -> None:
    found: dict[str, EditOutcome] = {}

    async def collect() -> None:
        async with editor.edit_batch(edits(5), out=out, ledger=ledger(), poll=0.05, max_edits=3) as outcomes:
            async for outcome in outcomes:
                found[outcome.id] = outcome

    with pytest.raises(LimitReachedError, match="max_edits=3 is reached"):
        await collect()
    assert sorted(statuses(found).values()) == ["done"] * 3
    assert server.edits.edits == 3
