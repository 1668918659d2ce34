"""Group commit: records that wait at the same time share one write and one sync, and one sync of their directories."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from asyncsdk.retry import pause_after
from asyncsdk.threads import DaemonThreadPool, NoThreadError, after_fork, wait_through_cancellation
from asyncsdk.wal import ClosedError, disk


@frozen(eq=False)
class _PendingRecord:
    record: Any
    line: bytes
    written: asyncio.Future[None]
    after: Callable[[], object] | None


@define(eq=False)
class GroupCommit:
    """Writes records through `write`, a blocking call made in one thread at a time; `keep` gets those that are durable.

    `encode` makes a record a line. No task runs for it: the end of a write begins the next one. `gathering` returns for
    how many seconds a write waits for more records to join it: a sync costs more than all else that is done for one.
    """

    encode: Callable[[Any], bytes]
    write: Callable[[bytes], None]
    threads: DaemonThreadPool
    keep: Callable[[list[Any]], object]
    gathering: Callable[[], float] = lambda: 0.0
    _waiting: list[_PendingRecord] = field(factory=list, init=False)
    _idle: asyncio.Future[None] | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    def append(self, record: Any, *, after: Callable[[], object] | None = None) -> asyncio.Future[None]:
        """Return a future that is done once `record` is durable. Cancelling it does not take the record back.

        `after` is called once it is durable, by the thread that wrote it: a job of its own would cost as much again.

        Raises ClosedError after `close`, and what `encode` raises; the future raises what `write` does.
        """
        if self._closed:
            raise ClosedError(errno.EBADF, "the claim is over; the record was not written")
        loop = asyncio.get_running_loop()
        waiting = _PendingRecord(record, self.encode(record), loop.create_future(), after)
        self._waiting.append(waiting)
        if self._idle is None:
            self._idle = loop.create_future()
            self._start_soon()
        return waiting.written

    async def close(self, *, seconds: float) -> None:
        """Take no more, and wait at most `seconds` until all is written; a thread goes on with what takes longer."""
        self._closed = True
        try:
            if self._idle is not None:
                await wait_through_cancellation([self._idle], seconds=seconds)
        finally:
            if self._waiting:  # after a write that does not end
                self._start()

    def _start_soon(self) -> None:
        """Soon, not now: others of this turn of the loop, and callers that were just resumed, join the same write."""
        loop, seconds = asyncio.get_running_loop(), self.gathering()
        if seconds > 0:
            loop.call_later(seconds, self._start)
        else:
            loop.call_soon(self._start)

    def _start(self) -> None:
        batch, self._waiting = self._waiting, []
        self._submit(batch)

    def _submit(self, batch: Sequence[_PendingRecord], waited: float = 0.0) -> None:
        writing = self.threads.start(partial(self._write, batch))
        writing.add_done_callback(partial(self._finish, batch, waited))

    def _write(self, batch: Sequence[_PendingRecord]) -> None:
        self.write(b"".join([waiting.line for waiting in batch]))
        for waiting in batch:
            if waiting.after is not None:
                with suppress(OSError):  # the record is durable all the same
                    waiting.after()

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
            _fail(batch, error)
        if self._waiting:
            self._start_soon()
        elif self._idle is not None:
            self._idle.set_result(None)
            self._idle = None


def _acknowledge(batch: Sequence[_PendingRecord]) -> None:
    for waiting in batch:
        if not waiting.written.done():
            waiting.written.set_result(None)


def _fail(batch: Sequence[_PendingRecord], error: BaseException) -> None:
    for waiting in batch:
        if not waiting.written.done():
            waiting.written.set_exception(error)


@define(eq=False)
class DirectorySync:
    """Syncs of some directories, each shared by all callers whose names were there before it began. For any thread."""

    folders: tuple[Path, ...]
    _begun: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _failures: int = field(default=0, init=False)
    _failure: OSError | None = field(default=None, init=False)
    _turn: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        after_fork(self)

    def begin_again(self) -> None:
        """In a forked child no thread syncs, even if one did in its parent."""
        self._turn = threading.Lock()

    def __call__(self) -> None:
        """Return once the names that are in the directories now would survive a power cut. Raises OSError.

        A sync that fails fails for all callers that wait meanwhile: the next might not report what was lost (Linux
        reports each error once to a process that has the directory open).
        """
        failures = self._failures
        needed = self._begun + 1  # one that runs already may have begun before our name was there
        with self._turn:
            if self._failures == failures and self._done < needed:
                self._sync()
            if self._failure is not None and self._failures != failures:
                raise OSError(self._failure.errno, self._failure.strerror) from self._failure

    def _sync(self) -> None:
        self._begun += 1
        try:
            for folder in self.folders:
                disk.sync_directory(folder)
        except OSError as error:
            self._failures, self._failure = self._failures + 1, error
        else:
            self._done = self._begun
