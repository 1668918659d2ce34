"""The one place that starts tasks: always in a group, and none outlives the call that started it."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, Generic, TypeVar

import anyio
from anyio.abc import TaskGroup
from attrs import define, field

from asyncsdk.errors import APIConnectionError

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@asynccontextmanager
async def group() -> AsyncIterator[TaskGroup]:
    """A task group that raises one error, the most significant of its failures; the others are notes on it."""
    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except BaseExceptionGroup as failures:
        failure = most_significant(failures)
    if failure is not None:
        raise failure


async def to_the_end(work: Callable[[], Awaitable[object]]) -> None:
    """Run `work` to its end. A cancellation meanwhile does not reach it, and is raised afterwards."""

    async def shielded() -> None:
        with anyio.CancelScope(shield=True):
            await work()

    async with group() as tasks:
        tasks.start_soon(shielded)


def most_significant(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure that is neither a cancellation nor a lost connection, else the first; the rest noted on it."""
    leaves = _leaves(failures)
    chosen = min(leaves, key=_severity)
    for other in dict.fromkeys(f"also: {type(leaf).__name__}: {leaf}" for leaf in leaves if leaf is not chosen):
        chosen.add_note(other)
    return chosen


def _severity(failure: BaseException) -> int:
    if isinstance(failure, asyncio.CancelledError):
        return 3
    if isinstance(failure, APIConnectionError):
        return 2
    return 1 if isinstance(failure, Exception) else 0  # an interrupt comes first


def _leaves(failures: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for failure in failures.exceptions:
        leaves += _leaves(failure) if isinstance(failure, BaseExceptionGroup) else [failure]
    return leaves


def map_unordered(
    items: Iterable[Item] | AsyncIterable[Item], run: Callable[[Item], Awaitable[Outcome]], *, limit: int
) -> AbstractAsyncContextManager[AsyncIterator[Outcome]]:
    """Run `run` over `items` concurrently; yields the outcomes as they finish.

    An item is taken only when a runner is free, and a runner is free only once its outcome was taken:
    nothing is read ahead. Leaving the block cancels what still runs.

    Args:
        items: What to go through; a generator is closed at the end.
        run: Called with each item.
        limit: How many may run at a time.

    Returns:
        A context manager that gives an iterator over the outcomes, in the order in which they finish.

    Raises:
        ValueError: `limit` is below 1.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    return _each(items, run, limit)


@asynccontextmanager
async def _each(
    items: Iterable[Item] | AsyncIterable[Item], run: Callable[[Item], Awaitable[Outcome]], limit: int
) -> AsyncIterator[AsyncIterator[Outcome]]:
    turn, outcomes = asyncio.Lock(), _Outcomes[Outcome](limit)

    async def runner() -> None:
        try:
            while True:
                async with turn:
                    item = await await_foreign(anext(source, _END))
                if item is _END:
                    break
                await outcomes.put(await await_foreign(run(item)))  # type: ignore[arg-type]  # not _END, which mypy can't narrow
        finally:
            outcomes.end_one()

    async with aclosing(walk(items)) as source, group() as tasks:
        for _ in range(limit):
            tasks.start_soon(runner)
        yield outcomes
        tasks.cancel_scope.cancel()


@define(eq=False)
class _Outcomes(AsyncIterator[Outcome], Generic[Outcome]):
    """Hands outcomes over from `_runners`. One of anyio's streams would cost four turns of the loop for each."""

    _runners: int
    _there: deque[tuple[Outcome, asyncio.Future[None]]] = field(factory=deque, init=False)
    _changed: asyncio.Event = field(factory=asyncio.Event, init=False)

    async def put(self, outcome: Outcome) -> None:
        """Return once `outcome` was taken."""
        taken = asyncio.get_running_loop().create_future()
        self._there.append((outcome, taken))
        self._changed.set()
        await taken

    def end_one(self) -> None:
        """A runner has nothing more to do."""
        self._runners -= 1
        self._changed.set()

    async def __anext__(self) -> Outcome:
        while not self._there:
            if not self._runners:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        outcome, taken = self._there.popleft()
        if not taken.done():
            taken.set_result(None)
        return outcome


@define(eq=False)
class Allowance:
    """How many works may be under way beyond the first of each `Ahead` that shares it."""

    free: int


@define(eq=False)
class Ahead(AsyncIterator[Outcome], Generic[Outcome]):
    """Runs works before their outcomes are taken, which are given in the order of the works; `aclose` it in the end.

    One is always under way, and as many more as `_allowance` has: those that share it can't wait for each other.
    """

    _works: Iterator[Awaitable[Outcome]]
    _allowance: Allowance
    _started: deque[tuple[asyncio.Future[Outcome], bool]] = field(factory=deque, init=False)  # whether it is beyond

    @property
    def is_ready(self) -> bool:
        """Whether the next outcome is there."""
        return bool(self._started) and self._started[0][0].done()

    async def __anext__(self) -> Outcome:
        self._start()
        if not self._started:
            raise StopAsyncIteration
        outcome = await self._started[0][0]
        self._leave()
        self._start()
        return outcome

    async def aclose(self) -> None:
        """Cancel what is under way."""
        works = [self._leave() for _ in range(len(self._started))]
        for work in works:  # all of them before any is waited for: the wait may be cut short
            work.add_done_callback(_look_at)
            work.cancel()
        if works:
            await asyncio.wait(works)

    def _start(self) -> None:
        while not self._started or self._allowance.free:
            work = next(self._works, None)
            if work is None:
                return
            is_beyond = bool(self._started)
            self._allowance.free -= is_beyond
            self._started.append((asyncio.ensure_future(work), is_beyond))

    def _leave(self) -> asyncio.Future[Outcome]:
        work, is_beyond = self._started.popleft()
        self._allowance.free += is_beyond
        return work


def _look_at(work: asyncio.Future[Any]) -> None:
    """Ask for the failure of a work that nobody wants any more, so that nothing warns of it."""
    if not work.cancelled():
        work.exception()


class LeakedCancellationError(RuntimeError):
    """What was awaited ended as if cancelled, and nobody here had cancelled it."""


async def await_foreign(work: Awaitable[Outcome]) -> Outcome:
    """Await caller-supplied code. A CancelledError out of it that nobody here requested is a LeakedCancellationError.

    Else it would end the awaiting task without a trace.
    """
    try:
        return await work
    except asyncio.CancelledError as leaked:
        task = asyncio.current_task()
        if anyio.current_effective_deadline() == -math.inf or (task is not None and task.cancelling()):
            raise
        raise LeakedCancellationError(
            "what was awaited ended as if cancelled, and nobody here had cancelled it"
        ) from leaked


async def walk(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncGenerator[Item, None]:
    """Go through `items`, asynchronous or not; a generator is closed with this one."""
    if not isinstance(items, AsyncIterable):
        for item in items:
            yield item
        return
    async with AsyncExitStack() as stack:
        if isinstance(items, AsyncGenerator):
            await stack.enter_async_context(aclosing(items))
        async for item in items:
            yield item


_END = object()
