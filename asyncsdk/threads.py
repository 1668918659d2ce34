"""A daemon thread pool for blocking calls: a cancelled caller returns at once, and a stuck disk delays no exit."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar
from weakref import WeakSet

import anyio
from attrs import define, field

from asyncsdk.timing import DEFAULT_TIMING

T = TypeVar("T")
P = ParamSpec("P")
_AnyFuture: TypeAlias = "asyncio.Future[Any] | Future[Any]"
_Job = tuple[asyncio.AbstractEventLoop | None, _AnyFuture, Callable[[], Any]]  # without a loop: one that was submitted


class NoThreadError(OSError, RuntimeError):
    """The system gives no thread, by a limit or for lack of memory, and the pool has none. Nothing was done."""


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
class DaemonThreadPool(Executor):
    """At most `limit` threads, started when there is work and ended after `idle` seconds without.

    The interpreter joins the threads of asyncio's and the standard library's executors at exit, so that a read that
    hangs in the kernel keeps a cancelled program alive; these are daemons. A forked child has none, and starts its own.

    `start` and `run` are for coroutines: a job costs them two thirds of what one by way of `submit` costs.

    Args:
        name: The name of each of its threads.
        limit: How many jobs may run at a time.
        idle: For how many seconds a thread waits for another job.
        cancellable: Whether `submit`'s futures can be cancelled before their job begins. Without, each job is run.
    """

    name: str
    limit: int
    idle: float = field(default=DEFAULT_TIMING.thread_idle, kw_only=True)
    cancellable: bool = field(default=True, kw_only=True)
    busy: int = field(default=0, init=False)
    _threads: set[threading.Thread] = field(factory=set, init=False)
    _waiting: int = field(default=0, init=False)
    _jobs: SimpleQueue[_Job | None] = field(factory=SimpleQueue, init=False)
    _counting: threading.Lock = field(factory=threading.Lock, init=False)
    _is_shut: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        after_fork(self)

    def begin_again(self) -> None:
        """Be without threads and jobs, as a forked child is."""
        self.busy = self._waiting = 0
        self._threads, self._jobs, self._counting = set(), SimpleQueue(), threading.Lock()

    @property
    def alive(self) -> int:
        """How many threads there are now."""
        return len(self._threads)

    def start(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Start `job` in a thread; its future belongs to the running loop. Cancelling that drops the result only.

        Where the system gives no thread and none is there, the future raises NoThreadError; nothing was done.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put((loop, future, job))
        return future

    async def run(self, job: Callable[[], T]) -> T:
        """Run `job` in a thread and await what it returns or raises."""
        return await self.start(job)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As the standard library's executors do, for what takes one (`executor=`); NoThreadError as with `start`."""
        future: Future[T] = Future()
        if not self.cancellable:
            future.set_running_or_notify_cancel()
        self._put((None, future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's
        """Take no more jobs; its threads end once those that are waiting have run, or are cancelled."""
        with self._counting:
            self._is_shut = True
            if cancel_futures:
                self._cancel_waiting()
            threads = list(self._threads)
            for _ in threads:
                self._jobs.put(None)
        for thread in threads if wait else ():
            thread.join()

    def _put(self, job: _Job) -> None:
        with self._counting:
            if self._is_shut:
                raise RuntimeError(f"the pool {self.name} is shut down")
            if self._waiting + self.busy >= len(self._threads) < self.limit:
                self._start_thread(job[1])
            if not self._threads:
                return
            self._waiting += 1
        self._jobs.put(job)

    def _start_thread(self, future: _AnyFuture) -> None:
        thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the others will come to it; without any, nobody would
            if not self._threads:
                future.set_exception(NoThreadError(errno.EAGAIN, str(error)))
        else:
            self._threads.add(thread)

    def _cancel_waiting(self) -> None:
        jobs: list[_Job] = []
        with suppress(Empty):
            while (job := self._jobs.get_nowait()) is not None:
                jobs.append(job)
        for job in jobs:
            loop, future, _ = job
            if loop is None and not future.cancel():
                self._jobs.put(job)
                continue
            self._waiting -= 1
            if loop is not None:
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(future.cancel)

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            loop, future, job = taken
            settle = _perform(future, job)
            with self._counting:
                self.busy -= 1
            if loop is None:
                settle()
            else:
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(settle)
            del taken, loop, future, job, settle

    def _take(self) -> _Job | None:
        while True:
            try:
                job = self._jobs.get(timeout=self.idle)
            except Empty:
                job = None
            with self._counting:
                if job is not None:
                    self._waiting -= 1
                    self.busy += 1
                    return job
                if not self._waiting:  # else one is just being handed over
                    self._threads.discard(threading.current_thread())
                    return None


def _perform(future: _AnyFuture, job: Callable[[], Any]) -> Callable[[], object]:
    """Run `job`, unless its future was cancelled before, and return what settles that."""
    if isinstance(future, Future) and not (future.running() or future.set_running_or_notify_cancel()):
        return bool
    try:
        return partial(_settle, future, job(), None)
    except BaseException as error:  # noqa: BLE001 - it belongs to the caller who awaits the job
        return partial(_settle, future, None, _storable(error))
    finally:
        del future, job  # the traceback of an error holds this frame


def _storable(error: BaseException) -> BaseException:
    """`error` as a future can hold it: a StopIteration would end the coroutine that awaits it."""
    if not isinstance(error, StopIteration):
        return error
    failure = RuntimeError("a job in a thread raised StopIteration")
    failure.__cause__ = error
    return failure


def _settle(future: _AnyFuture, result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


async def wait_through_cancellation(futures: Iterable[asyncio.Future[Any]], *, seconds: float) -> bool:
    """Wait at most `seconds` until all `futures` are done, and return whether they are.

    Cancelling the waiting task, natively or by a scope, does not end the wait: it is raised after it.
    What the futures hold, exceptions included, is left to their owners.
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
