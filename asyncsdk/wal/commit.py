"""Group commit: the records that wait at the same time go out with one write and one sync."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from asyncsdk.errors import JournalError
from asyncsdk.retry import pause_after
from asyncsdk.threads import DaemonThreadPool, NoThreadError, wait_through_cancellation
from asyncsdk.uploads.journal.codec import encode
from asyncsdk.uploads.journal.messages import DisplacedError, displaced, journal_error, not_written


@frozen(eq=False)
class _PendingRecord:
    record: Any
    line: bytes
    written: asyncio.Future[None]


@define(eq=False)
class GroupCommit:
    """Writes records through `write`, a blocking call made in one thread at a time; `keep` gets those that are durable.

    No task runs for it: the end of a write begins the next one.
    """

    folder: Path
    write: Callable[[bytes], None]
    threads: DaemonThreadPool
    keep: Callable[[list[Any]], object]
    encode: Callable[[Any], bytes] = encode
    _waiting: list[_PendingRecord] = field(factory=list, init=False)
    _idle: asyncio.Future[None] | None = field(default=None, init=False)
    _left: bool = field(default=False, init=False)

    def add(self, record: Any) -> asyncio.Future[None]:
        """Return a future that is done once `record` is durable. Cancelling it takes nothing back."""
        if self._left:
            raise JournalError(f"{self.folder}: the claim is over; the record was not written")
        loop = asyncio.get_running_loop()
        waiting = _PendingRecord(record, self.encode(record), loop.create_future())
        self._waiting.append(waiting)
        if self._idle is None:
            self._idle = loop.create_future()
            loop.call_soon(self._start)  # soon, not now: others of this turn of the loop join the same write
        return waiting.written

    async def leave(self, *, seconds: float) -> None:
        """Take no more, and wait at most `seconds` until all is written; a thread goes on with what takes longer."""
        self._left = True
        try:
            if self._idle is not None:
                await wait_through_cancellation([self._idle], seconds=seconds)
        finally:
            if self._waiting:  # behind a write that does not end
                self._start()

    def _start(self) -> None:
        batch, self._waiting = self._waiting, []
        self._submit(batch)

    def _submit(self, batch: Sequence[_PendingRecord], waited: float = 0.0) -> None:
        lines = b"".join(waiting.line for waiting in batch)
        self.threads.start(partial(self.write, lines)).add_done_callback(partial(self._finish, batch, waited))

    def _finish(self, batch: Sequence[_PendingRecord], waited: float, done: asyncio.Future[None]) -> None:
        error = done.exception()
        pause = pause_after(error, waited) if isinstance(error, NoThreadError) else None
        if pause is not None:  # nothing was written: a moment later there may be a thread
            asyncio.get_running_loop().call_later(pause, self._submit, batch, waited + pause)
            return
        if error is None:
            self.keep([waiting.record for waiting in batch])
            _acknowledge(batch)
        else:
            _fail(batch, error, self.folder)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._start)  # after those just told: their next records join
        elif self._idle is not None:
            self._idle.set_result(None)
            self._idle = None


def _acknowledge(batch: Sequence[_PendingRecord]) -> None:
    for waiting in batch:
        if not waiting.written.done():
            waiting.written.set_result(None)


def _fail(batch: Sequence[_PendingRecord], error: BaseException, folder: Path) -> None:
    for waiting in batch:
        if not waiting.written.done():
            say = displaced if isinstance(error, DisplacedError) else not_written
            told = journal_error(say, folder, error) if isinstance(error, OSError) else error
            waiting.written.set_exception(told)
