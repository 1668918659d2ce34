"""The server's own threads for blocking work: what is begun is done, cancelled or not, and none outlives the server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any, ParamSpec, TypeVar

from attrs import Factory, define, field

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 8


@define(eq=False)
class Workers:
    """A handful of threads, started when there is work."""

    threads: int = THREADS
    _stop: threading.Event = field(factory=threading.Event, init=False)
    _jobs: set[futures.Future[Any]] = field(factory=set, init=False)
    _threads: futures.ThreadPoolExecutor = field(
        default=Factory(lambda self: _pool(self.threads), takes_self=True), init=False
    )

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking job in a thread. When this is cancelled the job is done all the same; `close` waits for it."""
        future = self._threads.submit(job, *args, **kwargs)
        self._jobs.add(future)
        future.add_done_callback(self._jobs.discard)
        waited = asyncio.wrap_future(future)
        waited.add_done_callback(_look_at)
        await asyncio.wait([waited])  # a shield logs, from 3.14 on, what a job raises that nobody waits for any more
        return waited.result()

    def go_on(self) -> None:
        """To be called by long jobs between their steps. Raises RuntimeError once the server stops."""
        if self._stop.is_set():
            raise RuntimeError("The server is stopping; what was begun is done over when it is asked for again.")

    async def close(self, last: Callable[[], None]) -> None:
        """Stop the jobs, then run a last one."""
        self._stop.set()
        await asyncio.wrap_future(self._threads.submit(self._finish, tuple(self._jobs), last))
        self._threads.shutdown()

    @staticmethod
    def _finish(jobs: tuple[futures.Future[Any], ...], last: Callable[[], None]) -> None:
        futures.wait(jobs)
        last()


def _look_at(job: asyncio.Future[Any]) -> None:
    """How a job ended that nobody waits for any more is no news: asyncio would log its error as never retrieved."""
    if not job.cancelled():
        job.exception()


def _pool(threads: int) -> futures.ThreadPoolExecutor:
    return futures.ThreadPoolExecutor(threads, thread_name_prefix="asyncsdk-server")
