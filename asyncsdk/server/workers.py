"""Worker threads for blocking jobs: a job that began is finished, even if cancelled; no thread outlives the server."""

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
    """A few threads, started when there is work."""

    threads: int = THREADS
    _stop: threading.Event = field(factory=threading.Event, init=False)
    _jobs: set[futures.Future[Any]] = field(factory=set, init=False)
    _threads: futures.ThreadPoolExecutor = field(
        default=Factory(
            lambda self: futures.ThreadPoolExecutor(self.threads, thread_name_prefix="asyncsdk-server"), takes_self=True
        ),
        init=False,
    )

    async def run(self, job: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking job in a thread. When this is cancelled the job is still finished; `close` waits for it."""
        future = self._threads.submit(job, *args, **kwargs)
        self._jobs.add(future)
        future.add_done_callback(self._jobs.discard)
        waited = asyncio.wrap_future(future)
        waited.add_done_callback(_retrieve_exception)
        await asyncio.wait([waited])  # from 3.14 on, a shield logs what an abandoned job raises
        return waited.result()

    def go_on(self) -> None:
        """Long jobs call this between their steps. Raises RuntimeError once the server stops."""
        if self._stop.is_set():
            raise RuntimeError("The server is stopping. Nothing is half done: repeat the request once it runs again.")

    async def close(self, last: Callable[[], None]) -> None:
        """Stop the jobs, then run a last one."""
        self._stop.set()
        await asyncio.wrap_future(self._threads.submit(self._finish, tuple(self._jobs), last))
        self._threads.shutdown()

    @staticmethod
    def _finish(jobs: tuple[futures.Future[Any], ...], last: Callable[[], None]) -> None:
        futures.wait(jobs)
        last()


def _retrieve_exception(job: asyncio.Future[Any]) -> None:
    """Keep asyncio from logging the error of an abandoned job as never retrieved."""
    if not job.cancelled():
        job.exception()
