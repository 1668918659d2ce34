"""The memory of a stream: what it yields while it is silent, and what has to be there whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.chunking import BLOCK, Range
from asyncsdk.uploads.sources.readers import Identity
from asyncsdk.uploads.sources.remote_source import RemoteSource
from asyncsdk.uploads.sources.stream import Producer
from asyncsdk.uploads.sources.stream_source import PartMemory, StreamSource

SIZE = 4 * BLOCK


def source_that_stalls(kind: type[StreamSource], **fields: Any) -> StreamSource:
    async def stream() -> AsyncIterator[bytes]:
        yield bytes(BLOCK + 1)
        await anyio.sleep(0.1)
        yield bytes(SIZE - BLOCK - 1)

    producer = Producer(given=stream(), name="a", threads=DaemonThreadPool("test", 1), patience=0.5)
    source = kind(producer=producer, identity=Identity(SIZE), memory=PartMemory(8), **fields)
    producer.on_silence = lambda note: source.yield_memory() if note else None
    return source


async def test_memory_is_given_back_once_however_often_it_is_asked_for() -> None:
    source, begun = source_that_stalls(StreamSource), list[Range]()
    span = await source.fill(Range(0, SIZE), begun.append)
    assert (begun, span) == ([Range(0, BLOCK)], Range(BLOCK, BLOCK))
    source.yield_memory()  # when nothing is being filled
    for each in (*begun, span):
        source.release(each)
    source.close()
    assert await source.memory.take(8)  # all of it: none is taken, and none was given twice
    with pytest.raises(TimeoutError), anyio.fail_after(0):
        await source.memory.take(1)
    await source.aclose()


async def test_an_object_that_is_needed_whole_is_whole_though_its_store_stalls() -> None:
    context: Any = None  # it is small enough to be kept in memory
    source = source_that_stalls(RemoteSource, reading=None)
    assert isinstance(source, RemoteSource)
    await source.bring(context, lambda _: None)
    source.read(0, memoryview(bytearray(SIZE)))
    source.close()
    await source.aclose()
