"""Edits in batches over one ledger in a database: several copies of the same call, and copies that are gone."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from asyncsdk import Client, EditOutcome, ImageEditor, LimitReachedError, PostgresLedger
from asyncsdk.images.batch import shared_memory
from asyncsdk.images.batch.rows import BatchRow
from asyncsdk.images.batch.shared_memory import SharedBatches
from asyncsdk.images.ledger.book import BatchRecord
from asyncsdk.images.ledger.progress import LedgerProgress
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from tests.postgres.server import PostgresServer
from tests.stories.batches import POLL, QUICK, batch, direct, edits, ended, message, only, ours, statuses

SHORT = LeaseTerms(lease=1.5, renew_every=0.3)
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


async def test_edits_in_batches_are_counted_as_such_and_not_as_those_of_other_copies(
    editor: ImageEditor, out: Path, ledger: Ledgers
) -> None:
    await batch(editor, edits(3), out, ledger=ledger(), detach=True)
    async with asyncio.timeout(20), ledger().open(out, {}) as opened:
        assert opened.whole is not None
        while (progress := opened.whole.look()) is None:
            await asyncio.sleep(0.01)
    assert progress == LedgerProgress(batched=3, copies=1)
    assert progress.known == 3


@pytest.mark.parametrize("leaving", ["stop", "break"])
async def test_a_call_that_is_stopped_or_left_in_the_middle_of_a_page_comes_to_its_end(
    editor: ImageEditor, server: LocalServer, out: Path, ledger: Ledgers, leaving: str
) -> None:
    await direct(editor, edits(20), out, ledger=ledger())
    tasks, sent = asyncio.all_tasks(), server.edits.edits
    async with asyncio.timeout(20):
        async with editor.edit_batch(edits(25), out=out, ledger=ledger(), poll=POLL) as outcomes:
            found = [(await anext(outcomes)).id for _ in range(3)]
            if leaving == "stop":
                outcomes.stop()
                found += [outcome.id async for outcome in outcomes]
    given = outcomes.counts.total() - len(outcomes.abandoned)
    assert found == [f"e{number}" for number in range(1, given + 1)]
    assert given <= 3 + 1  # one was on its way
    assert (asyncio.all_tasks(), server.edits.edits, ours(server)) == (tasks, sent, [])


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


async def test_a_picture_that_is_deleted_now_is_uploaded_again_by_a_copy_that_begins_meanwhile(
    editor: ImageEditor, server: LocalServer, out: Path, ledger: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete, later = Client.delete_files, list[asyncio.Task[Any]]()

    async def deleting(client: Client, files: Any, **options: Any) -> Any:
        if not later:
            more = [evolve(edit, id=f"{edit.id} later") for edit in edits(2)]
            later.append(asyncio.create_task(batch(editor, more, out, ledger=ledger())))
            async with asyncio.timeout(20):
                while len(server.batches) < 2:
                    await asyncio.sleep(0.01)
        return await delete(client, files, **options)

    monkeypatch.setattr(Client, "delete_files", deleting)
    found, _ = await batch(editor, edits(3), out, ledger=ledger())
    assert statuses(found) == only("done", 3)
    again, _ = await later[0]
    assert set(statuses(again).values()) == {"done"}
    uploads = [request for request in server.requests if request.route == "files.create"]
    assert len(uploads) == 4, "the picture twice, and two files with lines"
    assert ours(server) == []


async def test_a_picture_is_not_spare_that_a_batch_needs_of_which_the_last_copy_has_not_read(
    out: Path, ledger: Ledgers
) -> None:
    async with ledger().open(out, {}) as one:
        slept, last = SharedBatches(one), SharedBatches(one)
        await slept.note({"t": "uploaded", "digest": "d", "file": "file-p"})
        await last.refresh()
        spare = last.book.stock.deletable(now=0.0)
        await slept.note({"t": "needs", "batch": "b", "files": ["file-p"]})
        assert not await last.set_aside(spare)
        assert last.book.stock.deletable(now=0.0) == []
        await slept.note({"t": "withdrawn", "batch": "b"})
        await last.refresh()
        assert await last.set_aside(last.book.stock.deletable(now=0.0))


async def test_what_closed_batches_needed_is_forgotten(
    editor: ImageEditor, out: Path, database_url: str, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, database = PostgresLedger(database_url, terms=SHORT), database_url.rpartition("/")[2].partition("?")[0]
    monkeypatch.setattr(shared_memory, "LEAST_FACTS", 0)
    monkeypatch.setattr(shared_memory, "REPEATED_SECONDS", 0.0)
    jobs = edits(9)
    for count in (3, 6, 9):
        found, outcomes = await batch(editor, jobs[:count], out, ledger=ledger, batch_size=1)
        assert sorted(statuses(found).values()) == ["done"] * 3 + ["skipped"] * (count - 3)
        assert [each.number for each in outcomes.batches] == list(range(count - 2, count + 1))
        kinds = postgres_server.sql("select fact->>'t' from asyncsdk.batch_fact order by number", database=database)
        assert kinds.split() == ["afresh", "batches", "swept"]


async def test_a_copy_that_is_behind_begins_again_with_what_the_facts_were_replaced_by(
    out: Path, ledger: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, "LEAST_FACTS", 0)
    async with ledger().open(out, {}) as one, ledger().open(out, {}) as two:
        first, second = SharedBatches(one), SharedBatches(two)
        await first.note({"t": "batches", "token": "abc"})
        creating = {
            "t": "creating",
            "batch": "b",
            "number": 1,
            "model": "m",
            "edits": 1,
            "input": "file-1",
            "since": 1.0,
        }
        await first.note(*({"t": "uploaded", "digest": f"d{number}", "file": f"file-p{number}"} for number in range(9)))
        await first.note(creating, {"t": "tried", "item": "x"}, {"t": "tried", "item": "x"})
        await second.refresh()
        assert list(second.book.open) == ["b"]
        given = json.dumps([{"t": "tried", "item": "y"}])
        once = uuid.uuid4()
        await one.database.run("batch_note", once, given, 0, None, "[]", lock="ledger_lock")
        await first.note({"t": "closed", "batch": "b"}, *({"t": "removed", "file": f"file-p{n}"} for n in range(8)))
        await first.compact()
        await second.refresh()
        assert (list(second.book.open), dict(second.book.files)) == ([], {"file-1": None})
        assert (second.book.tries, second.book.last, second.book.is_swept) == ({"x": 2, "y": 1}, 1, False)
        assert [each.file_id for each in second.book.stock.pictures()] == ["file-p8"]
        await one.database.run("batch_note", once, given, 0, None, "[]", lock="ledger_lock")  # its answer was lost
        anew = SharedBatches(two)
        await anew.refresh()
        assert anew.book.tries == {"x": 2, "y": 1}
        before = anew._facts  # noqa: SLF001 - nothing is replaced that was not read
        await first.note({"t": "tried", "item": "z"})
        await second.compact()
        await anew.refresh()
        assert (anew._facts - before, anew.book.tries["z"]) == (1, 1)  # noqa: SLF001
