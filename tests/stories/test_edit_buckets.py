"""Edits of pictures in buckets, and into buckets: each is paid once, and what is paid is never lost."""

from __future__ import annotations

import errno
import logging
import re
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import anyio
import pytest

from asyncsdk import ConfigurationError, EditOutcome, ImageEdit, ImageEditor, LedgerError, RemoteError, SaveError
from asyncsdk.images import bucket as buckets
from asyncsdk.images import pictures
from asyncsdk.images.bucket import BucketDelivery
from asyncsdk.images.bulk.outcomes import Outcomes
from asyncsdk.images.ledger.file import FileLedger, load_ledger
from asyncsdk.images.saving import FileWriter
from asyncsdk.remote import writing
from asyncsdk.remote.address import RemoteAddress
from asyncsdk.remote.failures import remote_error
from asyncsdk.remote.stores import RemoteStores
from tests.buckets import Bucket
from tests.raw_server import answering, client_of
from tests.remote.web import web_store
from tests.stories.edits import MODEL, PICTURE, all_of, done, until
from tests.stories.pictures import mask, png

Denied = Callable[[str], None]


@pytest.fixture
def bucket() -> Bucket:
    return Bucket(f"memory://{uuid4().hex}", RemoteStores())


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def denied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ends of names that can't be put."""
    ends: list[str] = []
    put = writing.put

    async def putting(address: RemoteAddress, *arguments: Any, **options: Any) -> str | None:
        if ends and address.name.endswith(tuple(ends)):
            raise RemoteError(f"{address.store} denies access.", url=address.shown, reason="denied")
        return await put(address, *arguments, **options)

    monkeypatch.setattr(writing, "put", putting)
    return ends


def edit(name: str = "otter", picture: Any = PICTURE, **fields: Any) -> ImageEdit:
    return ImageEdit(image=picture, prompt="a beret", model=MODEL, id=name, **fields)


async def run(editor: ImageEditor, *edits: ImageEdit, **options: Any) -> list[EditOutcome]:
    async with editor.edit_many(edits, **options) as outcomes:
        return await all_of(outcomes)


async def test_pictures_go_to_the_bucket_and_nothing_stays_here(bucket: Bucket, ledger: Path) -> None:
    async with answering(done(2), done()) as server, client_of(server) as client:
        where = {"out": f"{bucket.url}/out/", "ledger": ledger}
        edits = [edit("deep/a", n=2), edit("b: c", png(2))]
        first, second = sorted(await run(ImageEditor(client), *edits, **where), key=lambda each: each.id, reverse=True)
        assert first.objects == (f"{bucket.url}/out/deep/a.png", f"{bucket.url}/out/deep/a.1.png")
        assert second.objects == (f"{bucket.url}/out/b%253A%20c.png",)
        assert (first.files, first.status, first.problem) == ((), "done", None)
        assert bucket.names() == ["out/b%3A c.png", "out/deep/a.1.png", "out/deep/a.png"]
        assert bucket.get("out/deep/a.png") == PICTURE
        assert list((ledger / "undelivered").rglob("*.png")) == []
        again = await run(ImageEditor(client), *edits, **where)
        assert {each.status for each in again} == {"skipped"}
        assert {each.objects for each in again} == {first.objects, second.objects}
        assert len(server.requests) == 2


async def test_a_picture_is_the_same_edit_wherever_it_is(bucket: Bucket, tmp_path: Path, ledger: Path) -> None:
    url, path = bucket.put("in/otter.png", PICTURE), tmp_path / "otter.png"
    path.write_bytes(PICTURE)
    made = mask(tmp_path / "mask.png", (2, 2, 8, 8), (16, 16))
    hole = bucket.put("in/mask.png", made.read_bytes())
    async with answering(done()) as server, client_of(server) as client, web_store() as web:
        web.objects["/otter.png"] = PICTURE
        presigned = f"{web.url}/otter.png?X-Amz-Signature=canary-of-a-signature"
        for picture in (url, path, presigned, PICTURE):
            where = {"out": tmp_path / "out", "ledger": ledger}
            [outcome] = await run(ImageEditor(client), edit(picture=picture, mask=hole), **where)
            assert outcome.files == (tmp_path / "out" / "otter.png",)
        assert len(server.requests) == 1
        assert {method for method, *_ in web.asked} == {"GET"}


async def test_a_mask_of_all_edits_is_fetched_once(tmp_path: Path) -> None:
    content = mask(tmp_path / "mask.png", (2, 2, 8, 8), (16, 16)).read_bytes()
    async with answering(done(), done(), done()) as server, client_of(server) as client, web_store() as web:
        web.objects.update({"/mask.png": content, "/other.png": content})
        masks = [f"{web.url}/{name}.png" for name in ("mask", "mask", "mask", "other")]
        edits = [edit(f"otter {number}", png(number), mask=each) for number, each in enumerate(masks[:2])]
        edits += [edit("last", png(3), mask=masks[3])]
        outcomes = await run(ImageEditor(client), *edits, out=tmp_path / "out")
        assert {each.status for each in outcomes} == {"done"}
        assert all(content in request.body for request in server.requests)
        assert sorted(path for _, path, *_ in web.asked) == ["/mask.png", "/other.png"]


@pytest.mark.parametrize(
    ("status", "word"), [(404, "does not exist"), (403, "denies access"), (None, "larger|at most")]
)
async def test_a_picture_that_can_not_be_fetched_is_refused_without_its_signature(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    status: int | None,
    word: str,
) -> None:
    monkeypatch.setattr(pictures, "LARGEST", 1000)
    caplog.set_level(logging.DEBUG)
    async with answering() as server, client_of(server) as client, web_store() as web:
        web.objects["/otter.png"] = bytes(1001)
        web.status = status
        url = f"{web.url.replace('//', '//me:canary-password@')}/otter.png?sig=canary-signature"
        [outcome] = await run(ImageEditor(client), edit(picture=url, name="a"), out=tmp_path / "out")
        assert (outcome.status, server.requests) == ("refused", [])
        assert outcome.problem is not None
        assert re.search(f"image: .*({word})", outcome.problem.message)
        said = [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]  # the store's own
        assert "canary" not in f"{outcome!r} {outcome.problem} {said}"
        written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert b"canary" not in written


async def test_a_store_that_is_away_while_a_picture_is_read_is_not_the_pictures_fault(tmp_path: Path) -> None:
    async with answering() as server, client_of(server) as client, web_store() as web:
        web.status = 503
        options = {"retry_config": {"max_retries": 0}}
        editor = ImageEditor(client, remote_options=options)
        [outcome] = await run(editor, edit(picture=f"{web.url}/otter.png"), out=tmp_path / "out")
        assert outcome.status == "failed"
        assert outcome.problem is not None
        assert outcome.problem.retryable
        assert server.requests == []


async def test_what_can_not_be_put_waits_here_and_the_next_run_puts_it_there(
    bucket: Bucket, ledger: Path, denied: list[str]
) -> None:
    async with answering(done(2), done()) as server, client_of(server) as client:
        where: dict[str, Any] = {"out": f"{bucket.url}/out", "ledger": ledger, "concurrency": 1, "max_edits": 2}
        edits = [edit(n=2), edit("b", png(2))]
        denied.append("otter.1.png")
        async with ImageEditor(client).edit_many(edits, **where) as outcomes:
            [outcome] = await until(outcomes, SaveError, match="could not be put in memory://")
        waiting = tuple(waiting_in(ledger, where["out"]) / name for name in ("otter.png", "otter.1.png"))
        assert (outcome.status, outcome.files) == ("uncertain", waiting)
        assert outcome.objects == (f"{bucket.url}/out/otter.png",)
        assert outcome.problem is not None
        assert outcome.problem.code == "not_delivered"
        assert str(waiting[1]) in outcome.problem.message
        denied.clear()
        async with ImageEditor(client).edit_many(edits, **where) as outcomes:
            found = {each.id: each.status for each in await all_of(outcomes)}
            assert outcomes.recovered == tuple(f"{bucket.url}/out/{name}" for name in ("otter.png", "otter.1.png"))
        assert found == {"otter": "skipped", "b": "done"}
        assert bucket.names() == ["out/b.png", "out/otter.1.png", "out/otter.png"]
        assert [path for path in waiting if path.exists()] == []
        assert len(server.requests) == 2
        assert (await load_ledger(ledger)).spent.edits == 2


async def test_a_store_that_comes_back_in_time_stops_nothing(
    bucket: Bucket, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "PAUSES", (0.01, 0.01))
    tries, put = list[str](), writing.put

    async def putting(address: RemoteAddress, *arguments: Any, **options: Any) -> str | None:
        tries.append(address.name)
        if tries.count("otter.1.png") in {1, 2}:
            raise remote_error(f"{address.store} can't be reached.", address.shown, "unreachable", again=True)
        return await put(address, *arguments, **options)

    monkeypatch.setattr(writing, "put", putting)
    async with answering(done(2)) as server, client_of(server) as client:
        [outcome] = await run(ImageEditor(client), edit(n=2), out=f"{bucket.url}/out/", ledger=ledger)
    assert (outcome.status, outcome.displaced_objects) == ("done", ())
    assert tries == ["probe", "probe", "otter.png", *["otter.1.png"] * 3]
    assert bucket.names() == ["out/otter.1.png", "out/otter.png"]


async def test_a_put_whose_answer_is_lost_is_found_to_be_ours(
    bucket: Bucket, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "PAUSES", (0.01, 0.01))
    tries, put = list[str](), writing.put

    async def putting(address: RemoteAddress, *arguments: Any, **options: Any) -> str | None:
        tag = await put(address, *arguments, **options)
        tries.append(address.name)
        if tries.count(address.name) == 1 and address.name != "probe":
            raise remote_error(f"{address.store} can't be reached.", address.shown, "unreachable", again=True)
        return tag

    async with answering(done(2)) as server, client_of(server) as client:
        where: dict[str, Any] = {"out": f"{bucket.url}/out/", "ledger": ledger}
        async with ImageEditor(client).edit_many([edit(n=2)], **where) as outcomes:
            monkeypatch.setattr(writing, "put", putting)
            bucket.put("out/otter.png", b"of another program")
            [outcome] = await all_of(outcomes)
    assert (outcome.status, tries) == ("done", ["otter-2.png", "otter.1.png"])
    assert bucket.names() == ["out/otter-2.png", "out/otter.1.png", "out/otter.png"]
    assert outcome.objects == (f"{bucket.url}/out/otter-2.png", f"{bucket.url}/out/otter.1.png")


async def test_what_was_put_and_not_recorded_is_recorded_by_the_next_run(bucket: Bucket, ledger: Path) -> None:
    where: dict[str, Any] = {"out": f"{bucket.url}/out/", "ledger": ledger}
    async with answering(done()) as server, client_of(server) as client:
        await run(ImageEditor(client), edit(), **where)
        content = bucket.get("out/otter.png")
        (waiting_in(ledger, where["out"]) / "otter.png").write_bytes(content)  # as after a kill before its end here
        [outcome] = await run(ImageEditor(client), edit(), **where)
        assert (outcome.status, outcome.objects) == ("skipped", (f"{bucket.url}/out/otter.png",))
        assert bucket.names() == ["out/otter.png"]
        assert list((ledger / "undelivered").rglob("*.png")) == []
        assert len(server.requests) == 1


async def test_a_name_that_another_program_took_meanwhile_is_left_to_it(bucket: Bucket, ledger: Path) -> None:
    async with answering(done()) as server, client_of(server) as client:
        where: dict[str, Any] = {"out": f"{bucket.url}/out/", "ledger": ledger}
        async with ImageEditor(client).edit_many([edit()], **where) as outcomes:
            bucket.put("out/otter.png", b"of another program")
            [outcome] = await all_of(outcomes)
        assert outcome.objects == (f"{bucket.url}/out/otter-2.png",)
        assert bucket.get("out/otter.png") == b"of another program"
        [again] = await run(ImageEditor(client), edit(), **where)
        assert (again.status, again.objects) == ("skipped", outcome.objects)
        bucket.delete("out/otter-2.png")
        [gone] = await run(ImageEditor(client), edit(), **where)
        assert gone.is_gone
        assert gone.problem is not None
        assert f"{bucket.url}/out/otter-2.png" in gone.problem.message


async def test_what_is_there_already_is_not_overwritten(bucket: Bucket, ledger: Path) -> None:
    bucket.put("out/otter.webp", b"of another program")
    async with answering() as server, client_of(server) as client:
        [outcome] = await run(ImageEditor(client), edit(), out=f"{bucket.url}/out/", ledger=ledger)
        assert outcome.status == "refused"
        assert outcome.problem is not None
        assert f"{bucket.url}/out/otter.webp is there already" in outcome.problem.message
        assert server.requests == []


async def test_an_older_picture_is_moved_aside_in_the_bucket(bucket: Bucket, ledger: Path) -> None:
    where: dict[str, Any] = {"out": f"{bucket.url}/out/", "ledger": ledger}
    async with answering(done(), done()) as server, client_of(server) as client:
        await run(ImageEditor(client), edit(), **where)
        bucket.put("out/otter.png", b"as it was before")
        [outcome] = await run(ImageEditor(client), edit(), redo=["otter"], **where)
        [older] = outcome.displaced_objects
        assert older.startswith(f"{bucket.url}/out/.asyncsdk/replaced/")
        assert older.endswith("-otter.png")
        assert bucket.get(older.removeprefix(f"{bucket.url}/")) == b"as it was before"
        assert bucket.get("out/otter.png") == PICTURE
        assert outcome.objects == (f"{bucket.url}/out/otter.png",)
        assert len(server.requests) == 2


async def test_where_nothing_may_be_deleted_the_new_picture_gets_a_number(
    bucket: Bucket, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deleting(address: RemoteAddress, *_: Any) -> None:
        raise RemoteError(f"{address.store} denies access.", url=address.shown, reason="denied")

    monkeypatch.setattr(writing, "delete", deleting)
    where: dict[str, Any] = {"out": f"{bucket.url}/out/", "ledger": ledger}
    async with answering(done(), done()) as server, client_of(server) as client:
        await run(ImageEditor(client), edit(), **where)
        bucket.put("out/otter.png", b"as it was before")
        [outcome] = await run(ImageEditor(client), edit(), redo=["otter"], **where)
        assert (outcome.status, outcome.objects) == ("done", (f"{bucket.url}/out/otter-2.png",))
        assert bucket.names() == [
            "out/.asyncsdk/probe",
            older_in(bucket),
            "out/otter-2.png",
            "out/otter.png",
        ]


async def test_a_picture_that_was_saved_when_its_process_was_killed_is_put_there(
    bucket: Bucket, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where: dict[str, Any] = {"out": f"{bucket.url}/out/", "ledger": ledger}
    async with answering(done()) as server, client_of(server) as client:
        with monkeypatch.context() as patch:
            patch.setattr(BucketDelivery, "run", hanging)
            patch.setattr(FileLedger, "end", losing)
            with anyio.move_on_after(0.5):
                await run(ImageEditor(client), edit(), **where)
        async with ImageEditor(client).edit_many([edit()], **where) as outcomes:
            [outcome] = await all_of(outcomes)
            assert outcomes.recovered == outcome.objects == (f"{bucket.url}/out/otter.png",)
        assert outcome.status == "skipped"
        assert bucket.get("out/otter.png") == PICTURE
        assert len(server.requests) == 1
        assert (await load_ledger(ledger)).spent.edits == 1


async def test_what_waits_and_is_not_whole_any_more_is_not_done(
    bucket: Bucket, ledger: Path, denied: list[str]
) -> None:
    where: dict[str, Any] = {"out": f"{bucket.url}/out", "ledger": ledger}
    async with answering(done(2)) as server, client_of(server) as client:
        denied.append(".png")
        async with ImageEditor(client).edit_many([edit(n=2)], **where) as outcomes:
            await until(outcomes, SaveError, match="could not be put")
        (waiting_in(ledger, where["out"]) / "otter.1.png").unlink()
        denied.clear()
        [outcome] = await run(ImageEditor(client), edit(n=2), **where)
        assert (outcome.status, outcome.objects) == ("uncertain", (f"{bucket.url}/out/otter.png",))
        assert outcome.problem is not None
        assert f"gone or empty: {bucket.url}/out/otter.1.png" in outcome.problem.message
        assert len(server.requests) == 1


async def test_what_waits_for_one_bucket_goes_to_no_other(
    bucket: Bucket, ledger: Path, denied: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with answering(done()) as server, client_of(server) as client:
        denied.append("otter.png")
        async with ImageEditor(client).edit_many([edit()], out=f"{bucket.url}/out", ledger=ledger) as outcomes:
            await until(outcomes, SaveError, match="could not be put")
        denied.clear()
        [outcome] = await run(ImageEditor(client), edit(), out=f"{bucket.url}/public/", ledger=ledger)
        assert (outcome.status, bucket.names()) == ("uncertain", [])
        assert f"{waiting_in(ledger, f'{bucket.url}/out')}: 1 waiting for another out" in caplog.text
        [outcome] = await run(ImageEditor(client), edit(), out=f"{bucket.url}/out/", ledger=ledger)
        assert (outcome.status, bucket.names()) == ("skipped", ["out/otter.png"])
        assert len(server.requests) == 1


async def test_what_is_paid_and_waits_is_not_sent_again_where_lost_responses_are(
    bucket: Bucket, ledger: Path, denied: list[str]
) -> None:
    where: dict[str, Any] = {"out": f"{bucket.url}/out", "ledger": ledger}
    async with answering(done()) as server, client_of(server) as client:
        denied.append("otter.png")
        for _ in range(2):
            async with ImageEditor(client).edit_many([edit()], on_uncertain="retry", **where) as outcomes:
                found = [outcome async for outcome in suppressing(outcomes)]
            assert [each.status for each in found] == ["uncertain"]
        assert len(server.requests) == 1


async def test_a_picture_that_was_put_beside_another_is_found_there_by_the_next_run(
    bucket: Bucket, ledger: Path
) -> None:
    where: dict[str, Any] = {"out": f"{bucket.url}/out/", "ledger": ledger}
    async with answering(done()) as server, client_of(server) as client:
        async with ImageEditor(client).edit_many([edit()], **where) as outcomes:
            bucket.put("out/otter.png", b"of another program")
            await all_of(outcomes)
        (waiting_in(ledger, where["out"]) / "otter.png").write_bytes(PICTURE)  # as after a kill before its end here
        [outcome] = await run(ImageEditor(client), edit(), **where)
        assert (outcome.status, outcome.objects) == ("skipped", (f"{bucket.url}/out/otter-2.png",))
        assert bucket.names() == ["out/otter-2.png", "out/otter.png"]
        assert bucket.get("out/otter.png") == b"of another program"


async def test_an_older_picture_stays_where_no_new_one_could_be_saved(
    bucket: Bucket, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where: dict[str, Any] = {"out": f"{bucket.url}/out/", "ledger": ledger}
    async with answering(done(), done()) as server, client_of(server) as client:
        await run(ImageEditor(client), edit(), **where)
        monkeypatch.setattr(FileWriter, "save", full_disk)
        async with ImageEditor(client).edit_many([edit()], redo=["otter"], **where) as outcomes:
            [outcome] = await until(outcomes, SaveError, match="No space left")
        assert (outcome.status, outcome.displaced_objects) == ("uncertain", ())
        assert bucket.names() == ["out/otter.png"]


async def test_a_deletion_whose_answer_is_lost_is_not_taken_for_a_refusal(
    bucket: Bucket, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "PAUSES", (0.01,))
    delete, lost = writing.delete, list[str]()

    async def deleting(address: RemoteAddress, stores: RemoteStores) -> None:
        await delete(address, stores)
        if address.name == "otter.png" and not lost:
            lost.append(address.name)
            raise remote_error(f"{address.store} can't be reached.", address.shown, "unreachable", again=True)

    where: dict[str, Any] = {"out": f"{bucket.url}/out/", "ledger": ledger}
    async with answering(done(), done()) as server, client_of(server) as client:
        await run(ImageEditor(client), edit(), **where)
        bucket.put("out/otter.png", b"as it was before")
        monkeypatch.setattr(writing, "delete", deleting)
        [outcome] = await run(ImageEditor(client), edit(), redo=["otter"], **where)
        assert (lost, outcome.objects) == (["otter.png"], (f"{bucket.url}/out/otter.png",))
        assert outcome.displaced_objects == (f"{bucket.url}/{older_in(bucket)}",)
        assert bucket.names() == [older_in(bucket), "out/otter.png"]


async def test_a_store_that_goes_away_while_it_gets_what_waited_ends_the_run_before_more_is_paid(
    bucket: Bucket, ledger: Path, denied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "PAUSES", ())
    where: dict[str, Any] = {"out": f"{bucket.url}/out", "ledger": ledger}
    async with answering(done()) as server, client_of(server) as client:
        denied.append("otter.png")
        async with ImageEditor(client).edit_many([edit()], **where) as outcomes:
            await until(outcomes, SaveError, match="could not be put")
        denied.clear()
        monkeypatch.setattr(BucketDelivery, "_put_all", away)
        with pytest.raises(RemoteError, match=r"can't be reached.*Nothing was sent"):
            await run(ImageEditor(client), edit(), edit("b", png(2)), **where)
        assert len(server.requests) == 1


async def away(*_: Any) -> None:
    raise remote_error("memory:// can't be reached.", "memory://", "unreachable", again=True)


async def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


async def suppressing(outcomes: Outcomes) -> AsyncIterator[EditOutcome]:
    """The outcomes of a run, without what stopped it."""
    with suppress(SaveError):
        async for outcome in outcomes:
            yield outcome


def older_in(bucket: Bucket) -> str:
    """The one picture that was moved aside."""
    [name] = bucket.names("out/.asyncsdk/replaced")
    return name


def waiting_in(ledger: Path, out: str) -> Path:
    """Where pictures wait for `out`."""
    return ledger / "undelivered" / quote(out.rstrip("/"), safe="")


async def hanging(*_: Any) -> None:
    await anyio.sleep_forever()


async def losing(*_: Any, **__: Any) -> None:
    raise LedgerError("the process was killed before it was written")


@pytest.mark.parametrize(
    ("out", "options", "why"),
    [
        ("memory://x/out", {}, "needs a directory of this machine: name one with ledger="),
        ("https://host/out/", {"ledger": "ledger"}, "no picture can be put on a web server"),
        ("s3:///out/", {"ledger": "ledger"}, "its host or bucket is missing"),
        ("ftp://host/out/", {"ledger": "ledger"}, "the scheme ftp:// is not known"),
    ],
)
async def test_a_bad_address_is_refused_at_once(out: str, options: dict[str, Any], why: str) -> None:
    async with answering() as server, client_of(server) as client:
        with pytest.raises(ConfigurationError, match=why):
            ImageEditor(client).edit_many([edit()], out=out, **options)


async def test_a_bucket_that_takes_nothing_is_found_before_anything_is_paid(
    bucket: Bucket, ledger: Path, denied: list[str]
) -> None:
    denied.append("probe")
    async with answering() as server, client_of(server) as client:
        with pytest.raises(ConfigurationError, match=r"no picture can be saved there.*denies access.*Nothing was sent"):
            await run(ImageEditor(client), edit(), out=f"{bucket.url}/out/", ledger=ledger)
        assert server.requests == []


async def test_a_store_that_replaces_what_it_should_keep_is_found_before_anything_is_paid(
    bucket: Bucket, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = writing.put

    async def replacing(address: RemoteAddress, *arguments: Any, **options: Any) -> str | None:
        return await put(address, *arguments, **{**options, "create_only": False})

    monkeypatch.setattr(writing, "put", replacing)
    async with answering() as server, client_of(server) as client:
        with pytest.raises(ConfigurationError, match=r"replaces an object where it is asked not to.*Nothing was sent"):
            await run(ImageEditor(client), edit(), out=f"{bucket.url}/out/", ledger=ledger)
        assert (server.requests, bucket.names()) == ([], [])


async def test_without_the_extra_it_is_said_what_to_install(
    ledger: Path, monkeypatch: pytest.MonkeyPatch, bucket: Bucket
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    async with answering() as server, client_of(server) as client:
        with pytest.raises(ConfigurationError, match="extra 'remote'"):
            await run(ImageEditor(client), edit(), out="s3://bucket/out/", ledger=ledger)
        with pytest.raises(ConfigurationError, match="extra 'remote'"):
            await ImageEditor(client).edit("s3://bucket/otter.png", "a beret")
        assert server.requests == []


async def test_one_edit_is_not_saved_to_a_url(bucket: Bucket) -> None:
    url = bucket.put("otter.png", PICTURE)
    async with answering(done()) as server, client_of(server) as client:
        result = await ImageEditor(client).edit(url, "a beret", model=MODEL)
        with pytest.raises(ConfigurationError, match="edit_many puts pictures in a bucket"):
            await result.save(f"{bucket.url}/out/")
        assert b'filename="otter.png"' in server.requests[0].body
