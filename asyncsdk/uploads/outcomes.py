"""`UploadOutcomes`: what `upload_many` gives, an async iterator over how the uploads end, with `stop` and `counts`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Self

import anyio
from attrs import define, evolve, field

from asyncsdk import tasks
from asyncsdk.errors import AsyncSDKError, JournalError, UploadBusyError
from asyncsdk.given import wrong_type
from asyncsdk.uploads.job import UploadJob, UploadOutcome, UploadResult
from asyncsdk.uploads.pacing.admission import AdmissionQueue, Slot
from asyncsdk.uploads.sharing import SharedList
from asyncsdk.uploads.sources.source import is_for_streaming

log = logging.getLogger(__name__)

StartUpload = Callable[[UploadJob, Callable[[], Awaitable[Slot]]], Awaitable[UploadResult]]


class _StoppedError(Exception):
    """The run was stopped before this upload began."""


def check_jobs(jobs: object) -> None:
    """Raise TypeError for what is not an iterable of UploadJobs; of what is made while it is read, each job later."""
    if isinstance(jobs, str | bytes | UploadJob) or not isinstance(jobs, Iterable | AsyncIterable):
        raise wrong_type("jobs", jobs, "an iterable of UploadJob values")
    for job in jobs if isinstance(jobs, list | tuple) else ():
        check_job(job)


def check_job(job: object) -> None:
    """Raise TypeError for what is not an UploadJob."""
    if not isinstance(job, UploadJob):
        raise wrong_type("a job of upload_many", job, "an UploadJob, such as UploadJob('a.txt', purpose='batch')")


@define(eq=False)
class UploadOutcomes:
    """Iterate over it: each `UploadOutcome` comes as its upload ends, in no order.

    A job that fails does not stop the others. An error of the iterable of jobs does: it is raised once the uploads
    under way have ended and their outcomes were given. A job whose source another process is sending is passed over,
    and comes again once that has ended.
    """

    _upload: StartUpload
    _queue: AdmissionQueue
    _shared: SharedList[UploadJob]
    _receiving: AsyncIterator[UploadOutcome | None] = field(init=False)
    _counts: Counter[str] = field(factory=Counter, init=False)
    _unread: dict[int, UploadOutcome] = field(factory=dict, init=False)
    _wait: anyio.CancelScope | None = field(default=None, init=False)  # for the next job
    _stopping: bool = field(default=False, init=False)
    _failure: Exception | None = field(default=None, init=False)

    @asynccontextmanager
    async def over(self, jobs: Iterable[UploadJob] | AsyncIterable[UploadJob]) -> AsyncIterator[Self]:
        """Run jobs for the length of the block, as many at a time as the queue has connections.

        Args:
            jobs: The jobs, which may be endless.
        """
        async with AsyncExitStack() as stack:
            with suppress(JournalError):  # each upload says it, as it does all else
                await stack.enter_async_context(self._shared.connected())
            source = await stack.enter_async_context(aclosing(self._shared.given(self._read(jobs))))
            finishing = tasks.map_unordered(source, self._finish, limit=self._queue.connections)
            self._receiving = await stack.enter_async_context(finishing)
            yield self

    def __aiter__(self) -> AsyncIterator[UploadOutcome]:
        return self

    async def __anext__(self) -> UploadOutcome:
        async for outcome in self._receiving:
            if outcome is not None:
                del self._unread[id(outcome)]
                return outcome
        for job, error in self._shared.failures:  # it was to come again, and the run was stopped
            self._shared.end(job)
            outcome = UploadOutcome(job=job, error=error)
            self._counts[outcome.status] += 1
            return outcome
        failure, self._failure = self._failure, None
        raise StopAsyncIteration if failure is None else failure

    def stop(self) -> None:
        """Begin nothing new. Go on iterating to await what is under way; leaving the block now cancels it."""
        self._stopping = True
        self._shared.stop()
        self._queue.look_again()
        if self._wait is not None:
            self._wait.cancel()

    @property
    def counts(self) -> Counter[str]:
        """How many ended with which `status` so far."""
        return self._counts.copy()

    @property
    def waiting(self) -> int:
        """How many jobs were passed over, since other processes are sending their sources."""
        return self._shared.waiting

    @property
    def abandoned(self) -> tuple[UploadOutcome, ...]:
        """Outcomes of uploads that ended and were not read. What leaving the block cancelled has none, and resumes."""
        failures = (UploadOutcome(job=job, error=error) for job, error in self._shared.failures)
        return (*self._unread.values(), *failures)

    async def _read(self, jobs: Iterable[UploadJob] | AsyncIterable[UploadJob]) -> AsyncGenerator[UploadJob, None]:
        async with aclosing(tasks.walk(jobs)) as source:
            while not self._stopping:
                try:
                    if isinstance(jobs, AsyncIterable):
                        with anyio.CancelScope() as self._wait:
                            job = await tasks.await_foreign(anext(source))
                        if self._wait.cancelled_caught:
                            return
                    else:
                        job = await tasks.await_foreign(anext(source))
                    check_job(job)
                except StopAsyncIteration:
                    return
                except Exception as error:  # noqa: BLE001 - the caller gets it, once all under way has ended
                    log.warning("stopping: the next job can't be read: %r", error)
                    self._failure = error
                    self.stop()
                    return
                yield job

    async def _finish(self, job: UploadJob) -> UploadOutcome | None:
        """Bring an upload to its end. None: the run was stopped before it began, or it comes again."""
        with self._shared.turn():
            outcome = await self._outcome(job)
        if outcome is not None:
            self._shared.end(job)
            self._unread[id(outcome)] = outcome
            self._counts[outcome.status] += 1
        return outcome

    async def _outcome(self, job: UploadJob) -> UploadOutcome | None:
        admit = partial(self._queue.enter, in_turn=True, check=self._check_running)
        comes_again = passes_over = False
        try:
            # a stream can be read only once; "again" takes what another sends as its own only while it waits for it
            is_for_once = is_for_streaming(job.source) or job.if_uploaded == "again"
            comes_again = self._shared.is_shared and not is_for_once
            passes_over = comes_again and job.on_busy == "wait"
            started = self._upload(evolve(job, on_busy="fail") if passes_over else job, admit)
            result = await tasks.await_foreign(started)
        except _StoppedError:
            return None
        except Exception as error:  # noqa: BLE001 - it is the outcome
            if passes_over and isinstance(error, UploadBusyError) and self._shared.pass_over(job, error):
                return None
            if comes_again and isinstance(error, AsyncSDKError) and self._shared.comes_again(job, error):
                log.warning(
                    "%s: %s. It is tried again at the end", job.describe(), str(error).partition("\n")[0].rstrip(".")
                )
                return None
            return UploadOutcome(job=job, error=error)
        return UploadOutcome(job=job, result=result)

    def _check_running(self) -> None:
        if self._stopping:
            raise _StoppedError
