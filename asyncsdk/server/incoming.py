"""A file on its way from the wire to the disk: handed on in batches, never held whole."""

from __future__ import annotations

from pathlib import Path

from attrs import define, field

from asyncsdk.server.errors import too_large
from asyncsdk.server.spool import Spool
from asyncsdk.server.workers import Workers

BATCH_BYTES = 2**20


@define(eq=False)
class Incoming:
    """A file of at most `limit` bytes; `size` is what came of it so far."""

    limit: int
    size: int = field(default=0, init=False)
    _spool: Spool
    _workers: Workers
    _batch: list[bytes] = field(factory=list, init=False)
    _batched: int = field(default=0, init=False)

    async def write(self, data: bytes, /) -> None:
        """Take the next bytes. Raises ApiError above the limit, OSError where the disk refuses."""
        self.size += len(data)
        if self.size > self.limit:
            raise too_large("The content", self.limit)
        self._batch.append(data)
        self._batched += len(data)
        if self._batched >= BATCH_BYTES:
            batch, self._batch, self._batched = self._batch, [], 0
            await self._workers.run(self._spool.append, batch)

    async def keep(self, target: Path) -> None:
        """Let the file, which is whole now, appear as `target`."""
        await self._workers.run(self._spool.keep, self._batch, target)

    async def discard(self) -> None:
        """Leave nothing behind of a file that was not kept."""
        await self._workers.run(self._spool.discard)
