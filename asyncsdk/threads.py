"""Own daemon threads for blocking calls: whoever is cancelled walks away, and nobody waits for a stuck disk."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

import anyio
from attrs import define, field

T = TypeVar("T")
_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]

IDLE_SECONDS = 2.0


class NoThreadError(OSError, RuntimeError):
    """The system gives no thread, for want of memory or by a limit, and the pool has none. Nothing was done."""


class Forkable(Protocol):
    """A thing with threads or locks that outlives a fork."""

    def begin_again(self) -> None:
        """In a child process: its threads are gone, and its locks may be held by one of them."""


_forkable: WeakSet[Forkable] = WeakSet()


def after_fork(thing: Forkable) -> None:
    """Let `thing` begin again in each child that this process forks while the thing lives."""
    _forkable.add(thing)


def _begin_again() -> None:
    for thing in list(_forkable):
        thing.begin_again()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_begin_again)


@define(eq=False)
class Threads:
    """At most `limit` threads, started when there is work and gone after `IDLE_SECONDS` without.

    asyncio's own executor won't do: the interpreter joins its threads at exit, so a read that hangs in
    the kernel would keep a cancelled program alive. A forked child has none of them, and starts its own.
    """

    name: str
    limit: int
    busy: int = field(default=0, init=False)
    _alive: int = field(default=0, init=False)
    _waiting: int = field(default=0, init=False)
    _jobs: SimpleQueue[_Job] = field(factory=SimpleQueue, init=False)
    _counting: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        after_fork(self)

    def begin_again(self) -> None:
        """Be without threads and jobs, as a forked child is."""
        self.busy = self._alive = self._waiting = 0
        self._jobs, self._counting = SimpleQueue(), threading.Lock()

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Start `job` in a thread; its future belongs to the running loop. Cancelling that drops the result only.

        Where the system gives no thread and none is there, the future raises NoThreadError; nothing was done.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._counting:
            if self._waiting + self.busy >= self._alive and self._alive < self.limit:
                self._start_thread(future)
            if future.done():
                return future
            self._waiting += 1
        self._jobs.put((loop, future, job))
        return future

    async def run(self, job: Callable[[], T]) -> T:
        """Run `job` in a thread and await what it returns or raises."""
        return await self.submit(job)

    def _start_thread(self, future: asyncio.Future[Any]) -> None:
        try:
            threading.Thread(target=self._work, name=self.name, daemon=True).start()
        except RuntimeError as error:  # the others will come to it; without any, nobody would
            if not self._alive:
                future.set_exception(NoThreadError(errno.EAGAIN, str(error)))
        else:
            self._alive += 1

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            loop, future, job = taken
            try:
                settle = partial(_set_result, future, job())
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever awaits the job
                settle = partial(_set_exception, future, error)
            with self._counting:
                self.busy -= 1
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle)
            del taken, loop, future, job, settle

    def _take(self) -> _Job | None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._counting:
                    if not self._waiting:  # else one is just being handed over
                        self._alive -= 1
                        return None
            else:
                with self._counting:
                    self._waiting -= 1
                    self.busy += 1
                return job


def _set_result(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if isinstance(error, StopIteration):  # no future takes one: it would end the coroutine that awaits it
        told = RuntimeError("a job in a thread raised StopIteration")
        told.__cause__ = error
        error = told
    if not future.done():
        future.set_exception(error)


async def wait_through_cancellation(futures: Iterable[asyncio.Future[Any]], *, seconds: float) -> bool:
    """Wait at most `seconds` until all `futures` are done, and tell whether they are.

    Cancelling the waiting task, natively or by a scope, does not end the wait: it is raised after it.
    What the futures hold, exceptions included, is left to whoever owns them.
    """
    pending = set(futures)
    deadline = time.monotonic() + seconds
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while pending and (left := deadline - time.monotonic()) > 0:
            try:
                _, pending = await asyncio.wait(pending, timeout=left)
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        raise cancelled
    return not pending
