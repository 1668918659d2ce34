"""Who is cancelled walks away from a stuck disk at once, and nothing of ours stays open behind him."""

from __future__ import annotations

import asyncio
import errno
import io
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsdk.errors import SourceError
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.chunking import BLOCK
from asyncsdk.uploads.sources.readers import BytesSource, FileSource
from asyncsdk.uploads.sources.source import PathSource, Source, fill, open_source
from tests.uploads.upload_helpers import CONTENT, Gate, closing, descriptors_of, patch_preadv
from tests.waiting import until


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
    path: Path, threads: DaemonThreadPool, stuck: Gate
) -> None:
    with closing(await open_source(path, threads)) as source:
        reading = asyncio.create_task(fill(source, threads, 0, memoryview(bytearray(BLOCK))))
        await until(stuck.reached.is_set)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert threads.busy == 1


async def test_a_scope_that_is_cancelled_while_a_disk_is_stuck_ends_at_once(
    path: Path, threads: DaemonThreadPool, stuck: Gate
) -> None:
    began = time.monotonic()
    with closing(await open_source(path, threads)) as source, anyio.move_on_after(0.05) as scope:
        await fill(source, threads, 0, memoryview(bytearray(BLOCK)))
    assert scope.cancelled_caught
    assert time.monotonic() - began >= 0.05
    assert threads.busy == 1


async def test_a_descriptor_is_closed_by_its_last_reader_which_is_said(
    path: Path, threads: DaemonThreadPool, stuck: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "asyncsdk.uploads.sources.source")
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


async def test_a_source_that_was_closed_reads_no_more(path: Path, threads: DaemonThreadPool) -> None:
    with path.open("rb") as file:
        for source in (await open_source(path, threads), await open_source(file, threads)):
            source.close()
            with pytest.raises(SourceError, match=r"data\.bin is closed"):
                await fill(source, threads, 0, memoryview(bytearray(10)))


async def test_a_source_closed_while_it_is_read_takes_no_further_readers(
    path: Path, threads: DaemonThreadPool, stuck: Gate
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
    path: Path, threads: DaemonThreadPool, monkeypatch: pytest.MonkeyPatch
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
    path: Path, threads: DaemonThreadPool, monkeypatch: pytest.MonkeyPatch
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


async def test_bytes_let_go_of_their_memory_when_closed(threads: DaemonThreadPool) -> None:
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
