"""The disk: removed parts, expired files, flat memory, and errors that leave nothing."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import pytest

from asyncsdk.server import incoming, store
from asyncsdk.server.incoming import Spool
from asyncsdk.server.repository import Repository
from asyncsdk.server.workers import THREADS, Workers
from tests.server.support import (
    FORM_HEADERS,
    NOW,
    Caller,
    Clock,
    connected,
    data_field,
    files_below,
    form_of,
    kept_parts,
    part_request,
    running,
)
from tests.waiting import until

DATA = os.urandom(100_000)
HOUR, DAY = 3600, 24 * 3600


async def test_parts_leave_the_disk_when_the_upload_ends(tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path, clock=clock) as (server, call):
        for end in ("complete", "cancel", "expire"):
            upload_id = await call.created(len(DATA))
            part_id = (await call.add_part(upload_id, DATA)).json["id"]
            await call.add_part(upload_id, b"an orphan")
            assert kept_parts(server) == 2
            if end == "complete":
                await call.complete(upload_id, part_id)
            elif end == "cancel":
                await call.cancel(upload_id)
            else:
                clock.now += HOUR
                await call.create()
            assert len(list(tmp_path.glob("files/*/part_*"))) == 1  # of the one that was completed
            assert not list(tmp_path.glob("incoming/*"))


async def test_an_expired_upload_is_told_for_a_day_and_then_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    async with running(tmp_path, clock=clock, upload_ttl=60) as (server, call):
        upload_id = await call.created(len(DATA))
        assert server.uploads[0].expires_at == NOW + 60
        clock.now += 60
        assert "is expired" in (await call.add_part(upload_id, DATA)).error["message"]
        assert "is expired" in (await call.complete(upload_id)).error["message"]
        assert [upload.status for upload in server.uploads] == ["expired"]
        clock.now += DAY
        assert (await call.add_part(upload_id, DATA)).status == 404
        await call("GET", "files")
        assert files_below(tmp_path) == []


async def test_an_expired_file_is_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    policy = {"anchor": "created_at", "seconds": HOUR}
    async with running(tmp_path, clock=clock) as (server, call):
        file_id = (await call.uploaded(DATA, expires_after=policy)).json["file"]["id"]
        clock.now += HOUR
        assert (await call("GET", f"files/{file_id}")).status == 404
        assert server.files == []
        with pytest.raises(KeyError):
            server.stored(file_id)
        await call("GET", "files")
        assert not list(tmp_path.glob("files/*"))


async def test_a_deleted_file_leaves_the_disk(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, call):
        file_id = (await call.uploaded(DATA)).json["file"]["id"]
        await call("DELETE", f"files/{file_id}")
        assert not list(tmp_path.glob("files/*"))


async def test_a_name_is_never_a_path(tmp_path: Path) -> None:
    directory = tmp_path / "inner"
    async with running(directory) as (server, call):
        await call.uploaded(DATA, filename="../../../outside")
        form = form_of(
            b'Content-Disposition: form-data; name="purpose"\r\n\r\nbatch',
            b'Content-Disposition: form-data; name="file"; filename="/etc/../outside"\r\n\r\nx',
        )
        assert (await call("POST", "files", data=form, headers=FORM_HEADERS)).json["filename"] == "/etc/../outside"
        for path in ("files/..%2F..%2Flock", "files/..%2Flock/content", "uploads/..%2F../parts"):
            assert (await call("GET", path)).status in (404, 405)
        assert [file.filename for file in server.files] == ["../../../outside", "/etc/../outside"]
    assert list(tmp_path.iterdir()) == [directory]
    assert not [name for name in files_below(tmp_path) if "outside" in name]


async def test_a_part_is_never_held_in_memory() -> None:
    size, piece = 24 * 2**20, bytes(2**17)

    async def body() -> AsyncIterator[bytes]:
        head, tail = form_of(data_field(b"|")).split(b"|")
        yield head
        for _ in range(size // len(piece)):
            yield piece
        yield tail

    async with running() as (_, call):
        upload_id = await call.created(size)
        tracemalloc.start()
        try:
            answer = await call("POST", f"uploads/{upload_id}/parts", data=body(), headers=FORM_HEADERS)
            assert tracemalloc.get_traced_memory()[1] < 6 * 2**20
        finally:
            tracemalloc.stop()
        assert (await call.complete(upload_id, answer.json["id"])).status == 200


async def test_a_file_of_several_parts_is_served_from_them_in_their_order(tmp_path: Path) -> None:
    async with running(tmp_path) as (server, call):
        upload_id = await call.created(3 * 2**20)
        contents = [os.urandom(2**20 - 1), os.urandom(2**20 + 1), b"never used", os.urandom(2**20)]
        ids = [(await call.add_part(upload_id, content)).json["id"] for content in contents]
        wanted = {1: contents[1], 0: contents[0], 3: contents[3]}
        file_id = (await call.complete(upload_id, *[ids[number] for number in wanted])).json["file"]["id"]
        assert {path.name for path in (tmp_path / "files" / file_id).iterdir()} == {ids[0], ids[1], ids[3]}
        for _ in range(2):
            assert server.stored(file_id).read_bytes() == b"".join(wanted.values())
        async with call.session.get(f"files/{file_id}/content") as response:
            assert await response.read() == b"".join(wanted.values())
        await call("DELETE", f"files/{file_id}")
        assert not list(tmp_path.glob("files/*"))


@pytest.mark.parametrize("record", ["write_file", "write_upload"])
async def test_a_disk_that_fails_at_complete_leaves_the_upload_pending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "bad disk")

    async with running(tmp_path) as (_, call):
        uploads = [(upload_id := await call.created(2), await _two_parts(call, upload_id)) for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(store.Store, record, fail)
            for upload_id, part_ids in uploads:
                assert (await call.complete(upload_id, *part_ids)).status == 500
        assert not list(tmp_path.glob("incoming/*"))
        (first, part_ids), (second, _) = uploads
        assert (await call.complete(first, *part_ids)).status == 200
        assert (await call.cancel(second)).status == 200
    async with running(tmp_path) as (server, _):
        assert {upload.id: upload.status for upload in server.uploads} == {first: "completed", second: "cancelled"}
        assert [server.stored(file.id).read_bytes() for file in server.files] == [b"ab"]
        assert len(list(tmp_path.glob("files/*"))) == 2


async def _two_parts(call: Caller, upload_id: str) -> list[str]:
    return [(await call.add_part(upload_id, content)).json["id"] for content in (b"a", b"b")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
async def test_a_full_disk_refuses_the_part_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (server, call):
        upload_id = await call.created(2**21)
        with monkeypatch.context() as patch:
            patch.setattr(incoming, "created", lambda path: _full(path).open("wb"))
            assert (await call.add_part(upload_id, bytes(2**21))).status == 500
            assert (await call.add_part(upload_id, b"small")).status == 500
        assert not list(server.directory_in_use.glob("incoming/*"))
        assert (await call.add_part(upload_id, bytes(2**21))).status == 200


def _full(path: Path) -> Path:
    return Path("/dev/full") if path.parent.name == "incoming" else path


async def test_stopping_stops_long_work_and_waits_for_it() -> None:
    workers, began, seen = Workers(), threading.Event(), []

    def work() -> None:
        began.set()
        try:
            while True:
                workers.go_on()
                time.sleep(0.001)
        except RuntimeError as error:
            seen.append(str(error))

    job = asyncio.ensure_future(workers.run(work))
    await until(began.is_set)
    job.cancel()
    await workers.close(lambda: seen.append("last"))
    assert len(seen) == 2
    assert "is stopping" in seen[0]
    assert seen[1] == "last"


async def test_a_part_that_is_being_written_when_the_server_stops_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, go, real = threading.Event(), threading.Event(), incoming.created

    def wait(path: Path) -> BinaryIO:
        writing.set()
        go.wait(5)
        return real(path)

    async with running(tmp_path) as (server, call), connected(server) as (_, writer):
        upload_id = await call.created(3 * 2**20)
        monkeypatch.setattr(incoming, "created", wait)
        writer.write(part_request(upload_id, form_of(data_field(bytes(3 * 2**20))))[: 2 * 2**20])
        await until(writing.is_set)
        asyncio.get_running_loop().call_later(0.05, go.set)
    assert not list(tmp_path.glob("incoming/*"))


async def test_what_arrived_is_discarded_though_the_call_is_cancelled_and_all_threads_are_busy(tmp_path: Path) -> None:
    state, go = Repository(tmp_path, Clock()), threading.Event()
    await state.load()

    async def receive() -> None:
        async with state.incoming(2**22) as incoming:
            await incoming.write(bytes(2**21))
            workers = state._workers  # noqa: SLF001 - no call keeps all its threads busy for long
            busy.extend(asyncio.ensure_future(workers.run(go.wait, 5)) for _ in range(THREADS))
            await asyncio.sleep(0)

    busy: list[asyncio.Future[bool]] = []
    call = asyncio.ensure_future(receive())
    await until(lambda: busy)
    await asyncio.sleep(0.01)
    call.cancel()
    await asyncio.wait([call])
    assert list(tmp_path.glob("incoming/*"))
    go.set()
    await asyncio.gather(*busy)
    await state.close()
    assert not list(tmp_path.glob("incoming/*"))
    gc.collect()


def test_bytes_that_come_too_late_are_dropped(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.append([b"x"])
    spool.discard()
    spool.append([b"x"])
    assert not list(tmp_path.iterdir())


async def test_two_sweeps_at_once_do_no_harm() -> None:
    clock = Clock()
    async with running(clock=clock) as (server, call):
        for number in range(20):
            await call.created(10)
            repository = server._repository  # noqa: SLF001 - twenty edits that are painted would take long
            await repository.keep_picture(f"img-{number}.png", b"x")

        async def sweep() -> set[int]:
            return {answer.status for answer in await asyncio.gather(*[call("GET", "files") for _ in range(5)])}

        clock.now += HOUR
        assert await sweep() == {200}
        assert {upload.status for upload in server.uploads} == {"expired"}
        assert not list(server.directory_in_use.glob("pictures/*"))
        clock.now += DAY
        assert await sweep() == {200}
        assert server.uploads == []
