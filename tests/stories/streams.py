"""Streams of all kinds over one content, for the stories of streams."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

import aiohttp
import anyio
from aiohttp.base_protocol import BaseProtocol

from asyncsdk.uploads.sources.source import Given
from tests.stories.support import MIB

SO_LARGE = 2**30  # that nothing is held back: there is no connection behind it
CONTENT = random.Random(18).randbytes(5 * MIB + 4321)


async def pieces(content: bytes = CONTENT, length: int = 100_000) -> AsyncIterator[bytes]:
    """An async generator of what a stream gives, with an empty piece in it."""
    yield b""
    for start in range(0, len(content), length):
        await asyncio.sleep(0)
        yield content[start : start + length]


def asyncio_stream() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(CONTENT)
    reader.feed_eof()
    return reader


def aiohttp_stream() -> aiohttp.StreamReader:
    loop = asyncio.get_running_loop()
    reader = aiohttp.StreamReader(BaseProtocol(loop), SO_LARGE, loop=loop)
    reader.feed_data(CONTENT)
    reader.feed_eof()
    return reader


class AnyioStream(anyio.abc.ByteReceiveStream):
    """As anyio's own are: bytes by `receive`, EndOfStream at the end."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.left = memoryview(content)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if not self.left:
            raise anyio.EndOfStream
        piece, self.left = bytes(self.left[:max_bytes]), self.left[max_bytes:]
        return piece

    async def aclose(self) -> None:
        self.left = memoryview(b"")


class Reused:
    """Gives one bytearray again and again, as some readers do."""

    async def __aiter__(self) -> AsyncIterator[bytearray]:
        buffer = bytearray(70_000)
        for start in range(0, len(CONTENT), len(buffer)):
            piece = CONTENT[start : start + len(buffer)]
            buffer[: len(piece)] = piece
            yield buffer if len(piece) == len(buffer) else bytearray(piece)


async def emptied() -> AsyncIterator[bytearray]:
    """Gives one bytearray that is emptied between, which can't be done while somebody has a view of it."""
    buffer = bytearray()
    for start in range(0, len(CONTENT), 70_000):
        buffer += CONTENT[start : start + 70_000]
        yield buffer
        buffer.clear()


class AsyncFile:
    """As aiofiles has it: it can seek, and is uploaded from its first byte."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.name, self.content, self.offset = "/data/of-aiofiles.bin", content, 1000

    async def read(self, size: int = -1) -> bytes:
        piece = self.content[self.offset : self.offset + size]
        self.offset += len(piece)
        return piece

    async def seek(self, offset: int, whence: int = 0) -> int:
        self.offset = offset + (len(self.content) if whence == os.SEEK_END else 0)
        return self.offset

    async def tell(self) -> int:
        return self.offset


@contextmanager
def pipe(content: bytes = CONTENT, *, buffering: int = -1, pause: float = 0.0) -> Iterator[BinaryIO]:
    """A pipe that somebody writes into, with a pause in the middle; unbuffered, a read of it gives what is there."""
    reader, writer = os.pipe()

    def write() -> None:
        with suppress(BrokenPipeError), os.fdopen(writer, "wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            time.sleep(pause)
            file.write(content[len(content) // 2 :])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with os.fdopen(reader, "rb", buffering=buffering) as file:
            yield file
    finally:
        thread.join()


class FormPart:
    """As aiohttp's BodyPartReader: `read` takes no size, and `name` is that of the form's field."""

    name, filename = "file", "of-a-form.bin"

    def __init__(self) -> None:
        self.left = memoryview(CONTENT)

    async def read(self, *, decode: bool = False) -> bytes:
        raise AssertionError(f"all of it would be in memory{' as it is decoded' if decode else ''}")

    async def read_chunk(self, size: int = 8192) -> bytes:
        piece, self.left = bytes(self.left[:size]), self.left[size:]
        return piece


async def opened_later() -> Any:
    await asyncio.sleep(0)
    return pieces()


KINDS: dict[str, Callable[[], Given]] = {
    "async generator": pieces,
    "asyncio": asyncio_stream,
    "aiohttp": aiohttp_stream,
    "anyio": AnyioStream,
    "one buffer again and again": Reused,
    "one buffer that is emptied": emptied,
    "aiofiles": AsyncFile,
    "part of a form": FormPart,  # type: ignore[dict-item]  # its `read` has no size
    "function": lambda: pieces,
    "async function": lambda: opened_later,
}
