"""Reading at an offset: what the page cache holds at once, the rest in threads; files that change or fail are told."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import time
from pathlib import Path

import pytest

from asyncsdk.errors import SourceChangedError, UploadError
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.chunking import BLOCK
from asyncsdk.uploads.sources.readers import BytesSource, Identity
from asyncsdk.uploads.sources.source import PathSource, fill, open_source
from tests.uploads.upload_helpers import CONTENT, closing, content_of, patch_preadv

# the page cache, and threads for the rest


async def test_what_the_page_cache_holds_is_read_without_a_thread(path: Path, threads: DaemonThreadPool) -> None:
    with closing(await open_source(path, threads)) as source:
        view = memoryview(bytearray(BLOCK))
        source.read(0, view)
        if not source.read_now(0, view):
            pytest.skip("RWF_NOWAIT is refused here")
        assert view == CONTENT[:BLOCK]


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
async def test_a_file_system_that_refuses_to_read_without_waiting_is_asked_only_once(
    code: int, path: Path, threads: DaemonThreadPool, monkeypatch: pytest.MonkeyPatch
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
    path: Path, threads: DaemonThreadPool, monkeypatch: pytest.MonkeyPatch
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
    path: Path, threads: DaemonThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_preadv(monkeypatch, lambda flags: 4096 if flags else None)  # it says so, and fills nothing
    with closing(await open_source(path, threads)) as source:
        assert await content_of(source, threads) == CONTENT


async def test_a_system_without_reads_at_an_offset_seeks_one_reader_at_a_time(
    path: Path, threads: DaemonThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seek = os.lseek

    def slow_to_seek(*arguments: int) -> int:
        reached = seek(*arguments)
        time.sleep(0.0005)  # other threads have time to seek before the read
        return reached

    monkeypatch.setattr(os, "lseek", slow_to_seek)
    monkeypatch.delattr(os, "preadv")
    monkeypatch.setattr(PathSource, "read_now", lambda *_: False)
    with closing(await open_source(path, threads)) as source:
        blocks = [memoryview(bytearray(1000)) for _ in range(50)]
        await asyncio.gather(*(fill(source, threads, 1000 * n, block) for n, block in enumerate(blocks)))
    assert b"".join(blocks) == CONTENT[:50_000]


# files that change or fail


async def test_a_file_that_becomes_shorter_while_it_is_read_has_changed(path: Path, threads: DaemonThreadPool) -> None:
    with closing(await open_source(path, threads)) as source:
        os.truncate(path, BLOCK + 10)
        with pytest.raises(SourceChangedError, match=r"data\.bin became shorter .* at byte 524,298 .*No file was made"):
            await fill(source, threads, BLOCK, memoryview(bytearray(BLOCK)))


async def test_a_callers_file_that_becomes_shorter_has_changed(threads: DaemonThreadPool) -> None:
    file = io.BytesIO(CONTENT)
    with closing(await open_source(file, threads)) as source:
        file.truncate(10)
        assert source.look_again() == Identity(10)
        with pytest.raises(SourceChangedError, match="nothing is at byte 524,288"):
            await content_of(source, threads)


async def test_a_disk_that_fails_leaves_the_upload_resumable(
    path: Path, threads: DaemonThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with closing(await open_source(path, threads)) as source:
        patch_preadv(monkeypatch, fail)
        with pytest.raises(UploadError, match=r"data\.bin can't be read any more: Input/output error\.") as caught:
            await content_of(source, threads)
    assert caught.value.resumable
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_callers_file_closed_too_early_leaves_the_upload_resumable(threads: DaemonThreadPool) -> None:
    file = io.BytesIO(CONTENT)
    with closing(await open_source(file, threads)) as source:
        file.close()
        assert source.look_again() is None
        with pytest.raises(UploadError, match="can't be read any more: it was closed") as caught:
            await content_of(source, threads)
    assert caught.value.resumable


async def test_a_second_look_shows_a_file_that_was_touched_replaced_or_removed(
    path: Path, threads: DaemonThreadPool
) -> None:
    with closing(await open_source(path, threads)) as source:
        was = source.identity
        os.utime(path, ns=(0, 1))
        assert source.look_again() == Identity(was.size, 1, was.inode, path.stat().st_ctime_ns)
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


@pytest.mark.parametrize(("age", "tells"), [(3600, True), (3, True), (1, False), (-3600, False)])
async def test_only_a_file_that_has_rested_tells_by_its_times_whether_it_changes(
    path: Path, threads: DaemonThreadPool, *, age: float, tells: bool
) -> None:
    then = time.time() - age
    os.utime(path, (then, then))
    with closing(await open_source(path, threads)) as source:
        assert source.tells_changes is tells


@pytest.mark.parametrize(("content", "tells"), [(CONTENT, True), (bytearray(CONTENT), False)])
async def test_of_what_lies_in_memory_only_bytes_are_known_not_to_change(
    threads: DaemonThreadPool, *, content: bytes | bytearray, tells: bool
) -> None:
    with closing(await open_source(content, threads)) as source:
        assert source.tells_changes is tells


async def test_a_change_whose_time_is_set_back_still_shows(path: Path, threads: DaemonThreadPool) -> None:
    os.utime(path, ns=(1, 1))
    with closing(await open_source(path, threads)) as source:
        before = path.stat().st_ctime_ns
        path.write_bytes(bytes(len(CONTENT)))
        while path.stat().st_ctime_ns == before:  # within one tick of the kernel
            os.utime(path, ns=(1, 1))
        os.utime(path, ns=(1, 1))
        assert source.look_again() != source.identity


# what is in memory


def test_only_bytes_that_never_change_are_read_where_they_are() -> None:
    there = BytesSource.over(b"content").at_hand(1, 3)
    assert there is not None
    assert bytes(there) == b"ont"
    assert BytesSource.over(bytearray(b"content")).at_hand(1, 3) is None
