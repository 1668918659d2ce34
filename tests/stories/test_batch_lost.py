"""The answer to the create of a batch is lost: it is found, at once or later, or not at all; never is it sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asyncsdk import APIStatusError, Client, ImageEdit, ImageEditor, QuotaExceededError
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from tests.stories.batches import QUICK, batch, direct, edits, ended, message, only, ours, statuses

LOST = Fault("batches.create", "reset", at="done")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    async with LocalServer(tmp_path / "server", batch_seconds=0.2) as running:
        yield running


@pytest.fixture
def timing() -> Timing:
    return QUICK


def creates(server: LocalServer) -> int:
    return sum(request.route == "batches.create" for request in server.requests)


async def test_a_batch_that_is_in_the_list_at_once_is_found(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    server.inject(LOST)
    found, outcomes = await batch(editor, edits(3), out)
    assert statuses(found) == only("done", 3)
    assert [each.batch_id for each in outcomes.batches] == [each.id for each in server.batches]
    assert (creates(server), server.edits.edits, ours(server)) == (1, 3, [])


async def test_a_batch_that_is_listed_later_is_found(tmp_path: Path, out: Path) -> None:
    async with LocalServer(tmp_path / "late", batch_seconds=0.1, listing_delay=0.4) as server:
        server.inject(LOST)
        async with Client("sk-test", base_url=server.url, timing=QUICK) as client:
            found, _ = await batch(ImageEditor(client), edits(3), out)
        assert statuses(found) == only("done", 3)
        assert (creates(server), server.edits.edits, ours(server)) == (1, 3, [])


async def test_a_batch_that_is_never_listed_leaves_its_edits_uncertain_and_nothing_new_is_created(
    tmp_path: Path, out: Path
) -> None:
    async with LocalServer(tmp_path / "never", batch_seconds=0.1, listing_delay=60.0) as server:
        server.inject(Fault("batches.create", "reset", at="done", nth=1))
        async with Client("sk-test", base_url=server.url, timing=QUICK) as client:
            editor = ImageEditor(client)
            found, outcomes = await batch(editor, edits(6), out, batch_size=3)
            assert sorted(statuses(found).values()) == ["done"] * 3 + ["uncertain"] * 3
            [lost] = [each for each in outcomes.batches if each.step == "uncertain"]
            assert lost.batch_id is None
            uncertain = {name for name, outcome in found.items() if outcome.status == "uncertain"}
            assert all("can't be found" in message(found[name]) for name in uncertain)
            again, _ = await batch(editor, edits(6), out)
            assert {name for name, outcome in again.items() if outcome.status == "uncertain"} == uncertain
            assert statuses(await direct(editor, edits(6), out)) == statuses(again)
        assert creates(server) == 2
        assert max(server.edits.by_prompt.values()) == 1


@pytest.mark.parametrize(
    ("number", "other"),
    [
        (1, {"bytes": 5}),
        (1, {"purpose": "batch"}),
        (2, {"bytes": 5}),
        (2, {"purpose": "vision"}),
        (2, {"object": "upload"}),
        (2, {"id": ""}),
    ],
)
async def test_an_answer_that_is_of_another_file_is_not_used(
    editor: ImageEditor, server: LocalServer, out: Path, number: int, other: dict[str, object]
) -> None:
    """The first file is a picture, the second one has the lines of a batch."""
    body = {"id": "file-of-another", "object": "file", "created_at": 1, "purpose": ["vision", "batch"][number - 1]}
    server.inject(Fault("files.create", "answer", status=200, body=body | other, nth=number))
    found, _ = await batch(editor, edits(3), out)
    assert statuses(found) == only("done", 3)
    assert server.calls["files.create"] == 3


@pytest.mark.parametrize("same", ["filename", "id"])
async def test_the_answer_to_an_earlier_upload_of_ours_is_not_used(
    editor: ImageEditor, server: LocalServer, out: Path, same: str
) -> None:
    first = edits(3)
    body = {"object": "file", "created_at": 1, "purpose": "batch", "id": "file-of-another"}

    async def late() -> AsyncIterator[ImageEdit]:
        yield first[0]
        yield first[1]  # with which the file of the first is full
        async with asyncio.timeout(20):
            while not server.batches:
                await asyncio.sleep(0.01)
        [file] = [file for file in server.files if file.filename.endswith("jsonl")]
        again = body | {same: getattr(file, same)}
        server.inject(Fault("files.create", "answer", status=200, body=again))
        yield first[2]

    found, _ = await batch(editor, late(), out, batch_size=1)
    assert statuses(found) == only("done", 3)
    assert len({each.input_file_id for each in server.batches}) == len(server.batches) == 3


async def test_a_list_that_is_slow_is_read_to_its_end_before_a_batch_is_called_lost(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    server.inject(LOST)
    server.inject(Fault("batches.list", "stall", seconds=2 * QUICK.batch_search))
    assert statuses((await batch(editor, edits(3), out))[0]) == only("done", 3)
    assert creates(server) == 1


async def test_the_time_of_an_outage_does_not_count_for_the_search(tmp_path: Path, out: Path) -> None:
    async with LocalServer(tmp_path / "late", batch_seconds=0.1, listing_delay=1.2) as server:
        server.inject(LOST)  # and then no list for 0.8 s, longer than a batch is searched for
        server.inject(Fault("batches.list", "answer", status=500, every=1, times=3, retry_after=0.4))
        async with Client("sk-test", base_url=server.url, timing=QUICK) as client:
            assert statuses((await batch(ImageEditor(client), edits(3), out))[0]) == only("done", 3)
        assert creates(server) == 1


async def test_a_batch_that_is_not_shown_for_a_moment_is_not_called_lost(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    server.inject(Fault("batches.get", "answer", status=404, times=2))
    assert statuses((await batch(editor, edits(3), out))[0]) == only("done", 3)
    assert (creates(server), ours(server)) == (1, [])


async def test_a_call_that_is_stopped_does_not_wait_for_a_lost_batch(tmp_path: Path, out: Path) -> None:
    async with LocalServer(tmp_path / "late", batch_seconds=0.1, listing_delay=1.0) as server:
        server.inject(LOST)
        async with (
            Client("sk-test", base_url=server.url) as client,
            asyncio.timeout(10),
            ImageEditor(client).edit_batch(edits(3), out=out, poll=0.02) as outcomes,
        ):
            while not any(request.route == "batches.list" for request in server.requests):
                await asyncio.sleep(0.01)
            outcomes.stop()
            assert {outcome.id: outcome.status async for outcome in outcomes} == only("batched", 3)
        async with Client("sk-test", base_url=server.url, timing=Timing(batch_search_interval=0.05)) as client:
            assert statuses((await batch(ImageEditor(client), edits(3), out))[0]) == only("done", 3)
        assert creates(server) == 1


async def test_a_search_that_was_cut_short_goes_on_with_the_next_call(tmp_path: Path, out: Path) -> None:
    async with LocalServer(tmp_path / "late", batch_seconds=0.1, listing_delay=0.5) as server:
        server.inject(LOST)
        async with Client("sk-test", base_url=server.url, timing=Timing(batch_search_interval=0.05)) as client:
            editor = ImageEditor(client)
            call = asyncio.create_task(batch(editor, edits(3), out))
            while not any(request.route == "batches.list" for request in server.requests):
                await asyncio.sleep(0.01)
            call.cancel()
            await asyncio.wait([call])
            assert statuses((await batch(editor, edits(3), out))[0]) == only("done", 3)
        assert (creates(server), server.edits.edits, ours(server)) == (1, 3, [])


async def test_a_create_that_is_refused_costs_nothing_and_the_same_call_sends_it(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    server.inject(Fault("batches.create", "answer", at="before", status=400))
    found, _ = await batch(editor, edits(3), out)
    assert statuses(found) == only("failed", 3)
    assert all(isinstance(outcome.error, APIStatusError) for outcome in found.values())
    assert ours(server) == []
    assert statuses((await batch(editor, edits(3), out))[0]) == only("done", 3)


async def test_an_account_without_credit_stops_the_call(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    error = {"message": "You exceeded your quota.", "type": "insufficient_quota", "code": "insufficient_quota"}
    server.inject(Fault("batches.create", "answer", at="before", status=429, body={"error": error}))
    with pytest.raises(QuotaExceededError):
        await batch(editor, edits(3), out, batch_size=1)
    assert creates(server) == 1
    assert statuses((await batch(editor, edits(3), out))[0]) == only("done", 3)


async def test_a_batch_that_is_gone_leaves_its_edits_uncertain_until_it_is_there_again(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    await batch(editor, edits(3), out, detach=True)
    await ended(server)
    batches = server._repository.batches  # noqa: SLF001
    hidden = dict(batches)
    batches.clear()  # as if another project's key were used
    found, _ = await batch(editor, edits(3), out, keep_files=True)
    assert statuses(found) == only("uncertain", 3)
    assert "can't be found any more" in message(found["e1"])
    batches.update(hidden)
    await batch(editor, edits(3), out)
    assert statuses((await batch(editor, edits(3), out))[0]) == only("skipped", 3)
    assert len(list(out.glob("e*.png"))) == 3
    assert (creates(server), server.edits.edits, ours(server)) == (1, 3, [])


async def test_answers_to_polls_that_are_lost_are_asked_for_again(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    server.inject(Fault("batches.get", "answer", at="before", every=1, times=9))
    found, _ = await batch(editor, edits(2), out)
    assert statuses(found) == only("done", 2)
