"""What was answered is there again after a restart or a kill, and nothing half-written is."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from asyncsdk.server import LocalServer
from asyncsdk.server.incoming import created
from tests.server.support import (
    Clock,
    calling,
    connected,
    data_field,
    form_of,
    part_request,
    running,
)
from tests.waiting import until

DATA = os.urandom(100_000)


async def test_a_server_started_again_goes_on_where_it_was(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, call):
        done = (await call.uploaded(DATA, filename="é.jsonl")).json
        upload_id = await call.created(len(DATA))
        first = (await call.add_part(upload_id, DATA[:10])).json["id"]
        cancelled = await call.created(1)
        await call.cancel(cancelled)
    async with running(tmp_path) as (server, call):
        assert (await call("GET", "files")).json["data"] == [done["file"]]
        assert (await call.complete(done["id"], *part_ids_of(server, done["id"]))).json == done
        second = (await call.add_part(upload_id, DATA[10:])).json["id"]
        again = (await call.complete(upload_id, first, second, md5=hashlib.md5(DATA).hexdigest())).json
        assert server.stored(again["file"]["id"]).read_bytes() == DATA
        assert "is cancelled" in (await call.add_part(cancelled, b"x")).error["message"]


def part_ids_of(server: LocalServer, upload_id: str) -> tuple[str, ...]:
    return next(upload.part_ids for upload in server.uploads if upload.id == upload_id)


async def test_what_a_killed_server_left_without_a_record_is_gone_and_nothing_else_of_a_shared_directory(
    tmp_path: Path,
) -> None:
    arriving, orphan = tmp_path / "incoming" / ("0" * 32), tmp_path / "files" / f"file-{'a' * 22}" / f"part_{'0' * 32}"
    own = [tmp_path / "incoming" / "letters.txt", tmp_path / "files" / "thesis" / "one.txt", tmp_path / "notes.txt"]
    for path in (arriving, orphan, *own):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    async with running(tmp_path) as (server, call):
        upload_id = await call.created(2)
        await call.add_part(upload_id, b"x")
    async with running(tmp_path) as (server, call):
        assert (await call.add_part(upload_id, b"y")).status == 200
        assert server.files == []
    assert not arriving.exists()
    assert not orphan.parent.exists()
    assert all(path.read_bytes() == b"x" for path in own)
    assert len(list(tmp_path.glob("files/file-*/part_*"))) == 2


@pytest.mark.parametrize("damaged", ["uploads/upload_*.json", "files/file-*.json"])
async def test_the_content_of_a_record_that_can_not_be_read_stays(tmp_path: Path, damaged: str) -> None:
    async with running(tmp_path) as (server, call):
        file_id = (await call.uploaded(DATA)).json["file"]["id"]
        stored = server.stored(file_id)
    [record] = tmp_path.glob(damaged)
    record.write_bytes(b"{")
    async with running(tmp_path):
        assert stored.read_bytes() == DATA


@contextmanager
def created_at_one_tick(path: Path) -> Iterator[BinaryIO]:
    """As many systems date what is written within a few milliseconds."""
    with created(path) as file:
        yield file
    os.utime(path, ns=(10**18, 10**18))


async def test_files_keep_their_order_over_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncsdk.server.store.created", created_at_one_tick)
    async with running(tmp_path, clock=Clock()) as (server, call):
        made = [(await call.uploaded(b"x")).json["file"]["id"] for _ in range(5)]
    async with running(tmp_path, clock=Clock()) as (server, call):
        assert [file.id for file in server.files] == made
        listed = (await call("GET", "files")).json["data"]
        assert [file["id"] for file in listed] == made[::-1]


async def test_a_killed_server_keeps_what_it_answered_and_nothing_half_written(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from asyncsdk.server import LocalServer, serve\n"
        "asyncio.run(serve(LocalServer(sys.argv[1], port=int(sys.argv[2])), lambda s: print(s.port, flush=True)))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, tmp_path, "0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    server = _Elsewhere(int(await process.stdout.readline()))
    async with calling(server) as call:  # type: ignore[arg-type] # it has all that a caller asks for
        upload_id = await call.created(len(DATA))
        part_id = (await call.add_part(upload_id, DATA)).json["id"]
        done = (await call.uploaded(DATA)).json
        async with connected(server) as (_, writer):  # type: ignore[arg-type] # as above
            writer.write(part_request(upload_id, form_of(data_field(bytes(3 * 2**20))))[: 2 * 2**20])
            await until(lambda: list(tmp_path.glob("incoming/*")))
            process.send_signal(signal.SIGKILL)
            await process.wait()
    async with running(tmp_path) as (again, call):
        assert not list(tmp_path.glob("incoming/*"))
        assert [file.to_json() for file in again.files] == [done["file"]]
        assert (await call.complete(upload_id, part_id)).status == 200


class _Elsewhere:
    """A server in another process."""

    def __init__(self, port: int) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}/v1"


async def test_a_complete_that_was_killed_once_its_file_was_written_down_is_done(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, call):
        upload_id = await call.created(len(DATA))
        part_id = (await call.add_part(upload_id, DATA)).json["id"]
        record = (tmp_path / "uploads" / f"{upload_id}.json").read_bytes()
        done = await call.complete(upload_id, part_id)
    (tmp_path / "uploads" / f"{upload_id}.json").write_bytes(record)
    for _ in range(2):
        async with running(tmp_path) as (server, call):
            assert [upload.status for upload in server.uploads] == ["completed"]
            assert (await call.complete(upload_id, part_id)).json == done.json
            assert (await call("POST", f"uploads/{upload_id}/cancel")).status == 400
            assert [server.stored(file.id).read_bytes() for file in server.files] == [DATA]


async def test_records_that_can_not_be_read_are_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as (_, call):
        kept = (await call.uploaded(DATA)).json["file"]["id"]
    (tmp_path / "uploads" / ("upload_" + "0" * 32 + ".json")).mkdir()
    (tmp_path / "files" / "file-1.json").write_text("")
    (tmp_path / "files" / "file-2.json").write_text('{"id": "file-2"}')
    async with running(tmp_path) as (server, _):
        assert [file.id for file in server.files] == [kept]
    assert caplog.text.count("can't be read") == 3


async def test_one_directory_has_one_server(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, call):
        with pytest.raises(RuntimeError, match="in use by another server"):
            async with LocalServer(tmp_path):
                pass
        assert (await call.uploaded(DATA)).status == 200
    async with running(tmp_path) as (server, _):
        assert len(server.files) == 1
