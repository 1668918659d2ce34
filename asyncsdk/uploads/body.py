"""The request body of a part, or of a whole file: the form around blocks that are read from the source while sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial

from aiohttp.abc import AbstractStreamWriter
from attrs import define, field

from asyncsdk.api.request import FormFrame
from asyncsdk.http import multipart
from asyncsdk.http.body import Body, flush_every_write
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.timing import DEFAULT_TIMING
from asyncsdk.uploads.checksum import block_fingerprint, part_fingerprint
from asyncsdk.uploads.chunking import BLOCK, Range
from asyncsdk.uploads.pacing.connections import PartPlace
from asyncsdk.uploads.pacing.throttle import SMALLEST_SLICE, Throttle
from asyncsdk.uploads.progress import Meter
from asyncsdk.uploads.sources.source import Source


@define(eq=False)
class Buffers:
    """A pool of blocks of memory: as many as connections send at once."""

    _free: list[bytearray] = field(factory=list, init=False)

    def take(self) -> bytearray:
        """A block to read into."""
        return self._free.pop() if self._free else bytearray(BLOCK)

    def give(self, buffer: bytearray) -> None:
        """Return a block that no transport and no thread uses any more."""
        self._free.append(buffer)


@define(eq=False)
class PartSource:
    """What all parts of one upload share: the source, the rate limit, and how they report.

    `moved` is called with the bytes of which it is seen that the peer has them; while a part waits for its own side, it
    is within `on_our_side`.
    `paused` is called when one pauses for others, with the seconds that this takes at most.
    """

    source: Source
    threads: DaemonThreadPool
    buffers: Buffers
    throttle: Throttle
    stall: float
    moved: Callable[[int], None]
    on_our_side: Callable[[], AbstractContextManager[None]]
    slow_slice: float = DEFAULT_TIMING.slow_slice
    paused: Callable[[float], object] = lambda _: None


class PartBody(Body):
    """Bytes `span` of a source in the form of a part, or in `form`; `fingerprint` is of the bytes that were sent.

    What is not in memory is read into one buffer, block by block, and once more for each attempt; it is sent while its
    `place` allows it.
    `check` is awaited with the fingerprint before the last byte goes: what it raises ends the attempt.
    """

    def __init__(
        self,
        part_source: PartSource,
        span: Range,
        form: FormFrame | None = None,
        *,
        place: PartPlace | None = None,
        check: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        form = form or multipart.frame({}, "data", filename="upload", mime_type="application/octet-stream")
        self._head, self._tail = form.before, form.after
        size = len(self._head) + span.length + len(self._tail)
        super().__init__(size, form.content_type, stall=part_source.stall)
        self.whole_size, self._check = size, check
        self._part_source, self._span, self._place = part_source, span, place or PartPlace()
        self._slice = min(part_source.throttle.slice, self._place.slice)
        self.blocks = bytearray()
        self.sent = 0  # bytes of its span that were handed to the connection
        self.moved = 0  # of them, as far as it was reported
        self.watch.on_look = self._report

    @property
    def fingerprint(self) -> str:
        """Over the fingerprints of its `blocks`, as they were sent."""
        return part_fingerprint(self.blocks)

    async def write_content(self, writer: AbstractStreamWriter) -> None:
        if writer.transport is not None:
            flush_every_write(writer.transport)
        self._place.begin(self)
        await self._place.may_send(self, self._part_source.paused)
        if self.is_small and self._part_source.throttle.rate is None:
            await self._write_at_once(writer)
            return
        await self.put(writer, self._head)
        buffer: bytearray | None = None
        for offset in range(self._span.offset, self._span.end, BLOCK):
            length = min(BLOCK, self._span.end - offset)
            block = self._part_source.source.at_hand(offset, length)
            if block is None:
                buffer = buffer or self._part_source.buffers.take()
                block = memoryview(buffer)[:length]
                await self._read(offset, block)
            self.blocks += block_fingerprint(block)
            await self._send(writer, block)
        # reached only when all went well: a buffer that a transport or a thread may still hold is dropped
        if buffer is not None:
            self._part_source.buffers.give(buffer)
        await self._checked()
        await self.put(writer, self._tail)

    async def _write_at_once(self, writer: AbstractStreamWriter) -> None:
        """Send a small part with one write."""
        block = self._part_source.source.at_hand(self._span.offset, self._span.length)
        if block is None:
            block = memoryview(bytearray(self._span.length))
            await self._read(self._span.offset, block)
        self.blocks += block_fingerprint(block)
        await self._checked()
        self.sent = self._span.length
        await self.put(writer, b"".join((self._head, block, self._tail)))
        self._report()

    async def _checked(self) -> None:
        if self._check is not None:
            self.watch.idle = True
            with self._part_source.on_our_side():
                await self._check(self.fingerprint)
            self.watch.idle = False

    async def _read(self, offset: int, block: memoryview) -> None:
        source = self._part_source.source
        if source.read_now(offset, block):
            return
        self.watch.idle = True
        with self._part_source.on_our_side():
            await self._part_source.threads.run(partial(source.read, offset, block))
        self.watch.idle = False

    async def _send(self, writer: AbstractStreamWriter, block: memoryview) -> None:
        start = 0
        while start < len(block):
            piece = block[start : start + self._slice]
            await self._place.may_send(self, self._part_source.paused)
            if self._part_source.throttle.rate is not None:
                await self._wait_for_leave(len(piece))
            began = time.monotonic()
            self.sent += len(piece)
            await self.put(writer, piece)
            self._report()
            self._slice = next_slice(self._slice, time.monotonic() - began, self._part_source.slow_slice)
            start += len(piece)

    def _report(self) -> None:
        """Report what the peer has acknowledged since the last time: what the system holds may yet be lost."""
        moved = min(self.acked() - len(self._head), self.sent)
        if moved > self.moved:
            self._part_source.moved(moved - self.moved)
            self.moved = moved

    async def _wait_for_leave(self, count: int) -> None:
        delay = self._part_source.throttle.delay(time.monotonic(), count)
        if delay > 0:
            self.watch.idle = True
            with self._part_source.on_our_side():
                await asyncio.sleep(delay)
            self.watch.idle = False


@define(eq=False)
class PartAttempt:
    """A part, or a whole file, on its way, through as many attempts as it takes. `check` is that of `PartBody`."""

    part_source: PartSource
    meter: Meter
    span: Range
    place: PartPlace
    check: Callable[[str], Awaitable[None]] | None = None
    _body: PartBody | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.meter.part_started()

    @property
    def body(self) -> PartBody:
        """Of the last attempt."""
        assert self._body is not None, "answered, so a body was sent"  # noqa: S101
        return self._body

    @property
    def is_fully_sent(self) -> bool:
        """Whether the server can have all of the last attempt: its last byte was handed to a connection."""
        return self._body is not None and self._body.bytes_sent >= self._body.whole_size

    def new_body(self, form: FormFrame | None = None) -> PartBody:
        """The body of the next attempt."""
        if self._body is not None:
            self.meter.bytes_discarded(self._body.moved, self._body.sent)
        self._body = PartBody(self.part_source, self.span, form, place=self.place, check=self.check)
        return self._body

    def finish(self, confirmed: int) -> None:
        """It ended: so many bytes of it are there."""
        moved, sent = (0, 0) if self._body is None else (self._body.moved, self._body.sent)
        self.meter.part_finished(moved, sent, confirmed)


def next_slice(size: int, seconds: float, slow: float = DEFAULT_TIMING.slow_slice) -> int:
    """Smaller slices where one takes more than `slow` seconds: outside Linux only drained slices show progress."""
    return min(size, max(SMALLEST_SLICE, size // 2)) if seconds > slow else size
