"""One upload of a stream whose size is known: read once and in order, and sent from memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable, Callable, Mapping
from operator import attrgetter
from typing import ClassVar

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.errors import ResponseMismatchError, SourceChangedError, UploadError
from asyncsdk.events import UploadPhase
from asyncsdk.uploads.checksum import ContentHash
from asyncsdk.uploads.chunking import (
    BLOCK,
    LARGEST_STREAM_PART,
    Pending,
    Range,
    covers,
    next_of_stream,
    stream_part_size,
)
from asyncsdk.uploads.journal import Expired, Part
from asyncsdk.uploads.pacing.admission import Slot
from asyncsdk.uploads.parts.run import UploadRun
from asyncsdk.uploads.parts.sending import Sending
from asyncsdk.uploads.parts.session import Session
from asyncsdk.uploads.resuming.resume import non_overlapping, span_of
from asyncsdk.uploads.sources.remote_source import RemoteSource
from asyncsdk.uploads.sources.stream_source import StreamSource

MOST_UNHASHED = 2  # parts that were filled: one more takes memory and is no sooner at the server


@define(eq=False, kw_only=True)
class StreamSending(Sending):
    """Fills a part, hashes it and sends it from memory, while the next one is filled, as far as memory goes."""

    _trusted: dict[int, Part] = field(factory=dict, init=False)  # of earlier runs, by offset
    _before: int = field(default=0, init=False)  # how many parts the session had
    _earlier: list[Range] = field(factory=list, init=False)  # what earlier runs sent, in order
    knows_version: bool = field(default=False, init=False)  # of an object: what was sent of it need not be compared
    _unhashed: int = field(default=0, init=False)  # how many parts are filled, and not hashed yet
    _hashed: anyio.Event = field(factory=anyio.Event, init=False)  # the next one

    async def finish(self) -> list[Part]:
        """Return the parts that make up the whole stream, in order.

        A part of an earlier run counts while its fingerprint agrees with what the stream gives now. Raises
        SourceChangedError where the stream has another size than was announced, UploadError where it can't be read,
        ResponseMismatchError where two parts have one id: the bytes of one of them are gone.
        """
        held, size = non_overlapping(self.session.parts), self.digest.size
        self._before = len(self.session.parts)
        passed_over = self._passed_over(held)
        self._trusted = {part.offset: part for part in held if passed_over or part.length <= LARGEST_STREAM_PART}
        self._earlier = sorted(map(span_of, self._trusted.values()), key=attrgetter("offset"))
        self._recount()
        begun, spans = anyio.create_memory_object_stream[Range](math.inf)

        def begin(span: Range) -> None:
            self._unhashed += 1
            begun.send_nowait(span)

        with begun, spans:
            async with tasks.group() as group:
                group.start_soon(self._send_on, spans, group)
                await self._read(passed_over, begin)  # in the task that opened it: it may have a context
                begun.close()
        held = non_overlapping(
            part for part in self._parts() if part.offset in passed_over or self._still_matches(part)
        )
        if not covers(size, [span_of(part) for part in held]):
            raise ResponseMismatchError(
                f"the server gave two parts of {self.session.upload_id} the same id, so that it can't be known which "
                "bytes a part holds, and a stream can't be read again. Nothing was completed. Something between here "
                "and the server may join concurrent requests: try concurrency=1 (--concurrency 1)."
            )
        return held

    @property
    def stream(self) -> StreamSource:
        """The source."""
        source = self.part_source.source
        assert isinstance(source, StreamSource), "a StreamRun sends nothing else"  # noqa: S101
        return source

    def _passed_over(self, held: list[Part]) -> dict[int, Range]:
        """What of an object is not read, by offset: what the server has of this very version, without md5."""
        if not self.knows_version or self.digest.reads_all or not held:
            return {}
        assert isinstance(self.stream, RemoteSource), "nothing else has a version"  # noqa: S101
        spans = {part.offset: span_of(part) for part in held}
        self.stream.pass_over(spans.values())
        return spans

    async def _read(self, passed_over: Mapping[int, Range], begin: Callable[[Range], object]) -> None:
        """Fill one part after the other, but for what is passed over, and begin each; not far ahead of the hashing."""
        offset = 0
        while offset < self.digest.size:
            if offset in passed_over:
                offset = passed_over[offset].end
                continue
            span = await self._fill(offset, begin)
            begin(span)
            offset = span.end
            while self._unhashed > MOST_UNHASHED:
                await self._hashed.wait()
        await self.stream.check_end()

    async def _send_on(self, spans: AsyncIterable[Range], group: TaskGroup) -> None:
        """Hash one after the other of `spans`, for md5 takes the bytes in order, and send them meanwhile."""
        async for span in spans:
            hashing = self.stream.start_hashing(span, self.digest, self.hashers)
            group.start_soon(self._settle, span, hashing)
            await hashing
            self._unhashed -= 1
            self._hashed.set()
            self._hashed = anyio.Event()

    async def _fill(self, offset: int, begin: Callable[[Range], object]) -> Range:
        if self.stream.first is not None:
            span, self.stream.first = self.stream.first, None
            return span
        length = stream_part_size(self.part_size, self.stream.memory.blocks * BLOCK, self.connections.limit)
        span = next_of_stream(offset, self.digest.size, length, self._earlier)
        is_compared = span.offset in self._trusted  # with a part of an earlier run, which is to be found again
        return await self.stream.fill(span, begin, whole=is_compared)

    async def _settle(self, span: Range, hashing: asyncio.Future[None]) -> None:
        """Send `span`, unless the server has it, and let go of its memory."""
        earlier = self._trusted.get(span.offset)
        if earlier is not None:
            await hashing
            if self.digest.fingerprint(span) != earlier.xxh3:
                del self._trusted[span.offset]
                self._recount()
                earlier = None
        if earlier is None:
            pending = Pending(self.part_size, [span])
            async with tasks.group() as group:  # of several where the server refuses it as too large
                await self._work(pending, group)
            self.part_size = min(self.part_size, pending.part_size)
        await hashing
        self.stream.release(span)
        self.meter.set_hashed(self.digest.hashed)

    def _parts(self) -> list[Part]:
        return [*self._trusted.values(), *self.session.parts[self._before :]]

    def _recount(self) -> None:
        self._count(non_overlapping(self._parts()))


@define(eq=False, kw_only=True)
class StreamRun(UploadRun):
    """A run through the Uploads API that reads its source once.

    The upload is created when its first part is full. What needs bytes that have passed is refused, unless the caller
    gave a function that opens the stream again.
    """

    source: StreamSource
    slot: Slot
    _sends: ClassVar[type[Sending]] = StreamSending

    @property
    def _if_too_slow(self) -> str:
        faster = "Use a faster connection, a faster source or a smaller file."
        if isinstance(self.source, RemoteSource):
            return faster
        return f"{faster} Without size= it is kept on disk first, and its hour on the server begins after that."

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.source.producer.on_silence = self._report_silence

    def _sending(self, session: Session) -> Sending:
        sending = super()._sending(session)
        assert isinstance(sending, StreamSending), "it is what is set above"  # noqa: S101
        sending.knows_version = self._knows_version
        return sending

    async def _hash(self) -> None:
        """Read all of it without sending any."""
        if self.digest.done:
            return
        if self.source.position:
            await self._begin_again()
        stream, offset, size = self.source, 0, self.source.identity.size
        while offset < size:
            span = next_of_stream(offset, size, LARGEST_STREAM_PART // 4)
            span = await stream.fill(span)
            await stream.start_hashing(span, self.digest, self.context.hashers)
            stream.release(span)
            offset = span.end
            self.meter.set_hashed(offset)
        await stream.check_end()

    async def _create(self, why: str) -> Session:
        if self.source.is_begun:
            await self._begin_again()
        size, connections = self.source.identity.size, self.context.connections.limit
        length = stream_part_size(self.part_size, self.source.memory.blocks * BLOCK, connections)
        first = next_of_stream(0, size, length)
        if not isinstance(self.source, RemoteSource):  # which a person need not think of, unless it is silent
            self.meter.enter(UploadPhase.WAITING, f"reading {self.source.name}")
        self.source.first = await self.source.fill(first)
        return await super()._create(why)

    async def _begin_again(self) -> None:
        if self.source.producer.opens_again:
            await self.source.begin_again()
            self.digest = ContentHash(self.digest.size, self.digest.with_md5, self.digest.whole)
            return
        name = self.source.name
        if not any(isinstance(record, Expired) and record.upload in self._held for record in self._records):
            changed = SourceChangedError(
                f"{name} gave other content than the File that the key {self.job.key!r} stands for. Nothing was sent. "
                "To send it as a new File: if_uploaded='again' (--if-uploaded again), or another key."
            )
            changed.resumable = False
            raise changed
        gone = UploadError(
            f"the server has dropped what was sent of {name}, and what was read of the stream can't be read again. "
            "Nothing was completed. A function that returns the stream, as the source, would be called again."
        )
        gone.resumable = True
        raise gone

    def _report_silence(self, note: str) -> None:
        if note:
            self.slot.yield_slot()  # others may use its connections meanwhile, and its memory
            self.source.yield_memory()
        else:
            self.slot.begin(self.meter, self.part_size)
        self.meter.enter(self.meter.state, note)
