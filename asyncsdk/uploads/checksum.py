"""Checksums of a source (md5 of the whole, fingerprints of blocks), and the check that it did not change.

A block's fingerprint is its xxh3-128, a part's the xxh3-128 of its blocks' fingerprints: whatever was sent, however it
was cut, can be checked against what the file holds now.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial

from attrs import define, field
from xxhash import xxh3_128_digest, xxh3_128_hexdigest

from asyncsdk.counts import counted
from asyncsdk.errors import SourceChangedError
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.chunking import BLOCK, MIB, Range
from asyncsdk.uploads.journal import Completed, Completing, Part, Posting, Record
from asyncsdk.uploads.resuming.moved import OtherContentError
from asyncsdk.uploads.resuming.resume import ResumeState, span_of
from asyncsdk.uploads.sources.source import Source

log = logging.getLogger(__name__)

WIDTH = 16
JOB = 8 * MIB  # what a thread hashes before it reports; it checks for a stop after every block


def block_fingerprint(block: bytes | bytearray | memoryview) -> bytes:
    """The 16-byte fingerprint of a block."""
    return xxh3_128_digest(block)


def part_fingerprint(blocks: bytes | bytearray) -> str:
    """32 hex digits over the fingerprints of a part's blocks."""
    return xxh3_128_hexdigest(blocks)


@define(eq=False)
class ContentHash:
    """The checksums of a source, block by block: from reading it, or recorded from what was sent.

    With md5 all is read, in order. Without, and unless it must be read `whole`, nothing is read that is sent anyway.
    """

    size: int
    with_md5: bool = True
    whole: bool = True
    _blocks: bytearray = field(init=False)
    _known: bytearray = field(init=False)  # a byte for each block: 0 until its fingerprint is known
    _turn: threading.Lock = field(factory=threading.Lock, init=False)
    _md5: hashlib._Hash = field(factory=partial(hashlib.md5, usedforsecurity=False), init=False)

    def __attrs_post_init__(self) -> None:
        _, count = _blocks_of(Range(0, self.size))
        self._blocks, self._known = bytearray(count * WIDTH), bytearray(count)

    @property
    def md5(self) -> str | None:
        """Hex, of what has been read; None without md5."""
        return self._md5.hexdigest() if self.with_md5 else None

    @property
    def xxh3(self) -> str:
        """The fingerprint of all."""
        return part_fingerprint(self._blocks)

    def matches(self, record: Completing | Completed | Posting) -> bool:
        """Whether `record` is about this content: by the fingerprint, and by md5 where both have it."""
        if record.xxh3 is None:
            return record.md5 is not None and record.md5 == self.md5
        return record.xxh3 == self.xxh3 and (record.md5 is None or self.md5 in {None, record.md5})

    @property
    def reads_all(self) -> bool:
        """Whether each block is read for this digest, sent or not."""
        return self.with_md5 or self.whole

    @property
    def hashed(self) -> int:
        """How many bytes are hashed."""
        return min(self.size, self._known.count(1) * BLOCK)

    @property
    def done(self) -> bool:
        """Whether all of the source is hashed."""
        return 0 not in self._known

    def fingerprint(self, span: Range) -> str | None:
        """The fingerprint of `span`, which starts on the grid, or None until all of it is hashed."""
        first, end = _blocks_of(span)
        if 0 in self._known[first:end]:
            return None
        return part_fingerprint(self._blocks[first * WIDTH : end * WIDTH])

    def record(self, span: Range, blocks: bytes | bytearray) -> None:
        """Use the fingerprints of what was sent as those of the source, unless it is read anyway."""
        if self.reads_all:
            return
        for place, index in enumerate(range(*_blocks_of(span))):
            if not self._known[index]:
                self._store(index, blocks[place * WIDTH : (place + 1) * WIDTH])

    def take(self, span: Range, blocks: Sequence[memoryview]) -> None:
        """Hash `span` of a stream, which is next: `blocks`, of which the last may be longer. May block."""
        with self._turn:
            for index, block in zip(range(*_blocks_of(span)), blocks, strict=True):
                self._hash(index, block[: min(BLOCK, span.end - index * BLOCK)])

    async def read(
        self,
        source: Source,
        threads: DaemonThreadPool,
        advanced: Callable[[int], None],
        spans: Sequence[Range] | None = None,
    ) -> None:
        """Hash in a thread what is missing of `spans`, or of all; `advanced` is called with the bytes hashed so far.

        With `reads_all` the spans are ignored. Raises SourceChangedError where the source became shorter.
        """
        if spans is None or self.reads_all:
            spans = [Range(0, self.size)]
        wanted = [index for span in spans for index in range(*_blocks_of(span)) if not self._known[index]]
        if len(wanted) == 1 and self._read_at_once(source, wanted[0]):
            advanced(self.hashed)
            return
        stop = threading.Event()
        try:
            for start in range(0, len(wanted), JOB // BLOCK):
                batch = wanted[start : start + JOB // BLOCK]
                await threads.run(partial(self._read_on, source, stop, batch))
                advanced(self.hashed)
        finally:
            stop.set()

    def _read_at_once(self, source: Source, index: int) -> bool:
        """Read a block if that takes no waiting: to hash one costs hardly more than to have a thread do it."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if self._known[index]:  # by a cancelled reading, which was at its last block
                return True
            length = min(BLOCK, self.size - index * BLOCK)
            block = source.at_hand(index * BLOCK, length)
            if block is None:
                block = memoryview(bytearray(length))
                if not source.read_now(index * BLOCK, block):
                    return False
            self._hash(index, block)
            return True
        finally:
            self._turn.release()

    def _read_on(self, source: Source, stop: threading.Event, batch: list[int]) -> None:
        with self._turn:  # a cancelled reading may still be at its last block
            buffer = memoryview(bytearray(BLOCK))
            for index in batch:
                if stop.is_set():
                    return
                if not self._known[index]:
                    self._read_block(source, index, buffer[: min(BLOCK, self.size - index * BLOCK)])

    def _read_block(self, source: Source, index: int, block: memoryview) -> None:
        source.read(index * BLOCK, block)
        self._hash(index, block)

    def _hash(self, index: int, block: memoryview) -> None:
        if self.with_md5:
            self._md5.update(block)
        self._store(index, block_fingerprint(block))

    def _store(self, index: int, fingerprint: bytes | bytearray) -> None:
        self._blocks[index * WIDTH : (index + 1) * WIDTH] = fingerprint
        self._known[index] = 1


def _blocks_of(span: Range) -> tuple[int, int]:
    """The indices of its first block and of the one after its last."""
    return span.offset // BLOCK, -(-span.end // BLOCK)


def encoded_md5(hex_digest: str, form: str) -> str:
    """The digest as `hex` or `base64`: OpenAI's document does not say which it expects."""
    return base64.b64encode(bytes.fromhex(hex_digest)).decode() if form == "base64" else hex_digest


def check_same(read: str | None, sent: str, name: str) -> None:
    """Raise SourceChangedError where the hashing pass and the sending pass saw different bytes."""
    if read is not None and read != sent:
        raise SourceChangedError(
            f"{name} changed while it was sent. No file was made. The same call sends what changed."
        )


async def check_its_content(
    source: Source, digest: ContentHash, state: ResumeState, hashers: DaemonThreadPool, advanced: Callable[[int], None]
) -> None:
    """Raise OtherContentError where `source` is not the file whose upload is in `state`.

    Once complete was asked all of it has to be the same, and until then one of a few parts: it may have changed since.
    `digest` is that of `source`; `advanced` is called as by `read`.
    """
    whole = state.completed or state.completing
    if whole is not None:
        await digest.read(source, hashers, advanced)
        if not digest.matches(whole):
            raise OtherContentError("its content is another")
    elif state.parts and not await _some_is_there(source, digest, state.parts, hashers, advanced):
        raise OtherContentError("it contains nothing of what was sent")


async def _some_is_there(
    source: Source,
    digest: ContentHash,
    parts: Sequence[Part],
    hashers: DaemonThreadPool,
    advanced: Callable[[int], None],
) -> bool:
    """Whether the first, the middle or the last of `parts` is in `source`: more are not read for another file."""
    if digest.reads_all:  # in order from the start, which here is too much
        digest = ContentHash(source.identity.size, with_md5=False, whole=False)
    ordered = sorted(parts, key=lambda part: part.offset)
    for part in dict.fromkeys((ordered[0], ordered[len(ordered) // 2], ordered[-1])):
        span = span_of(part)
        await digest.read(source, hashers, advanced, [span])
        if digest.fingerprint(span) == part.xxh3:
            return True
    return False


def is_known_by_md5_alone(record: Record) -> bool:
    """Whether `record` is of a content that had no fingerprint yet."""
    return isinstance(record, Completing | Completed) and record.xxh3 is None and record.md5 is not None


async def check_unchanged(
    source: Source, digest: ContentHash, readers: DaemonThreadPool, hashers: DaemonThreadPool
) -> None:
    """Compare the source's size and times again; read it again if it was touched and read only once.

    Raises SourceChangedError where it has another size, or other content than was sent.
    """
    was, name = source.identity, source.name
    now = await readers.run(source.look_again)
    if now is not None and now.size != was.size:
        raise SourceChangedError(
            f"{name} changed while it was sent ({counted(was.size, 'byte')}, now {now.size:,}). No file was made. "
            "The same call sends the file as it is now."
        )
    if now == was:
        return
    if not digest.reads_all:
        again = ContentHash(digest.size, with_md5=False)
        await again.read(source, hashers, lambda _: None)
        check_same(again.xxh3, digest.xxh3, name)
    log.warning("%s was touched, replaced or removed while it was sent; what was sent is complete", name)
