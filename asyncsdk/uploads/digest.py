"""md5 of the whole, if wanted, and fingerprints of its blocks, in one pass over the source.

A block's fingerprint is its xxh3-128, a part's the xxh3-128 of its blocks' fingerprints: so whatever was
sent in whatever cut can be checked against what the file holds now.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable
from functools import partial

from attrs import define, field
from xxhash import xxh3_128_digest, xxh3_128_hexdigest

from asyncsdk.errors import SourceChangedError
from asyncsdk.journal import Completed, Completing
from asyncsdk.threads import Threads
from asyncsdk.uploads.plan import BLOCK, MIB, Range
from asyncsdk.uploads.source import Source

WIDTH = 16
JOB = 8 * MIB  # what a thread hashes before it reports; it minds a stop after every block


def block_fingerprint(block: bytes | bytearray | memoryview) -> bytes:
    """16 bytes that tell this block from any other."""
    return xxh3_128_digest(block)


def part_fingerprint(blocks: bytes | bytearray) -> str:
    """32 hex digits over the fingerprints of a part's blocks."""
    return xxh3_128_hexdigest(blocks)


@define(eq=False)
class Digest:
    """What the source held when it was read, as far as it has been read. `with_md5=False` saves most of its cost."""

    size: int
    with_md5: bool = True
    hashed: int = field(default=0, init=False)
    _turn: threading.Lock = field(factory=threading.Lock, init=False)
    _blocks: bytearray = field(factory=bytearray, init=False)
    _md5: hashlib._Hash = field(factory=partial(hashlib.md5, usedforsecurity=False), init=False)

    @property
    def md5(self) -> str | None:
        """Hex, of what has been read; None without md5."""
        return self._md5.hexdigest() if self.with_md5 else None

    @property
    def xxh3(self) -> str:
        """The fingerprint of all that has been read."""
        return part_fingerprint(self._blocks)

    def is_of(self, record: Completing | Completed) -> bool:
        """Whether `record` speaks of this very content: by the fingerprint, and by md5 where both have it."""
        if record.xxh3 is None:
            return record.md5 is not None and record.md5 == self.md5
        return record.xxh3 == self.xxh3 and (record.md5 is None or self.md5 in {None, record.md5})

    @property
    def done(self) -> bool:
        """Whether the whole source has been read."""
        return self.hashed == self.size

    def fingerprint(self, span: Range) -> str | None:
        """The fingerprint of `span`, which starts on the grid, or None as long as it has not been read."""
        if self.hashed < span.end:
            return None
        return part_fingerprint(self._blocks[span.offset // BLOCK * WIDTH : -(-span.end // BLOCK) * WIDTH])

    async def read(self, source: Source, threads: Threads, advanced: Callable[[int], None]) -> None:
        """Read the rest of `source` in a thread; `advanced` hears now and then how far it is.

        Raises SourceChangedError where the source has become shorter.
        """
        stop = threading.Event()
        try:
            while not self.done:
                await threads.run(partial(self._read_on, source, stop))
                advanced(self.hashed)
        finally:
            stop.set()

    def _read_on(self, source: Source, stop: threading.Event) -> None:
        with self._turn:  # a cancelled reading may still be at its last block
            target = min(self.size, self.hashed + JOB)
            buffer = memoryview(bytearray(BLOCK))
            while self.hashed < target and not stop.is_set():
                block = buffer[: min(BLOCK, target - self.hashed)]
                source.read(self.hashed, block)
                if self.with_md5:
                    self._md5.update(block)
                self._blocks += block_fingerprint(block)
                self.hashed += len(block)


def encoded_md5(hex_digest: str, form: str) -> str:
    """The digest as `hex` or `base64`: OpenAI's document does not say which it wants."""
    return base64.b64encode(bytes.fromhex(hex_digest)).decode() if form == "base64" else hex_digest


def check_same(read: str | None, sent: str, name: str) -> None:
    """Raise SourceChangedError where the hashing pass and the sending pass saw different bytes."""
    if read is not None and read != sent:
        raise SourceChangedError(
            f"{name} changed while it was being sent; nothing was completed. The same call sends what changed."
        )
