"""Streams are uploaded: as they come where their size is known, else from a file without a name."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import os
import re
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsdk import (
    AsyncUploader,
    Client,
    ConfigurationError,
    FileJournal,
    InternalServerError,
    Progress,
    SourceChangedError,
    SourceError,
    UploadError,
    UploadJob,
    UploadResult,
)
from asyncsdk.server import Fault, LocalServer
from asyncsdk.uploads import uploader as uploads
from asyncsdk.uploads.checksum import ContentHash
from asyncsdk.uploads.chunking import BLOCK
from asyncsdk.uploads.method import METHODS
from asyncsdk.uploads.sources import spool
from asyncsdk.uploads.sources.stream_source import STREAM_MEMORY, PartMemory
from asyncsdk.wal import disk
from tests.faults.leaving import cancelled_at_once
from tests.stories.streams import CONTENT, KINDS, AsyncFile, FormPart, pieces, pipe
from tests.stories.support import MIB
from tests.stories.test_processes import parts_in
from tests.waiting import until

SIZE = len(CONTENT)


@pytest.fixture
def no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this stream is not to be written to a disk")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_of_any_kind_is_uploaded_by_way_of_a_file_without_a_name(
    server: LocalServer, uploader: AsyncUploader, journal: Path, kind: str
) -> None:
    result = await uploader.upload(KINDS[kind](), purpose="batch", filename="a.bin")
    assert server.stored(result.file.id).read_bytes() == CONTENT
    assert (result.file.filename, result.bytes_sent) == ("a.bin", SIZE)
    assert not [path for path in journal.rglob("*") if path.is_file() and path.stat().st_size > MIB]


@pytest.mark.usefixtures("no_disk")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_of_known_size_is_uploaded_from_memory(
    server: LocalServer, uploader: AsyncUploader, kind: str
) -> None:
    seen: list[Progress] = []
    result = await uploader.upload(KINDS[kind](), purpose="batch", filename="a.bin", size=SIZE, on_progress=seen.append)
    assert server.stored(result.file.id).read_bytes() == CONTENT
    assert (result.bytes_sent, seen[-1].bytes_done, seen[-1].bytes_hashed) == (SIZE, SIZE, SIZE)
    assert result.md5 == hashlib.md5(CONTENT).hexdigest()


@pytest.mark.parametrize("size", [None, SIZE])
@pytest.mark.parametrize("buffering", [-1, 0])
async def test_a_pipe_is_uploaded(
    server: LocalServer, uploader: AsyncUploader, size: int | None, buffering: int
) -> None:
    with pipe(buffering=buffering) as file:
        result = await uploader.upload(("a.bin", file), purpose="batch", size=size)
        assert not file.closed
    assert server.stored(result.file.id).read_bytes() == CONTENT


@pytest.mark.parametrize("buffering", [-1, 0])
async def test_a_pipe_that_is_open_without_blocking_is_read_to_its_end(
    server: LocalServer, uploader: AsyncUploader, buffering: int
) -> None:
    with pipe(buffering=buffering, pause=0.2) as file:
        os.set_blocking(file.fileno(), False)
        result = await uploader.upload(("a.bin", file), purpose="batch")
    assert server.stored(result.file.id).read_bytes() == CONTENT


@pytest.mark.usefixtures("no_disk")
async def test_a_file_of_aiofiles_has_its_own_name_and_size(server: LocalServer, uploader: AsyncUploader) -> None:
    result = await uploader.upload(AsyncFile(), purpose="batch")
    assert server.stored(result.file.id).read_bytes() == CONTENT
    assert result.file.filename == "of-aiofiles.bin"
    part: Any = FormPart()
    assert (await uploader.upload(part, purpose="batch", size=SIZE)).file.filename == "of-a-form.bin"


@pytest.mark.parametrize("size", [None, 1, BLOCK, BLOCK + 1, MIB])
async def test_a_small_stream_is_uploaded_whatever_the_method(
    server: LocalServer, client: Client, journal: Path, size: int | None
) -> None:
    content = CONTENT[: size or 10]
    uploader = AsyncUploader(client, journal=journal)
    for method in METHODS:
        result = await uploader.upload(pieces(content), purpose="batch", filename="a", method=method, size=size)
        assert server.stored(result.file.id).read_bytes() == content


async def test_many_streams_share_the_memory_of_their_uploader(
    server: LocalServer, client: Client, journal: Path
) -> None:
    jobs = [UploadJob(pieces(), "batch", f"{index}.bin", method="uploads", size=SIZE) for index in range(20)]
    jobs += [UploadJob(pieces(), "batch", f"{index}.bin") for index in range(20, 24)]
    uploader = AsyncUploader(client, journal=journal)
    async with uploader.upload_many(jobs) as outcomes:
        results = [outcome.result async for outcome in outcomes]
    assert all(result and server.stored(result.file.id).read_bytes() == CONTENT for result in results)
    memory = uploader._context.stream_memory  # noqa: SLF001 - what is still taken shows nowhere else
    assert (memory._taken, memory._spare) == (0, [])  # noqa: SLF001 - as above


@pytest.mark.usefixtures("no_disk")
async def test_a_slow_server_holds_the_producer_back(server: LocalServer, client: Client, journal: Path) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        block = bytes(MIB)
        while given < 256 * MIB:
            given += MIB
            yield block

    server.inject(Fault("part", "stall", "before", seconds=60, every=1))
    uploader = AsyncUploader(client, journal=journal, concurrency=4)
    task = asyncio.create_task(uploader.upload(endless(), purpose="batch", filename="a", size=256 * MIB))
    await until(lambda: given > 4 * 8 * MIB)
    reached = -1
    while reached != given:
        reached = given
        await asyncio.sleep(0.5)
    assert given <= STREAM_MEMORY + MIB
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert uploader._context.stream_memory._taken == 0  # noqa: SLF001 - it shows nowhere else


@pytest.mark.usefixtures("no_disk")
async def test_a_producer_at_the_other_end_of_a_connection_is_held_back_too(
    server: LocalServer, client: Client, journal: Path
) -> None:
    given, unsent = 0, 0

    async def produce(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal given, unsent
        while given < 256 * MIB:
            writer.write(bytes(MIB))
            given, unsent = given + MIB, writer.transport.get_write_buffer_size()
            await writer.drain()

    server.inject(Fault("part", "stall", "before", seconds=60, every=1))
    async with await asyncio.start_server(produce, "127.0.0.1", 0) as producer:
        reader, writer = await asyncio.open_connection(*producer.sockets[0].getsockname())
        uploader = AsyncUploader(client, journal=journal, concurrency=4)
        task = asyncio.create_task(uploader.upload(reader, purpose="batch", filename="a", size=256 * MIB))
        reached = -1
        while reached != given or not unsent:
            reached = given
            await asyncio.sleep(0.5)
        assert given <= STREAM_MEMORY + 16 * MIB  # the system's buffers of a connection
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        writer.close()


@pytest.mark.parametrize("size", [None, 64 * MIB])
async def test_a_stream_that_stalls_lets_others_begin(
    server: LocalServer, client: Client, journal: Path, size: int | None
) -> None:
    async def stalls() -> AsyncIterator[bytes]:
        yield CONTENT
        await until(lambda: len(ended) == 3)
        raise OSError("lost")

    ended = list[tuple[str | None, type]]()
    jobs = [UploadJob(stalls(), "batch", "stalls", method="uploads", size=size)]
    jobs += [UploadJob(pieces(), "batch", f"{index}.bin", method="uploads", size=SIZE) for index in range(3)]
    uploader = AsyncUploader(client, journal=journal, concurrency=2, stall_timeout=1.0)  # ten of them are its end
    async with uploader.upload_many(jobs) as outcomes:
        async for outcome in outcomes:
            ended.append((outcome.job.filename, type(outcome.error)))
    assert ended[-1] == ("stalls", UploadError)
    assert sorted(ended[:-1]) == [(f"{index}.bin", type(None)) for index in range(3)]


@pytest.mark.parametrize("beyond", [BLOCK // 2, 3 * BLOCK + BLOCK // 2])  # of the second part: little of it, or most
async def test_streams_that_stall_give_their_memory_to_others(
    server: LocalServer, client: Client, journal: Path, monkeypatch: pytest.MonkeyPatch, beyond: int
) -> None:
    async def stalls(ready: anyio.Event) -> AsyncIterator[bytes]:
        yield bytes(4 * BLOCK + beyond)
        ready.set()
        await goes_on.wait()
        yield bytes(16 * BLOCK - 4 * BLOCK - beyond)

    async def upload(name: str, stream: AsyncIterator[bytes], size: int) -> None:
        results.append(await uploader.upload(stream, purpose="batch", filename=name, size=size))

    monkeypatch.setattr(uploads, "PartMemory", partial(PartMemory, 16))  # that of four parts
    goes_on, results = anyio.Event(), list[UploadResult]()
    uploader = AsyncUploader(client, journal=journal, concurrency=2, stall_timeout=0.8)  # ten of them are their end
    async with anyio.create_task_group() as group:
        for number in range(4):
            ready = anyio.Event()
            group.start_soon(upload, f"stalls {number}", stalls(ready), 16 * BLOCK)
            await ready.wait()
        with anyio.fail_after(7):
            await upload("other", pieces(), SIZE)
        goes_on.set()
    for result in results:
        content = CONTENT if result.file.filename == "other" else bytes(16 * BLOCK)
        assert server.stored(result.file.id).read_bytes() == content
        assert result.md5 == hashlib.md5(content).hexdigest()


async def test_parts_that_a_stall_made_shorter_are_found_again_though_it_stalls_in_one_of_them(
    server: LocalServer, client: Client, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stalls(*, at: int, fails: bool) -> AsyncIterator[bytes]:
        yield CONTENT[:at]
        await until(lambda: seen and "given nothing" in seen[-1].note)
        yield CONTENT[at:]
        if fails:
            await until(lambda: seen[-1].bytes_done == SIZE)
            raise OSError("lost")

    monkeypatch.setattr(uploads, "PartMemory", partial(PartMemory, 16))  # parts of four blocks
    uploader = AsyncUploader(client, journal=journal, concurrency=2, part_size=4 * BLOCK, stall_timeout=0.5)
    seen = list[Progress]()
    upload = partial(uploader.upload, purpose="batch", filename="a", key="k", size=SIZE, on_progress=seen.append)
    with pytest.raises(UploadError):
        await upload(stalls(at=7 * BLOCK + 1, fails=True))
    cuts = sorted(part.offset // BLOCK for part in await parts_in(journal))
    assert cuts == [0, 4, 7, 8]
    seen.clear()
    result = await upload(stalls(at=5 * BLOCK + 1, fails=False))
    assert (result.bytes_sent, result.md5) == (0, hashlib.md5(CONTENT).hexdigest())
    assert server.stored(result.file.id).read_bytes() == CONTENT


async def test_what_is_filled_is_sent_in_a_stall_however_slow_the_hashing_is(
    server: LocalServer, client: Client, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stalls() -> AsyncIterator[bytes]:
        yield bytes(11 * BLOCK + 1)  # of parts of four blocks
        await goes_on.wait()
        yield bytes(5 * BLOCK - 1)

    def take(digest: ContentHash, *args: Any) -> None:
        assert may_hash.wait(10)
        taken(digest, *args)

    def watch(progress: Progress) -> None:
        if "given nothing" in progress.note:
            may_hash.set()
        if progress.bytes_done == 11 * BLOCK:
            goes_on.set()

    monkeypatch.setattr(uploads, "PartMemory", partial(PartMemory, 16))
    taken, may_hash, goes_on = ContentHash.take, threading.Event(), anyio.Event()
    monkeypatch.setattr(ContentHash, "take", take)
    uploader = AsyncUploader(client, journal=journal, concurrency=2, stall_timeout=0.6)  # ten of them are its end
    with anyio.fail_after(5.5):
        result = await uploader.upload(stalls(), purpose="batch", filename="a", size=16 * BLOCK, on_progress=watch)
    assert server.stored(result.file.id).read_bytes() == bytes(16 * BLOCK)


async def test_a_stream_is_read_no_further_than_three_parts_ahead_of_the_hashing(
    server: LocalServer, client: Client, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def counted() -> AsyncIterator[bytes]:
        for number in range(1, 41):
            given.append(number)
            if number == 12:  # three parts of four blocks
                asyncio.get_running_loop().call_later(0.2, note)
            yield bytes(BLOCK)

    def note() -> None:
        furthest.append(given[-1])
        may_hash.set()

    def take(digest: ContentHash, *args: Any) -> None:
        assert may_hash.wait(10)
        taken(digest, *args)

    monkeypatch.setattr(uploads, "PartMemory", partial(PartMemory, 16))
    given, furthest = list[int](), list[int]()
    taken, may_hash = ContentHash.take, threading.Event()
    monkeypatch.setattr(ContentHash, "take", take)
    uploader = AsyncUploader(client, journal=journal, concurrency=2)
    result = await uploader.upload(counted(), purpose="batch", filename="a", size=40 * BLOCK)
    assert server.stored(result.file.id).read_bytes() == bytes(40 * BLOCK)
    assert furthest == [12]


async def test_a_stream_is_read_in_one_context_to_its_end(server: LocalServer, uploader: AsyncUploader) -> None:
    async def within() -> AsyncIterator[bytes]:
        token = tenant.set("a")
        try:
            async with asyncio.timeout(60):
                async for piece in pieces():
                    tasks.add(asyncio.current_task())
                    yield piece
        finally:
            tenant.reset(token)  # raises in another context

    tenant, tasks = ContextVar[str]("tenant"), set[object]()
    result = await uploader.upload(within(), purpose="batch", filename="a", size=SIZE)
    assert server.stored(result.file.id).read_bytes() == CONTENT
    assert len(tasks) == 1  # a timeout around what it gives ends the task in which it was entered


async def test_of_forty_streams_one_that_stalls_and_one_that_fails_hold_up_no_other(
    server: LocalServer, client: Client, journal: Path
) -> None:
    async def stalls() -> AsyncIterator[bytes]:
        yield CONTENT[:MIB]
        await asyncio.sleep(60)

    streams = [pieces() for _ in range(38)]
    streams[3:3], streams[7:7] = [stalls()], [broken(MIB)]
    jobs = [
        UploadJob(stream, "batch", f"{index}.bin", method="uploads", size=SIZE if index % 4 else None)
        for index, stream in enumerate(streams)
    ]
    uploader = AsyncUploader(client, journal=journal, stall_timeout=0.3)
    async with uploader.upload_many(jobs) as outcomes:
        results = {outcome.job.filename: outcome.result async for outcome in outcomes}
    assert {name for name, result in results.items() if result is None} == {"3.bin", "7.bin"}
    assert all(server.stored(result.file.id).read_bytes() == CONTENT for result in results.values() if result)


async def test_parts_that_are_too_large_for_the_server_are_cut_in_memory(
    server: LocalServer, client: Client, journal: Path
) -> None:
    server.inject(Fault("part", "answer", "before", status=413, nth=1, every=1, times=2))
    uploader = AsyncUploader(client, journal=journal, concurrency=2, part_size=4 * MIB)
    result = await uploader.upload(pieces(), purpose="batch", filename="a", size=SIZE)
    assert server.stored(result.file.id).read_bytes() == CONTENT


async def test_a_lost_part_is_sent_again_from_memory(server: LocalServer, uploader: AsyncUploader) -> None:
    server.inject(Fault("part", "reset", "before", nth=2, every=2, times=3))
    result = await uploader.upload(pieces(), purpose="batch", filename="a", size=SIZE)
    assert server.stored(result.file.id).read_bytes() == CONTENT


# what goes wrong


@pytest.mark.parametrize("key", [None, "mine"])
@pytest.mark.parametrize(
    ("off", "what"),
    [
        (1, rf"a ended after {SIZE:,} of the {SIZE + 1:,} bytes of size=\. No file was made"),
        (-1, rf"a has more than the {SIZE - 1:,} bytes of size=\. No file was made"),
        (10 * MIB, rf"a ended after {SIZE:,} of the"),
    ],
)
async def test_a_wrong_size_is_an_error_and_nothing_is_completed(
    server: LocalServer, uploader: AsyncUploader, off: int, what: str, key: str | None
) -> None:
    with pytest.raises(SourceChangedError, match=what) as changed:
        await uploader.upload(pieces(), purpose="batch", filename="a", size=SIZE + off, key=key)
    assert not changed.value.resumable
    assert not server.files
    assert "complete" not in server.calls
    assert uploader._context.stream_memory._taken == 0  # noqa: SLF001 - it shows nowhere else


@pytest.mark.parametrize("off", [1, -1])
async def test_a_wrong_size_of_what_is_spooled_sends_nothing(
    server: LocalServer, uploader: AsyncUploader, off: int
) -> None:
    gave = "more than" if off < 0 else f"{SIZE:,} bytes, not"
    with pytest.raises(SourceChangedError, match=rf"gave {gave} the {SIZE + off:,}( bytes)? of size="):
        await uploader.upload(pieces(), purpose="batch", filename="a", size=SIZE + off, method="files")
    assert not server.calls


async def test_a_size_is_checked_for_files_and_bytes_too(
    server: LocalServer, uploader: AsyncUploader, tmp_path: Path
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    for source in (path, b"abc", io.BytesIO(b"abc")):
        with pytest.raises(SourceError, match=r"has 3 bytes, not the 4 of size=\. Nothing was sent"):
            await uploader.upload(source, purpose="batch", size=4)
    assert not server.calls
    assert (await uploader.upload(path, purpose="batch", size=3)).file.bytes == 3


async def broken(after: int) -> AsyncIterator[bytes]:
    yield CONTENT[:after]
    raise ConnectionResetError(104, "Connection reset by sk-the-stores-key")


@pytest.mark.parametrize("size", [None, SIZE])
async def test_a_stream_that_raises_is_an_error_that_says_so(
    server: LocalServer, uploader: AsyncUploader, size: int | None
) -> None:
    async def secret() -> AsyncIterator[bytes]:
        yield CONTENT[: 2 * MIB]
        raise ValueError("https://store/a?sig=secret")

    for stream, kind in ((broken(2 * MIB), "Connection reset"), (secret(), "ValueError")):
        with pytest.raises(UploadError, match=rf"a can't be read any more, after 2,097,152 bytes: {kind}") as failed:
            await uploader.upload(stream, purpose="batch", filename="a", size=size)
        assert "secret" not in str(failed.value)
        assert failed.value.__cause__ is not None
        assert failed.value.advice
    assert not server.files


@pytest.mark.parametrize("key", [None, "mine"])
async def test_a_stream_that_failed_on_its_way_to_the_disk_is_resumable_only_where_it_is_opened_again(
    uploader: AsyncUploader, key: str | None
) -> None:
    with pytest.raises(UploadError, match="can't be read any more") as failed:
        await uploader.upload(broken(2 * MIB), purpose="batch", filename="a", key=key)
    assert not failed.value.resumable  # what is left of it would be sent as if it were all
    assert failed.value.advice == "Nothing was sent yet. Repeat the call with the stream from its beginning."
    with pytest.raises(UploadError, match="can't be read any more") as opened:
        await uploader.upload(lambda: broken(2 * MIB), purpose="batch", filename="a", key=key)
    assert (opened.value.resumable, opened.value.advice) == (True, "Nothing was sent yet. Repeat the call.")


@pytest.mark.parametrize("size", [None, SIZE])
async def test_text_is_refused_where_it_comes(server: LocalServer, uploader: AsyncUploader, size: int | None) -> None:
    async def text(start: bytes = b"") -> AsyncIterator[Any]:
        if start:
            yield start
        yield "text"

    with pytest.raises(SourceError, match=r"a gives str, not bytes: encode it\. Nothing was sent"):
        await uploader.upload(text(), purpose="batch", filename="a", size=size)
    assert not server.calls
    with pytest.raises(UploadError, match=r"a gives str, not bytes: encode it\. Nothing was completed"):
        await uploader.upload(text(bytes(2 * MIB)), purpose="batch", filename="a", size=size)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (None, "a is empty, or was read before; an upload needs at least one byte. Nothing was sent."),
        (10, "a ended after 0 of the 10 bytes of size=, as a stream does that was read before. No file was made."),
        (0, "a is empty; an upload needs at least one byte. Nothing was sent."),
    ],
)
async def test_an_empty_stream_is_refused(
    server: LocalServer, uploader: AsyncUploader, size: int | None, said: str
) -> None:
    with pytest.raises((SourceError, SourceChangedError), match=f"^{re.escape(said)}"):
        await uploader.upload(pieces(b""), purpose="batch", filename="a", size=size)
    assert not server.calls


@pytest.mark.parametrize("size", [None, SIZE])
async def test_a_stream_that_gives_nothing_is_said_to_be_the_one_that_stalls(
    server: LocalServer, client: Client, journal: Path, size: int | None
) -> None:
    async def stalls() -> AsyncIterator[bytes]:
        yield CONTENT[: 2 * MIB]
        await asyncio.sleep(60)

    seen: list[Progress] = []
    uploader = AsyncUploader(client, journal=journal, part_size=MIB, stall_timeout=0.1)
    with pytest.raises(UploadError, match=r"a gave nothing for 1 s, after 2,097,152 bytes: its source has stalled, n"):
        await uploader.upload(stalls(), purpose="batch", filename="a", size=size, on_progress=seen.append)
    assert not server.files
    assert "its source has given nothing for 0.1 s" in {progress.note for progress in seen}


@pytest.mark.parametrize("size", [None, SIZE])
async def test_a_stuck_pipe_does_not_hold_up_a_cancelled_upload(uploader: AsyncUploader, size: int | None) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as file:
        task = asyncio.create_task(uploader.upload(("a", file), purpose="batch", size=size))
        os.write(writer, b"x" * 1000)
        await asyncio.sleep(0.3)
        await cancelled_at_once(task)
        os.close(writer)  # so that the thread ends
        await asyncio.sleep(0.1)


async def test_a_generator_is_closed_when_its_upload_ends(uploader: AsyncUploader) -> None:
    closed = []

    async def guarded() -> AsyncIterator[bytes]:
        try:
            yield CONTENT
            yield CONTENT
        finally:
            closed.append(True)

    class Guarded:
        __aiter__ = staticmethod(guarded)

    for stream in (guarded(), Guarded(), guarded):
        with pytest.raises(SourceChangedError):
            await uploader.upload(stream, purpose="batch", filename="a", size=SIZE)
    assert closed == [True] * 3


async def test_a_function_that_never_returns_is_said_to_be_what_stalls(client: Client, journal: Path) -> None:
    async def connect() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        return pieces()

    uploader = AsyncUploader(client, journal=journal, stall_timeout=0.02)
    with pytest.raises(
        UploadError, match=r"a was not opened within 0\.2 s: its source has stalled, not the connection"
    ):
        await uploader.upload(connect, purpose="batch", filename="a", size=SIZE)


# the spool


async def test_a_full_disk_is_said_before_it_is_full(
    server: LocalServer, uploader: AsyncUploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "LOOK_EVERY", 2 * MIB)
    usage = shutil.disk_usage("/")._replace(free=spool.LEFT_ALONE + MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SourceError, match=r"no room left in .*journal for a, .*Pass size= if you know it"):
        await uploader.upload(pieces(), purpose="batch", filename="a")
    assert not server.calls
    small = await uploader.upload(pieces(CONTENT[:MIB]), purpose="batch", filename="a")
    assert small.file.bytes == MIB


async def test_a_stream_above_8_gib_is_refused_when_that_is_reached(
    server: LocalServer, uploader: AsyncUploader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "LARGEST_FILE", 3 * MIB)
    with pytest.raises(SourceError, match="a has more than 8 GiB"):
        await uploader.upload(pieces(), purpose="batch", filename="a")
    with pytest.raises(SourceError, match="at most 8 GiB"):
        await uploader.upload(pieces(), purpose="batch", filename="a", size=2**33 + 1)
    assert not server.calls


async def test_without_a_directory_it_is_said_how_to_have_one(
    server: LocalServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ASYNCSDK_SPOOL", raising=False)
    with pytest.raises(SourceError, match=r"Pass size= if you know it, or set ASYNCSDK_SPOOL to a directory"):
        await AsyncUploader(client, journal="memory").upload(pieces(), purpose="batch", filename="a")
    assert not server.calls
    monkeypatch.setenv("ASYNCSDK_SPOOL", str(tmp_path / "missing" / "spool"))
    result = await AsyncUploader(client, journal="memory").upload(pieces(), purpose="batch", filename="a")
    assert server.stored(result.file.id).read_bytes() == CONTENT
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("ASYNCSDK_SPOOL", "s3://bucket/spool")
    with pytest.raises(
        ConfigurationError, match="ASYNCSDK_SPOOL is for is kept in a directory of this machine, and s3:"
    ):
        AsyncUploader(client, journal="memory")
    monkeypatch.setenv("ASYNCSDK_SPOOL", str(tmp_path / "file"))
    with pytest.raises(SourceError, match=r"can't be kept in .*file meanwhile: Not a directory"):
        await AsyncUploader(client, journal="memory").upload(pieces(), purpose="batch", filename="a")


async def test_nothing_has_a_name_while_it_is_spooled(uploader: AsyncUploader, journal: Path) -> None:
    seen: list[list[Path]] = []

    async def looking() -> AsyncIterator[bytes]:
        for start in range(0, SIZE, MIB):
            yield CONTENT[start : start + MIB]
            seen.append([path for path in journal.rglob("*") if path.is_file()])

    await uploader.upload(looking(), purpose="batch", filename="a")
    assert len(seen) > 3
    assert not any(seen)


async def test_what_is_more_than_announced_is_not_spooled_to_its_end(
    server: LocalServer, uploader: AsyncUploader
) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while given < 64 * MIB:
            given += MIB
            yield bytes(MIB)

    with pytest.raises(SourceChangedError, match=r"a gave more than the 3 bytes of size=\. Nothing was sent"):
        await uploader.upload(endless(), purpose="batch", filename="a", size=3, method="files")
    assert given <= 2 * MIB
    assert not server.calls


def test_a_write_that_fails_after_its_upload_was_left_closes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = spool.SpoolWriter.make(tmp_path, "a")

    def left_and_full(*_: object) -> None:
        writer.close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "write_all", left_and_full)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(SourceError, match="no room left"):
        writer.write(memoryview(b"a"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before - 1


# with a key


async def interrupted(server: LocalServer, client: Client, journal: Path, nth: int = 4) -> None:
    server.inject(Fault("part", "answer", "before", nth=nth, every=1, status=500))
    uploader = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=1, max_retries=0)
    with pytest.raises(InternalServerError):
        await uploader.upload(pieces(), purpose="batch", filename="a", size=SIZE, key="mine")
    server.clear_faults()


async def test_with_a_key_what_was_sent_is_not_sent_again(
    server: LocalServer, client: Client, uploader: AsyncUploader, journal: Path
) -> None:
    await interrupted(server, client, journal)
    result = await uploader.upload(pieces(), purpose="batch", filename="a", size=SIZE, key="mine")
    assert server.stored(result.file.id).read_bytes() == CONTENT
    assert (result.bytes_resumed, result.bytes_sent) == (3 * MIB, SIZE - 3 * MIB)
    assert len(await FileJournal(journal).entries()) == 1


async def test_what_differs_from_what_was_sent_goes_again(
    server: LocalServer, client: Client, uploader: AsyncUploader, journal: Path
) -> None:
    await interrupted(server, client, journal)
    content = CONTENT[: MIB + 5] + b"!" + CONTENT[MIB + 6 :]
    result = await uploader.upload(pieces(content), purpose="batch", filename="a", size=SIZE, key="mine")
    assert server.stored(result.file.id).read_bytes() == content
    assert result.bytes_resumed == 2 * MIB


async def test_a_spooled_stream_goes_on_with_what_was_sent_from_memory(
    server: LocalServer, client: Client, uploader: AsyncUploader, journal: Path
) -> None:
    await interrupted(server, client, journal)
    result = await uploader.upload(pieces(), purpose="batch", filename="a", key="mine")
    assert server.stored(result.file.id).read_bytes() == CONTENT
    assert result.bytes_resumed == 3 * MIB


async def test_of_a_key_that_is_done_the_stream_is_compared(server: LocalServer, uploader: AsyncUploader) -> None:
    options: dict[str, Any] = {"purpose": "batch", "filename": "a", "size": SIZE, "key": "mine"}
    first = await uploader.upload(pieces(), **options)
    again = await uploader.upload(pieces(), **options)
    assert (again.reused, again.file.id, again.bytes_sent) == (True, first.file.id, 0)
    other = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(SourceChangedError, match=r"a gave other content .* if_uploaded='again'") as changed:
        await uploader.upload(pieces(other), **options)
    assert not changed.value.resumable
    sent = await uploader.upload(pieces(other), **options, if_uploaded="again")
    assert server.stored(sent.file.id).read_bytes() == other


async def test_a_function_is_called_again_where_a_stream_is_gone(
    server: LocalServer, client: Client, uploader: AsyncUploader, journal: Path
) -> None:
    calls: list[int] = []

    def opened(content: bytes = CONTENT) -> AsyncIterator[bytes]:
        calls.append(len(content))
        return pieces(content)

    options: dict[str, Any] = {"purpose": "batch", "filename": "a", "size": SIZE, "key": "mine"}
    await interrupted(server, client, journal)
    server.inject(Fault("part", "answer", "before", status=404))
    result = await uploader.upload(opened, **options)
    assert server.stored(result.file.id).read_bytes() == CONTENT
    assert len(calls) == 2
    assert result.bytes_resumed == 0
    other = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    result = await uploader.upload(lambda: opened(other), **options)
    assert server.stored(result.file.id).read_bytes() == other


async def test_a_stream_that_is_gone_fails_resumably(
    server: LocalServer, client: Client, uploader: AsyncUploader, journal: Path
) -> None:
    await interrupted(server, client, journal)
    server.inject(Fault("part", "answer", "before", status=404))
    options: dict[str, Any] = {"purpose": "batch", "filename": "a", "size": SIZE, "key": "mine"}
    with pytest.raises(UploadError, match=r"has dropped what was sent of a, and what was read of the stream") as gone:
        await uploader.upload(pieces(), **options)
    assert gone.value.resumable
    result = await uploader.upload(pieces(), **options)
    assert server.stored(result.file.id).read_bytes() == CONTENT


async def test_of_what_the_server_dropped_it_is_not_said_that_its_content_is_another(
    server: LocalServer, client: Client, uploader: AsyncUploader, journal: Path
) -> None:
    await interrupted(server, client, journal, nth=6)  # all but the last part is there, and all is read by then
    server.inject(Fault("part", "answer", "before", status=404))
    with pytest.raises(UploadError, match="has dropped what was sent of a"):
        await uploader.upload(pieces(), purpose="batch", filename="a", size=SIZE, key="mine")


async def test_where_an_earlier_file_is_there_a_stream_is_not_compared_from_its_middle(
    server: LocalServer, client: Client, uploader: AsyncUploader, journal: Path
) -> None:
    options: dict[str, Any] = {"purpose": "batch", "filename": "a", "size": SIZE, "key": "mine"}
    content = bytes(MIB) + CONTENT[MIB:]
    await uploader.upload(pieces(content), **options)
    server.inject(Fault("part", "answer", "before", nth=4, every=1, status=500))
    once = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=1, max_retries=0)
    with pytest.raises(InternalServerError):
        await once.upload(pieces(), **options, if_uploaded="again")
    server.clear_faults()
    server.inject(Fault("part", "answer", "before", status=404))
    with pytest.raises(UploadError, match="has dropped what was sent of a"):
        await once.upload(pieces(), **options)
    result = await once.upload(pieces, **options)
    assert server.stored(result.file.id).read_bytes() == CONTENT


async def test_an_upload_goes_on_by_its_id_with_what_is_a_stream(
    server: LocalServer, client: Client, uploader: AsyncUploader, journal: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    server.inject(Fault("part", "answer", "before", nth=4, every=1, status=500))
    once = AsyncUploader(client, journal=journal, part_size=MIB, concurrency=1, max_retries=0)
    with pytest.raises(InternalServerError) as failed:
        await once.upload(tmp_path / "a.bin", purpose="batch")
    server.clear_faults()
    upload_id = failed.value.upload_id or ""
    with pytest.raises(ConfigurationError, match="is not the file of"):
        await uploader.resume(upload_id, source=AsyncFile(bytes(SIZE)))
    result = await uploader.resume(upload_id, source=AsyncFile())
    assert server.stored(result.file.id).read_bytes() == CONTENT
    assert result.bytes_resumed == 3 * MIB


# what is refused


class Response:
    """As requests has it: its `content` reads all of it."""

    raw = io.BytesIO()

    @property
    def content(self) -> bytes:
        raise AssertionError("all of it would be in memory, and the event loop would wait for it")

    def iter_content(self) -> list[bytes]:
        return []


class AsyncResponse:
    """As httpx has it: its `content` raises until all was read."""

    @property
    def content(self) -> bytes:
        raise RuntimeError("attempted to access streaming response content, without having called `read()`")

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        return pieces()


class ReadWithAwait:
    """As openai-python has it, with streaming: `read` takes no size."""

    async def read(self) -> bytes:
        return b""

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        yield b""


class Named(io.RawIOBase):
    """As `sys.stdin.buffer` has it."""

    name = "<stdin>"

    def readable(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("source", "options", "why"),
    [
        (pieces, {}, r"has no name: pass filename=, or \('train\.jsonl', stream\)"),
        (pieces, {"filename": "a", "size": -1}, "size must be an integer"),
        (pieces, {"filename": "a", "size": True}, "size must be an integer"),
        (pieces, {"filename": "a", "size": 1.0}, "size must be an integer"),
        (pieces, {"filename": "a", "method": "fastest"}, "method must be"),
        (pieces, {"filename": "a", "purpose": ""}, "purpose must be a non-empty string"),
        (lambda: 17, {"filename": "a"}, "the given function returned int, which is not a stream"),
        (lambda: None, {"filename": "a"}, "the source is None"),
        (Response(), {"filename": "a"}, "Response has a body, but is not a stream itself. Pass its `raw`"),
        (AsyncResponse(), {"filename": "a"}, r"not a stream itself\. Pass `response\.aiter_bytes\(\)`"),
        (ReadWithAwait(), {"filename": "a"}, r"not a stream itself\. Pass `response\.iter_bytes\(\)`"),
        (Named(), {}, "has no name"),
        (iter([b"a"]), {"filename": "a"}, "list_iterator is not an async iterator"),
        (io.BytesIO, {"filename": "a"}, "can't be read"),
    ],
)
async def test_what_is_not_a_stream_is_refused_with_what_to_pass(
    server: LocalServer, uploader: AsyncUploader, source: Any, options: dict[str, Any], why: str
) -> None:
    with pytest.raises((ConfigurationError, SourceError), match=why) as refused:
        await uploader.upload(source, **{"purpose": "batch", **options})
    assert "Nothing was sent" in str(refused.value)
    assert not server.calls


async def test_checking_a_job_reads_nothing_of_its_stream(uploader: AsyncUploader) -> None:
    stream = pieces()
    await uploader.check(UploadJob(stream, "batch", "a.bin"))
    assert await anext(stream) == b""
    with pytest.raises(ConfigurationError, match="has no name"):
        await uploader.check(UploadJob(stream, "batch"))


async def test_json_lines_of_a_stream_are_looked_at_before_they_are_sent(
    server: LocalServer, uploader: AsyncUploader
) -> None:
    content = b'{"a": 1}\n{"b": \n'
    with pytest.raises(SourceError, match="line 2"):
        await uploader.upload(pieces(content), purpose="fine-tune", filename="a.jsonl", size=len(content), check="full")
    assert not server.calls
