"""A request body that knows its size, whether it was fully sent, and why it was not.

aiohttp would report an error that a body raises while it is written, such as an unreadable file, as a lost
connection, which would then be retried; so a body keeps it in `failure`, where the client looks first.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import NoReturn

from aiohttp import Payload
from aiohttp.abc import AbstractStreamWriter

from asyncsdk.errors import APITimeoutError
from asyncsdk.http.stall import SocketProgress, StallTimer, observe
from asyncsdk.timing import STALL_SECONDS

SLICE = 1 << 19
SMALL = 1 << 17  # bytes; copying them costs less than another write


class Body(Payload):
    """Written once, for one attempt: the next attempt gets a new one."""

    def __init__(self, size: int, content_type: str, *, stall: float = STALL_SECONDS) -> None:
        super().__init__(None, content_type=content_type)
        self._size = size
        self.is_small = size <= SMALL
        self._autoclose = True
        self._failure: BaseException | None = None
        self.on_sent: Callable[[], object] | None = None
        self._lost = False
        self._transport: asyncio.WriteTransport | None = None
        self._before = 0  # bytes that its connection had moved for others
        self._acked = 0
        self.watch = StallTimer(stall, response=600.0)

    @property
    def failure(self) -> BaseException | None:
        """Why this side ended the attempt; None where the server or the network did, or nobody."""
        return APITimeoutError(self.watch.gave_up) if self.watch.gave_up else self._failure

    @property
    def bytes_sent(self) -> int:
        """How many bytes were handed to the connection."""
        return self.watch.written

    @property
    def fully_sent(self) -> bool:
        """Whether every byte was handed to the connection."""
        return self.watch.fully_sent

    def seen(self) -> SocketProgress | None:
        """What can be seen of its connection now; None before it has one and once that is closed."""
        if self._transport is None or self._transport.is_closing():
            return None
        return observe(self._transport, self.bytes_sent)

    def acked(self) -> int:
        """How many of its bytes the peer has acknowledged, as far as that can be seen now; it only grows."""
        seen = self.seen()
        if seen is not None:  # TLS adds to what is sent
            self._acked = max(self._acked, min(seen.moved - self._before, self.bytes_sent))
        return self._acked

    def limit_response(self, seconds: float) -> None:
        """Set how long the server may take once it has everything."""
        self.watch.response = seconds

    def stop_watching(self) -> None:
        """Stop the timer that gives up a stalled attempt; safe to call at any time."""
        self.watch.stop()

    @abstractmethod
    async def write_content(self, writer: AbstractStreamWriter) -> None:
        """Write all `size` bytes."""

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body; called by aiohttp."""
        self._transport = writer.transport
        if self._transport is not None:
            self.watch.start(self._transport)
        seen = self.seen()
        self._before = 0 if seen is None else seen.moved
        try:
            await self.write_content(writer)
        except Exception as error:
            if not self._lost:
                self._failure = error
            raise
        self.watch.fully_sent = True

    async def put(self, writer: AbstractStreamWriter, chunk: bytes | memoryview) -> None:
        """Write a chunk and wait until the connection has taken it. A failure here is not a failure of the body."""
        if not self.watch.written and self.on_sent is not None:
            self.on_sent()
        self.watch.written += len(chunk)
        self._lost = True
        await writer.write(chunk)
        await writer.drain()
        self._lost = False
        if not self.is_small:
            await asyncio.sleep(0)  # a peer that takes all at once would never let other tasks run

    def abort(self) -> None:
        """Drop the connection and what it still holds of this body."""
        if self._transport is not None:
            self._transport.abort()

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> NoReturn:  # noqa: ARG002 - aiohttp's signature
        """Not for reading: it may be as large as a disk."""
        raise TypeError("a request body is written, not read")


class ChunksBody(Body):
    """Chunks of bytes in memory, sent in slices so that none blocks the loop."""

    def __init__(self, chunks: Sequence[bytes], content_type: str, *, stall: float = STALL_SECONDS) -> None:
        super().__init__(sum(map(len, chunks)), content_type, stall=stall)
        self._chunks = chunks

    async def write_content(self, writer: AbstractStreamWriter) -> None:
        for chunk in (b"".join(self._chunks),) if self.is_small else self._chunks:
            for start in range(0, len(chunk), SLICE):
                await self.put(writer, memoryview(chunk)[start : start + SLICE])


def flush_every_write(transport: asyncio.WriteTransport) -> None:
    """Make `drain` wait until the transport holds nothing back, so that a buffer may be filled again.

    asyncio's plain transport pauses when it holds more than `high`, its TLS transport when it holds `high`
    or more: 1 on the former would let a byte pass, 0 on the latter would wait forever.
    """
    is_tls = transport.get_extra_info("sslcontext") is not None
    transport.set_write_buffer_limits(high=1 if is_tls else 0)
