"""A stream of a known size as a source: what was read of it is in memory until the server has it, and only that."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

import anyio
from attrs import define, field

from asyncsdk.errors import SourceChangedError
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.checksum import ContentHash
from asyncsdk.uploads.chunking import BLOCK, MIB, Range, checked_size
from asyncsdk.uploads.sources.readers import Identity
from asyncsdk.uploads.sources.stream import ByteStream, Producer

STREAM_MEMORY = 64 * MIB  # of the parts of all streams of an uploader, whatever the number of its connections


@define(eq=False)
class PartMemory:
    """The blocks of memory that all streams of an uploader share, on one event loop; first come, first served."""

    blocks: int = STREAM_MEMORY // BLOCK
    _taken: int = field(default=0, init=False)
    _spare: list[memoryview] = field(factory=list, init=False)
    _turn: anyio.Lock = field(factory=anyio.Lock, init=False)
    _returned: anyio.Event = field(factory=anyio.Event, init=False)

    async def take(self, count: int) -> list[memoryview]:
        """Wait for that many blocks, all at once: two that hold half of a part each would wait for each other."""
        async with self._turn:
            while self._taken + count > self.blocks:
                self._returned = anyio.Event()
                await self._returned.wait()
            self._taken += count
        taken, self._spare = self._spare[:count], self._spare[count:]
        return taken + [memoryview(bytearray(BLOCK)) for _ in range(count - len(taken))]

    def give(self, blocks: list[memoryview]) -> None:
        """Return blocks that nothing uses any more; once all are back, their memory is the system's again."""
        self._spare += blocks
        self.drop(len(blocks))

    def drop(self, count: int) -> None:
        """Return the room of blocks that a thread may still use: their memory goes when that has ended."""
        self._taken -= count
        if not self._taken:
            self._spare.clear()
        self._returned.set()


@define(eq=False)
class _Filling:
    """A range on its way into memory, from `start`: the block at `at` is being filled, those of `wanted` are not."""

    start: int
    wanted: deque[int]
    begin: Callable[[Range], object] | None
    at: int = field(default=0, init=False)


@define(eq=False, kw_only=True)
class StreamSource:
    """What `producer` gives, `identity.size` bytes. A range can be read from when it is filled until it is released."""

    producer: Producer
    identity: Identity
    memory: PartMemory
    place: str | None = None
    tells_changes: bool = True  # each byte is read once: what is hashed is what is sent
    first: Range | None = None  # filled, and nobody has taken it yet
    _stream: ByteStream | None = field(default=None, init=False)
    _held: dict[int, memoryview] = field(factory=dict, init=False)  # blocks by their offset
    _filling: _Filling | None = field(default=None, init=False)

    @classmethod
    def of(cls, producer: Producer, size: int, memory: PartMemory) -> StreamSource:
        """Announce a stream of `size` bytes; nothing is read yet. Raises SourceError for a size that can't be sent."""
        return cls(producer=producer, identity=Identity(checked_size(size, producer.name)), memory=memory)

    @property
    def name(self) -> str:
        return self.producer.name

    @property
    def position(self) -> int:
        """How many bytes of it were read."""
        return 0 if self._stream is None else self._stream.position

    @property
    def is_begun(self) -> bool:
        """Whether something of it has passed, or was passed over."""
        return self.position > 0

    @property
    def is_at_hand(self) -> bool:
        """Whether it can be read at any offset, as a file can."""
        return False

    async def stream(self) -> ByteStream:
        """The open stream."""
        if self._stream is None:
            self._stream = await self.producer.open()
        return self._stream

    async def fill(self, span: Range, begin: Callable[[Range], object] | None = None, *, whole: bool = False) -> Range:
        """Read `span`, which is next, into memory, as soon as there is some, and return what of it was read.

        Unless it has to be `whole`, that is less where the stream was silent meanwhile: see `yield_memory`. It is
        without its beginning where `begin` was called with that.

        Raises SourceChangedError where the stream ends before that, UploadError where it can't be read.
        """
        stream = await self.stream()
        if not await stream.has_more():  # before memory is taken: what has nothing yet takes it from nobody
            raise self._ended()
        blocks = await self.memory.take(-(-span.length // BLOCK))
        offsets = range(span.offset, span.end, BLOCK)
        self._held |= dict(zip(offsets, blocks, strict=True))
        filling = _Filling(span.offset, deque(offsets), begin)
        self._filling = None if whole else filling
        while filling.wanted:
            filling.at = filling.wanted.popleft()
            block = self._held[filling.at][: min(BLOCK, span.end - filling.at)]
            if await stream.fill(block) < len(block):
                raise self._ended()
        self._filling = None
        return Range(filling.start, min(filling.at + BLOCK, span.end) - filling.start)

    def yield_memory(self) -> None:
        """Let others use the memory that waits for a stream that is silent: what is filled is given to be sent."""
        filling = self._filling
        if filling is None:
            return
        self.memory.give([self._held.pop(offset) for offset in filling.wanted])
        filling.wanted.clear()
        full = Range(filling.start, filling.at - filling.start)
        if full.length and filling.begin is not None:
            filling.begin(full)
            filling.start = full.end

    def start_hashing(self, span: Range, digest: ContentHash, threads: DaemonThreadPool) -> asyncio.Future[None]:
        """Hash what was filled, in a thread; await that before `span` is released."""
        blocks = [self._held[offset] for offset in range(span.offset, span.end, BLOCK)]
        return threads.start(partial(digest.take, span, blocks))

    def release(self, span: Range) -> None:
        """Give the memory of `span` back: nothing reads it any more."""
        self.memory.give([self._held.pop(offset) for offset in range(span.offset, span.end, BLOCK)])

    async def check_end(self) -> None:
        """Raise SourceChangedError where more comes than was announced."""
        if await (await self.stream()).has_more():
            raise self._changed(f"{self.name} has more than the {self.identity.size:,} bytes of size=")

    async def begin_again(self) -> None:
        """Read it again from its start."""
        self.close()
        await self.aclose()

    def read(self, offset: int, view: memoryview) -> None:
        if not self.read_now(offset, view):
            raise self._changed(f"{self.name} was to be read again at byte {offset:,}, which a stream can't be")

    def read_now(self, offset: int, view: memoryview) -> bool:
        while view:
            start = offset // BLOCK * BLOCK
            block = self._held.get(start)
            if block is None:
                return False
            piece = block[offset - start :][: len(view)]
            view[: len(piece)] = piece
            offset, view = offset + len(piece), view[len(piece) :]
        return True

    def at_hand(self, offset: int, length: int) -> memoryview | None:
        block = self._held.get(offset)
        return None if block is None or length > len(block) else block[:length]

    def look_again(self) -> Identity:
        return self.identity

    def close(self) -> None:
        """Give all memory back."""
        self.memory.drop(len(self._held))
        self._held.clear()
        self.first = self._filling = None

    async def aclose(self) -> None:
        """Let go of the stream."""
        if self._stream is not None:
            await self._stream.aclose()
            self._stream = None

    def _ended(self) -> SourceChangedError:
        before = "" if self.position else ", as a stream does that was read before"
        reached = f"{self.position:,} of the {self.identity.size:,} bytes of size="
        return self._changed(f"{self.name} ended after {reached}{before}")

    def _changed(self, what: str) -> SourceChangedError:
        instead = "Pass the size of what it gives, or none: then it is kept on disk first."
        error = SourceChangedError(f"{what}. No file was made. {instead}")
        error.advice, error.resumable = instead, False
        return error
