"""Bytes come from a path, from memory or from a caller's file; a slow disk holds up nobody, and nothing stays open."""

from __future__ import annotations

import array
import asyncio
import errno
import io
import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsdk.errors import SourceChangedError, SourceError, UploadError
from asyncsdk.threads import Threads
from asyncsdk.uploads.plan import BLOCK, LARGEST_FILE
from asyncsdk.uploads.readable import BytesSource, FileSource, Identity
from asyncsdk.uploads.source import Given, PathSource, Source, fill, open_source
from tests.uploads.upload_helpers import Gate, descriptors_of, until

CONTENT = bytes(range(256)) * 4096  # 1 MiB
Preadv = Callable[..., int]


@pytest.fixture
def threads() -> Threads:
    return Threads("test-read", 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "data.bin"
    file.write_bytes(CONTENT)
    return file


@contextmanager
def closing(source: Source) -> Iterator[Source]:
    try:
        yield source
    finally:
        source.close()


async def content_of(source: Source, threads: Threads) -> bytes:
    """All of it, in blocks, the last one first."""
    whole = bytearray(source.identity.size)
    for offset in reversed(range(0, len(whole), BLOCK)):
        await fill(source, threads, offset, memoryview(whole)[offset : offset + BLOCK])
    return bytes(whole)


def patch_preadv(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], int | None]) -> None:
    """Let `before(flags)` raise, answer, or return None for the real call."""
    real: Preadv = os.preadv

    def preadv(descriptor: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        answer = before(flags)
        return real(descriptor, buffers, offset, flags) if answer is None else answer

    monkeypatch.setattr(os, "preadv", preadv)


class ThreeAtATime(io.BytesIO):
    """A file that never reads more than three bytes, as raw ones may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(3, size or 0))


# what can be given


async def test_a_path_reads_at_any_offset(path: Path, threads: Threads) -> None:
    with closing(await open_source(str(path), threads)) as source:
        assert await content_of(source, threads) == CONTENT
        seen = path.stat()
        assert source.identity == Identity(len(CONTENT), seen.st_mtime_ns, seen.st_ino)
        assert source.look_again() == source.identity


async def test_a_path_goes_by_the_name_it_was_given_and_is_found_at_its_real_place(
    path: Path, tmp_path: Path, threads: Threads
) -> None:
    link = tmp_path / "alias.jsonl"
    link.symlink_to(path)
    with closing(await open_source(link, threads)) as source:
        assert (source.name, source.place) == ("alias.jsonl", os.path.realpath(path))


@pytest.mark.parametrize(
    ("given", "content"),
    [
        (b"some bytes", b"some bytes"),
        (bytearray(b"some bytes"), b"some bytes"),
        (memoryview(b"some bytes")[5:], b"bytes"),
        (memoryview(array.array("H", [1, 2])), array.array("H", [1, 2]).tobytes()),
    ],
)
async def test_bytes_in_memory_are_read_as_they_are(given: Given, content: bytes, threads: Threads) -> None:
    with closing(await open_source(given, threads)) as source:
        assert await content_of(source, threads) == content
        assert (source.name, source.place) == ("upload", None)
        assert source.identity == source.look_again() == Identity(len(content))


def opened_at_its_end(path: Path) -> io.BufferedReader:
    file = path.open("rb")
    file.seek(0, os.SEEK_END)
    return file


def three_at_a_time(_: Path) -> ThreeAtATime:
    return ThreeAtATime(CONTENT[:999])


@pytest.mark.parametrize("open_file", [opened_at_its_end, partial(Path.open, mode="rb", buffering=0), three_at_a_time])
async def test_a_file_is_read_from_its_first_byte_to_its_last_and_left_open(
    open_file: Callable[[Path], Any], path: Path, threads: Threads
) -> None:
    with open_file(path) as file:
        with closing(await open_source(file, threads)) as source:
            assert await content_of(source, threads) == CONTENT[: source.identity.size]
            assert source.place is None
            assert source.look_again() == source.identity
        assert not file.closed


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda path: path.open("rb"), "data.bin"),
        (lambda _: io.BytesIO(b"x"), "upload"),
        (lambda _: tempfile.TemporaryFile(), "upload"),  # noqa: SIM115 - the test enters it
    ],
)
async def test_a_file_goes_by_its_own_name_where_it_has_one(
    make: Callable[[Path], Any], name: str, path: Path, threads: Threads
) -> None:
    with make(path) as file:
        file.seek(0, os.SEEK_END)
        if not file.tell():
            file.write(b"x")
        with closing(await open_source(file, threads)) as source:
            assert source.name == name


async def test_several_threads_may_read_one_file_at_once(path: Path, threads: Threads) -> None:
    with path.open("rb") as file, closing(await open_source(file, threads)) as source:
        blocks = [memoryview(bytearray(1000)) for _ in range(50)]
        await asyncio.gather(*(fill(source, threads, 1000 * n, block) for n, block in enumerate(blocks)))
    assert b"".join(blocks) == CONTENT[:50_000]


# what can't be uploaded


def make_missing(folder: Path) -> Path:
    return folder / "missing.bin"


def make_fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


def make_empty(folder: Path) -> Path:
    (folder / "empty.bin").touch()
    return folder / "empty.bin"


def make_too_large(folder: Path) -> Path:
    with (folder / "large.bin").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)  # sparse
    return folder / "large.bin"


def make_loop(folder: Path) -> Path:
    (folder / "loop").symlink_to("loop")
    return folder / "loop"


def make_socket(folder: Path) -> Path:
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(str(folder / "socket"))
    return folder / "socket"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (make_missing, "No such file"),
        (make_fifo, "is a pipe, not a regular file"),
        (lambda folder: folder, "is a directory, not a regular file"),
        (lambda _: "/dev/full", "is a device, not a regular file"),
        (make_socket, "No such device"),
        (make_empty, "is empty"),
        (make_too_large, "at most 8 GiB"),
        (make_loop, "symbolic links"),
        (lambda folder: f"{folder}/a\0b", "null byte"),
    ],
)
async def test_what_is_no_regular_file_of_1_byte_to_8_gib_is_refused_and_left_closed(
    make: Callable[[Path], Path | str], why: str, tmp_path: Path, threads: Threads
) -> None:
    place = make(tmp_path)
    with pytest.raises(SourceError, match=why) as caught:
        await open_source(place, threads)
    assert "Nothing was sent" in str(caught.value)
    assert not descriptors_of(Path(str(place).replace("\0", "")))


async def test_the_largest_file_of_all_is_taken(tmp_path: Path, threads: Threads) -> None:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE)
    with closing(await open_source(path, threads)) as source:
        end = memoryview(bytearray(b"x" * 10))
        await fill(source, threads, LARGEST_FILE - 10, end)
    assert end == bytes(10)


async def test_a_file_that_we_may_not_read_is_refused(path: Path, threads: Threads) -> None:
    path.chmod(0)
    with (
        as_an_ordinary_user(),
        pytest.raises(SourceError, match=r"can't read .*bin: Permission denied") as caught,
    ):
        await open_source(path, threads)
    assert isinstance(caught.value.__cause__, PermissionError)


@contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (b"", "is empty"),
        (bytearray(), "is empty"),
        (memoryview(b"abcdef")[::2], "no plain run of bytes"),
        (io.BytesIO(), "is empty"),
        (io.StringIO("text"), "StringIO reads text, not bytes"),
        (17, "the given int can't be read at an offset"),
        (None, "the given NoneType can't be read at an offset"),
    ],
)
async def test_objects_that_hold_no_bytes_are_refused(given: Any, why: str, threads: Threads) -> None:
    with pytest.raises(SourceError, match=why) as caught:
        await open_source(given, threads)
    assert "Nothing was sent" in str(caught.value)


@pytest.mark.parametrize(("mode", "why"), [("r", "TextIOWrapper reads text"), ("ab", "BufferedWriter can't be read")])
async def test_files_opened_as_text_or_to_write_are_refused(mode: str, why: str, path: Path, threads: Threads) -> None:
    with path.open(mode) as file, pytest.raises(SourceError, match=why):
        await open_source(file, threads)  # type: ignore[arg-type]  # what the type checker would tell


async def test_a_closed_file_is_refused(path: Path, threads: Threads) -> None:
    with path.open("rb") as file:
        pass
    with pytest.raises(SourceError, match="closed file") as caught:
        await open_source(file, threads)
    assert isinstance(caught.value.__cause__, ValueError)


async def test_a_pipe_that_can_not_seek_is_refused(threads: Threads) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as file, open(writer, "wb"), pytest.raises(SourceError, match="seek"):  # noqa: PTH123 - descriptors
        await open_source(file, threads)


# the page cache, and threads for the rest


async def test_what_the_page_cache_holds_is_read_without_a_thread(path: Path, threads: Threads) -> None:
    with closing(await open_source(path, threads)) as source:
        view = memoryview(bytearray(BLOCK))
        source.read(0, view)
        if not source.read_now(0, view):
            pytest.skip("RWF_NOWAIT is refused here")
        assert view == CONTENT[:BLOCK]


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
async def test_a_file_system_that_refuses_to_read_without_waiting_is_asked_only_once(
    code: int, path: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(flags: int) -> None:
        if flags:
            asked.append(flags)
            raise OSError(code, os.strerror(code))

    patch_preadv(monkeypatch, refuse)
    with closing(await open_source(path, threads)) as source:
        assert await content_of(source, threads) == CONTENT
    assert asked == [os.RWF_NOWAIT]


async def test_a_block_that_is_not_cached_goes_to_a_thread_and_the_next_is_tried_again(
    path: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def would_wait(flags: int) -> None:
        asked.append(flags)
        if flags:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    patch_preadv(monkeypatch, would_wait)
    with closing(await open_source(path, threads)) as source:
        assert await content_of(source, threads) == CONTENT
    assert asked == [os.RWF_NOWAIT, 0] * 2


async def test_a_block_of_which_only_some_is_cached_is_read_whole_in_a_thread(
    path: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_preadv(monkeypatch, lambda flags: 4096 if flags else None)  # it says so, and fills nothing
    with closing(await open_source(path, threads)) as source:
        assert await content_of(source, threads) == CONTENT


async def test_a_system_without_reads_at_an_offset_seeks_one_reader_at_a_time(
    path: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "preadv")
    monkeypatch.setattr(PathSource, "read_now", lambda *_: False)
    with closing(await open_source(path, threads)) as source:
        blocks = [memoryview(bytearray(1000)) for _ in range(50)]
        await asyncio.gather(*(fill(source, threads, 1000 * n, block) for n, block in enumerate(blocks)))
    assert b"".join(blocks) == CONTENT[:50_000]


# files that change or fail


async def test_a_file_that_becomes_shorter_while_it_is_read_has_changed(path: Path, threads: Threads) -> None:
    with closing(await open_source(path, threads)) as source:
        os.truncate(path, BLOCK + 10)
        with pytest.raises(SourceChangedError, match=r"data\.bin became shorter .* at byte 524,298 .*Nothing was"):
            await fill(source, threads, BLOCK, memoryview(bytearray(BLOCK)))


async def test_a_callers_file_that_becomes_shorter_has_changed(threads: Threads) -> None:
    file = io.BytesIO(CONTENT)
    with closing(await open_source(file, threads)) as source:
        file.truncate(10)
        assert source.look_again() == Identity(10)
        with pytest.raises(SourceChangedError, match="nothing is at byte 524,288"):
            await content_of(source, threads)


async def test_a_disk_that_fails_leaves_the_upload_resumable(
    path: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with closing(await open_source(path, threads)) as source:
        patch_preadv(monkeypatch, fail)
        with pytest.raises(UploadError, match=r"data\.bin can't be read any more: Input/output error\.") as caught:
            await content_of(source, threads)
    assert caught.value.resumable
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_callers_file_closed_too_early_leaves_the_upload_resumable(threads: Threads) -> None:
    file = io.BytesIO(CONTENT)
    with closing(await open_source(file, threads)) as source:
        file.close()
        assert source.look_again() is None
        with pytest.raises(UploadError, match="can't be read any more: I/O operation on closed file") as caught:
            await content_of(source, threads)
    assert caught.value.resumable


async def test_a_second_look_shows_a_file_that_was_touched_replaced_or_removed(path: Path, threads: Threads) -> None:
    with closing(await open_source(path, threads)) as source:
        was = source.identity
        os.utime(path, ns=(0, 1))
        assert source.look_again() == Identity(was.size, 1, was.inode)
        other = path.with_name("other")
        other.write_bytes(b"x")
        other.replace(path)
        now = source.look_again()
        assert now is not None
        assert now.size == 1
        assert now.inode != was.inode
        path.unlink()
        assert source.look_again() is None
        assert await content_of(source, threads) == CONTENT  # the descriptor still leads to what was opened


# cancellation


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Every read of a path stands still in its thread until the gate is opened."""
    gate = Gate()

    def wait(flags: int) -> None:
        if flags:
            raise BlockingIOError
        gate()

    patch_preadv(monkeypatch, wait)
    yield gate
    gate.opened.set()


async def test_who_is_cancelled_while_a_disk_is_stuck_walks_away_at_once(
    path: Path, threads: Threads, stuck: Gate
) -> None:
    with closing(await open_source(path, threads)) as source:
        reading = asyncio.create_task(fill(source, threads, 0, memoryview(bytearray(BLOCK))))
        await until(stuck.reached.is_set)
        began = time.monotonic()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert time.monotonic() - began < 1
    assert threads.busy == 1


async def test_a_scope_that_is_cancelled_while_a_disk_is_stuck_ends_at_once(
    path: Path, threads: Threads, stuck: Gate
) -> None:
    began = time.monotonic()
    with closing(await open_source(path, threads)) as source, anyio.move_on_after(0.05):
        await fill(source, threads, 0, memoryview(bytearray(BLOCK)))
    assert 0.05 <= time.monotonic() - began < 1


async def test_a_descriptor_is_closed_by_its_last_reader_which_is_said(
    path: Path, threads: Threads, stuck: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "asyncsdk.uploads.source")
    source = await open_source(path, threads)
    reading = asyncio.create_task(fill(source, threads, 0, view := memoryview(bytearray(BLOCK))))
    await until(stuck.reached.is_set)
    reading.cancel()
    source.close()
    source.close()
    assert len(descriptors_of(path)) == 1  # else the number might be another file's when the read goes on
    assert [record.message for record in caplog.records] == [
        "data.bin: a read of it has not come back yet; it is left to its thread"
    ]
    stuck.opened.set()
    await until(lambda: not descriptors_of(path))
    assert view == CONTENT[:BLOCK]  # why the buffer of a cancelled read must never be used again


async def test_a_source_that_was_closed_reads_no_more(path: Path, threads: Threads) -> None:
    with path.open("rb") as file:
        for source in (await open_source(path, threads), await open_source(file, threads)):
            source.close()
            with pytest.raises(SourceError, match=r"data\.bin is closed"):
                await fill(source, threads, 0, memoryview(bytearray(10)))


async def test_a_source_closed_while_it_is_read_takes_no_further_readers(
    path: Path, threads: Threads, stuck: Gate
) -> None:
    source = await open_source(path, threads)
    reading = asyncio.create_task(fill(source, threads, 0, memoryview(bytearray(10))))
    await until(stuck.reached.is_set)
    source.close()
    with pytest.raises(SourceError, match="is closed"):
        source.read(0, memoryview(bytearray(10)))
    stuck.opened.set()
    await reading
    assert not descriptors_of(path)


async def test_an_open_that_was_cancelled_leaves_nothing_open(
    path: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, real = Gate(), os.open

    def slow_open(*arguments: Any) -> int:
        gate()
        return real(*arguments)

    monkeypatch.setattr(os, "open", slow_open)
    opening = asyncio.create_task(open_source(path, threads))
    await until(gate.reached.is_set)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    gate.opened.set()
    await until(lambda: threads.busy == 0)
    await until(lambda: not descriptors_of(path))


async def test_an_open_that_fails_after_it_was_cancelled_complains_to_nobody(
    path: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()

    def slow_failure(*_: Any) -> int:
        gate()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "open", slow_failure)
    opening = asyncio.create_task(open_source(path, threads))
    await until(gate.reached.is_set)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    gate.opened.set()
    await until(lambda: threads.busy == 0)


async def test_bytes_let_go_of_their_memory_when_closed(threads: Threads) -> None:
    content = bytearray(b"0123456789")
    source = await open_source(content, threads)
    with pytest.raises(BufferError):
        content.append(1)
    source.close()
    content.append(1)


def test_sources_of_all_kinds_keep_the_contract(path: Path) -> None:
    sources: list[Source] = [PathSource.open(path), BytesSource.over(b"x"), FileSource.over(io.BytesIO(b"x"))]
    for source in sources:
        source.close()
