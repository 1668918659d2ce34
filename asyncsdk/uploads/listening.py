"""Reports progress to a caller's async function: one call at a time, with the newest snapshot, beside the upload."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import anyio
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.errors import ConfigurationError
from asyncsdk.events import CallbackFailures, Progress, is_async

Report = Callable[[Progress], object]
Listener = Callable[[Progress], Awaitable[object] | object]

log = logging.getLogger(__name__)


def check_listener(listener: object) -> None:
    """Raise ConfigurationError for what can't be called."""
    if listener is not None and not callable(listener):
        kind = type(listener).__name__
        raise ConfigurationError(f"on_progress= must be a function, async or not, not a {kind}. Nothing was sent.")


def reporting(listener: Listener | None, *, patience: float) -> AbstractAsyncContextManager[Report | None]:
    """The function to report with: `listener` itself, or for an async one what hands snapshots to a task.

    At the end of the block the last snapshot is awaited too, for `patience` seconds, unless the block failed.
    """
    check_listener(listener)
    if listener is None or not is_async(listener):
        return nullcontext(listener)
    return _reporting_to(listener, patience)


@asynccontextmanager
async def _reporting_to(listener: Listener, patience: float) -> AsyncIterator[Report]:
    reports = _Reports(listener)
    async with tasks.group() as group:
        group.start_soon(reports.deliver)
        yield reports.put
        with anyio.move_on_after(patience) as waiting:
            await reports.end()
        if waiting.cancelled_caught:
            log.warning(
                "on_progress has not returned for %g s since the upload ended, and is cancelled. Does what it waits "
                "for, such as the reader of a queue, still run?",
                patience,
            )
            group.cancel_scope.cancel()


@define(eq=False)
class _Reports:
    """The newest snapshot that was not delivered yet: one that comes while the listener runs replaces it."""

    _listener: Callable[[Progress], Awaitable[object] | object]
    _newest: Progress | None = field(default=None, init=False)
    _has_ended: bool = field(default=False, init=False)
    _changed: anyio.Event = field(factory=anyio.Event, init=False)
    _delivered: anyio.Event = field(factory=anyio.Event, init=False)
    _failures: CallbackFailures = field(factory=lambda: CallbackFailures("on_progress", log), init=False)

    def put(self, snapshot: Progress) -> None:
        self._newest = snapshot
        self._changed.set()

    async def end(self) -> None:
        self._has_ended = True
        self._changed.set()
        await self._delivered.wait()

    async def deliver(self) -> None:
        while True:
            await self._changed.wait()
            self._changed = anyio.Event()
            snapshot, self._newest = self._newest, None
            if snapshot is not None:
                try:
                    await tasks.await_foreign(self._listener(snapshot))  # type: ignore[arg-type]  # it is async
                except Exception as error:  # noqa: BLE001 - it is the caller's, and harms no upload
                    self._failures.note(error)
            if self._has_ended and self._newest is None:
                self._delivered.set()
                return
