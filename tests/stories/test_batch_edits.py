"""Edits in batches, as a caller sees them: whole runs, what is left on the server, half directly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from asyncsdk import (
    Client,
    ConfigurationError,
    EditError,
    ImageEdit,
    ImageEditor,
    LimitReachedError,
    RemoteError,
    SaveError,
)
from asyncsdk.remote import writing
from asyncsdk.remote.address import RemoteAddress
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.server import Fault, LocalServer
from asyncsdk.timing import Timing
from tests.buckets import Bucket
from tests.stories.batches import (
    MODEL,
    POLL,
    QUICK,
    batch,
    direct,
    edits,
    ended,
    message,
    only,
    ours,
    statuses,
)
from tests.stories.pictures import photo


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    async with LocalServer(tmp_path / "server", batch_seconds=0.2) as running:
        yield running


@pytest.fixture
def timing() -> Timing:
    return QUICK


async def test_edits_go_in_batches_and_their_pictures_come(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    jobs = [*edits(7), ImageEdit(image=edits(1)[0].image, prompt="forbidden", model=MODEL, id="no")]
    found, outcomes = await batch(editor, jobs, out, batch_size=3)
    assert statuses(found) == {**only("done", 7), "no": "refused"}
    assert all(found[f"e{number}"].files == (out / f"e{number}.png",) for number in range(1, 8))
    assert all((out / f"e{number}.png").read_bytes()[:4] == b"\x89PNG" for number in range(1, 8))
    assert found["no"].problem is not None
    assert found["no"].problem.code == "moderation_blocked"
    assert [each.edits for each in outcomes.batches] == [3, 3, 2]
    assert {(each.step, each.recorded) for each in outcomes.batches} == {("ended", 3), ("ended", 2)}
    assert outcomes.images_made == 7
    usage = [found[f"e{number}"].usage for number in range(1, 8)]
    assert outcomes.usage.total_tokens == sum(each.total_tokens or 0 for each in usage if each is not None) > 0
    assert server.edits.edits == 7
    assert ours(server) == []


async def test_the_same_call_again_sends_nothing(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    await batch(editor, edits(3), out)
    found, outcomes = await batch(editor, edits(3), out)
    assert statuses(found) == only("skipped", 3)
    assert outcomes.batches == ()
    assert len(server.batches) == 1


async def test_a_picture_is_uploaded_once_however_many_edits_have_it(
    editor: ImageEditor, server: LocalServer, out: Path, tmp_path: Path
) -> None:
    paths = [photo(tmp_path / f"{number}.png", (16, 16), seed=number) for number in range(2)]
    jobs = [ImageEdit(image=paths, prompt=f"beret {number}", model=MODEL, id=f"e{number}") for number in range(1, 7)]
    found, _ = await batch(editor, jobs, out, batch_size=2)
    assert statuses(found) == only("done", 6)
    made = [request for request in server.requests if request.route == "files.create"]
    assert len(made) == 2 + 3  # the pictures, and the files of the batches


async def test_models_have_batches_of_their_own(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    jobs = edits(4)
    jobs[1::2] = [ImageEdit(image=job.image, prompt=job.prompt, model="gpt-image-1", id=job.id) for job in jobs[1::2]]
    found, outcomes = await batch(editor, jobs, out)
    assert statuses(found) == only("done", 4)
    assert {each.model for each in outcomes.batches} == {MODEL, "gpt-image-1"}
    assert server.edits.edits == 4


async def test_what_was_done_directly_is_not_sent_in_a_batch(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    await direct(editor, edits(3), out)
    found, outcomes = await batch(editor, edits(6), out)
    assert sorted(statuses(found).values()) == ["done"] * 3 + ["skipped"] * 3
    assert [each.edits for each in outcomes.batches] == [3]
    assert set(server.edits.by_prompt.values()) == {1}


async def test_what_was_done_in_a_batch_is_not_sent_directly(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    await batch(editor, edits(3), out)
    found = await direct(editor, edits(6), out)
    assert sorted(statuses(found).values()) == ["done"] * 3 + ["skipped"] * 3
    assert set(server.edits.by_prompt.values()) == {1}


async def test_a_direct_run_leaves_alone_what_is_in_a_batch(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    await batch(editor, edits(3), out, detach=True)
    found = await direct(editor, edits(4), out, on_uncertain="retry", redo=["e1"])
    assert statuses(found) == {"e1": "batched", "e2": "batched", "e3": "batched", "e4": "done"}
    assert "in a batch" in message(found["e1"])
    plan = await editor.plan(edits(5), out=out)
    assert (plan.batched, plan.done, plan.to_send) == (3, 1, 1)
    await ended(server)
    assert statuses((await batch(editor, edits(4), out))[0]) == {**only("done", 3), "e4": "skipped"}
    assert set(server.edits.by_prompt.values()) == {1}


async def test_a_call_that_detaches_leaves_and_the_same_call_collects(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    found, outcomes = await batch(editor, edits(3), out, detach=True)
    assert statuses(found) == only("batched", 3)
    assert outcomes.counts["batched"] == 3
    assert [(each.is_open, each.batch_id) for each in outcomes.batches] == [(True, server.batches[0].id)]
    await ended(server)
    found, _ = await batch(editor, edits(3), out, detach=True)
    assert statuses(found) == only("done", 3)
    assert len(server.batches) == 1
    assert ours(server) == []


async def test_a_stop_leaves_the_batches_and_the_same_call_goes_on(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    found = {}
    async with editor.edit_batch(edits(3), out=out, poll=30.0) as outcomes:
        while not any(each.batch_id for each in outcomes.batches):
            await asyncio.sleep(0.01)
        outcomes.stop()
        async for outcome in outcomes:
            found[outcome.id] = outcome
    assert statuses(found) == only("batched", 3)
    assert statuses((await batch(editor, edits(3), out))[0]) == only("done", 3)
    assert server.edits.edits == 3


async def test_edits_that_this_call_does_not_have_are_collected_too(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    await batch(editor, edits(3), out, detach=True)
    found, _ = await batch(editor, edits(1), out)
    assert statuses(found) == {"e1": "done"}
    assert sorted(path.name for path in out.glob("*.png")) == ["e1.png", "e2.png", "e3.png"]
    assert statuses(await direct(editor, edits(3), out)) == only("skipped", 3)
    assert server.edits.edits == 3


async def test_files_are_kept_where_that_is_wanted_and_go_with_the_next_call(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    await batch(editor, edits(2), out, keep_files=True)
    assert sorted(file.purpose for file in server.files) == ["batch", "batch_output", "vision"]
    await batch(editor, edits(2), out)
    assert ours(server) == []


async def test_a_file_whose_answer_was_lost_is_not_left_on_the_server(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    server.inject(Fault("files.create", "reset", at="done", nth=1, times=1))
    found, _ = await batch(editor, edits(2), out)
    assert statuses(found) == only("done", 2)
    server.assert_all_met()
    assert ours(server) == []


async def test_a_limit_on_edits_counts_those_in_batches(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    found = {}

    async def collect() -> None:
        async with editor.edit_batch(edits(5), out=out, poll=POLL, max_edits=3) as outcomes:
            async for outcome in outcomes:
                found[outcome.id] = outcome

    with pytest.raises(LimitReachedError, match="max_edits=3 is reached: 3 edits"):
        await collect()
    assert sorted(statuses(found).values()) == ["done"] * 3
    assert server.edits.edits == 3


async def test_what_a_batch_does_not_take_is_refused_and_the_others_go(
    editor: ImageEditor, server: LocalServer, out: Path
) -> None:
    jobs = edits(2)
    picture = jobs[0].image
    jobs += [
        ImageEdit(image=picture, prompt="a", id="stream", model=MODEL, stream=True),
        ImageEdit(image=picture, prompt="b", id="partial", model=MODEL, partial_images=2),
        ImageEdit(image=picture, prompt="c", id="nameless"),
    ]
    found, _ = await batch(editor, jobs, out)
    assert statuses(found) == {**only("done", 2), "nameless": "refused", "partial": "refused", "stream": "refused"}
    assert "a batch has no streams" in message(found["stream"])
    assert server.edits.edits == 2


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"batch_size": 50_001}, {"batch_size": True}, {"poll": 0}, {"poll": float("nan")}]
)
def test_wrong_options_are_refused_at_once(editor: ImageEditor, out: Path, options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="Nothing was sent"):
        editor.edit_batch(edits(1), out=out, **options)  # type: ignore[arg-type]  # wrong on purpose


async def test_two_pictures_of_an_edit_have_their_names(editor: ImageEditor, server: LocalServer, out: Path) -> None:
    found, outcomes = await batch(editor, edits(2, n=2), out)
    assert found["e1"].files == (out / "e1.png", out / "e1.1.png")
    assert outcomes.images_made == 4
    assert server.edits.edits == 2


async def test_a_full_disk_costs_nothing_and_the_same_call_goes_on(
    editor: ImageEditor, server: LocalServer, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await batch(editor, edits(3), out, detach=True)
    await ended(server)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("asyncsdk.files.Waiting.again", _never)
        patch.setattr("asyncsdk.files.name_file", full)
        with pytest.raises(EditError, match=r"can't be saved \(No space left.*stay on the server[\s\S]*same call"):
            await batch(editor, edits(3), out)
    assert statuses((await batch(editor, edits(3), out))[0]) == only("done", 3)
    assert server.edits.edits == 3
    assert ours(server) == []


async def _never(*_: object) -> bool:
    return False


async def test_pictures_go_to_a_bucket_and_wait_here_while_it_takes_none(
    client: Client, server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(f"memory://{uuid4().hex}", RemoteStores())
    editor = ImageEditor(client, remote_options=bucket.stores)
    where: Any = {"out": f"{bucket.url}/out/", "ledger": tmp_path / "ledger"}
    put = writing.put

    async def putting(address: RemoteAddress, *arguments: Any, **options: Any) -> str | None:
        if address.name.endswith(".png"):
            raise RemoteError(f"{address.store} denies access.", url=address.shown, reason="denied")
        return await put(address, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "put", putting)
        with pytest.raises(SaveError, match="could not be put"):
            await batch(editor, edits(3), **where)
    found, _ = await batch(editor, edits(3), **where)
    assert sorted(statuses(found).values()) == ["done", "done", "skipped"]
    assert all(outcome.objects[0].endswith(f"/out/{name}.png") for name, outcome in found.items())
    assert server.edits.edits == 3
    assert ours(server) == []


async def test_long_prompts_make_more_files_each_of_which_fits_into_memory(
    editor: ImageEditor, server: LocalServer, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncsdk.images.batch.driver.IN_MEMORY", 5_000)
    found, outcomes = await batch(editor, edits(5, prompt="a long prompt " * 150), out)
    assert statuses(found) == only("done", 5)
    assert sorted(each.edits for each in outcomes.batches) == [1, 2, 2]
