"""Receives a file: batches go to a temporary file in a worker thread, and a rename makes the whole file appear."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from attrs import define, field

from asyncsdk.server.errors import too_large
from asyncsdk.server.workers import Workers

BATCH_BYTES = 2**20


@define(eq=False)
class Spool:
    """The temporary file. Blocking. Calls after it was kept or discarded change nothing.

    A thread may still be writing when its request is cancelled: the lock lets it end before the file is closed.
    """

    path: Path
    _file: BinaryIO | None = field(default=None, init=False)
    _settled: bool = field(default=False, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def append(self, batch: Sequence[bytes]) -> None:
        with self._lock:
            if not self._settled:
                self._opened().writelines(batch)

    def keep(self, rest: Sequence[bytes], target: Path) -> None:
        """Append the rest, and let the whole file appear as `target`."""
        with self._lock:
            with self._opened() as file:
                file.writelines(rest)
            target.parent.mkdir(0o700, exist_ok=True)
            self.path.replace(target)
            self._settled = True

    def discard(self) -> None:
        """Remove a file that was not kept."""
        with self._lock:
            if self._file is not None and not self._settled:
                with suppress(OSError):  # bytes that a full disk refuses are not needed any more
                    self._file.close()
                self.path.unlink(missing_ok=True)
            self._settled = True

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._file = created(self.path)
        return self._file


def created(path: Path) -> BinaryIO:
    """Create a file that only this user can read and write."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600), "wb")


@define(eq=False)
class IncomingFile:
    """A file of at most `limit` bytes as its bytes arrive; `size` counts them. Never whole in memory."""

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
        """Let the file, which is complete now, appear as `target`."""
        await self._workers.run(self._spool.keep, self._batch, target)

    async def discard(self) -> None:
        """Remove what arrived of a file that was not kept."""
        await self._workers.run(self._spool.discard)
