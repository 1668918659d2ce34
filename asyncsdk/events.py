"""The values passed to callbacks: `on_event` gets a RequestEvent, `on_progress` a Progress (pure)."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import TypeVar

from attrs import define, field, frozen

Event = TypeVar("Event")


@frozen(kw_only=True)
class RequestEvent:
    """One attempt at a request, also one that was cancelled meanwhile (`error` is "CancelledError").

    Args:
        method: Of HTTP.
        route: A template (`/uploads/{upload_id}/parts`), so that it is a good metric label.
        attempt: 1 for the first.
        seconds: How long the attempt took.
        bytes_sent: Bytes of the body that were written.
        status: Of the response; None where none came.
        request_id: `x-request-id` of the response.
        error: The class name of the error that it ended with.
        wait: Seconds until the next attempt; None where there is none.
    """

    method: str
    route: str
    attempt: int
    seconds: float
    bytes_sent: int
    status: int | None = None
    request_id: str | None = None
    error: str | None = None
    wait: float | None = None


class UploadPhase(StrEnum):
    """What an upload is doing: `Progress.state`."""

    WAITING = "waiting"  # another process has it; its stream is read; or a lost request's file is looked for
    CHECKING = "checking"  # is it there already?
    SENDING = "sending"
    RETRYING = "retrying"  # waiting for the network or the server, until something is answered again
    COMPLETING = "completing"
    COMPLETED = "completed"


@frozen(kw_only=True)
class Progress:
    """A snapshot of one upload.

    Args:
        state: What the upload is doing.
        source: The job's key, else the source's name.
        bytes_total: Size of the file; of a stream of unknown size what was read so far, until all of it is.
        bytes_done: Bytes whose parts the server has confirmed and the journal holds.
        bytes_resumed: Those of `bytes_done` that earlier runs sent.
        bytes_in_flight: Bytes that the other side has acknowledged, of parts that are not confirmed yet; they may still
            be lost. Where the system does not count them (it is not Linux), bytes that the system has taken.
        bytes_sent: Bytes sent in this run, retries included: those that are confirmed or in flight, and of attempts
            that failed all that the system was given.
        bytes_hashed: Bytes hashed.
        parts_in_flight: Parts that are being sent.
        connections: How many parts may be sent at once now, over all uploads of the uploader.
        rate: Bytes a second over the last 10 seconds in which it was sent; 0.0 while unknown and while retrying.
        eta: Seconds left at that rate; None while unknown.
        upload_id: The upload on the server; None before there is one.
        expires_at: When the server drops the upload, in its unix seconds.
        note: For people: why it waits, or why it started again.
        silent_for: Seconds since the server last took or answered anything while it was asked to; 0.0 below 10.
        held_by_others: Of a run as a whole: how many of its files other processes are sending now.
    """

    state: UploadPhase
    source: str
    bytes_total: int
    bytes_done: int = 0
    bytes_resumed: int = 0
    bytes_in_flight: int = 0
    bytes_sent: int = 0
    bytes_hashed: int = 0
    parts_in_flight: int = 0
    connections: int = 0
    rate: float = 0.0
    eta: float | None = None
    upload_id: str | None = None
    expires_at: int | None = None
    note: str = ""
    silent_for: float = 0.0
    held_by_others: int = 0

    @property
    def bytes_moved(self) -> int:
        """Bytes that the other side has, confirmed or not: what a bar shows. A stop keeps `bytes_done` of them."""
        return min(self.bytes_done + self.bytes_in_flight, self.bytes_total)


def is_async(callback: object) -> bool:
    """Whether it is an async function, an object with an async `__call__`, or a `partial` of one of them."""
    while isinstance(callback, partial):
        callback = callback.func
    return any(map(inspect.iscoroutinefunction, (callback, getattr(type(callback), "__call__", None))))  # noqa: B004 - whether it is async


def call(callback: Callable[[Event], object], event: Event) -> None:
    """Call what is not async. Raises TypeError if it returns something to await: nobody would."""
    returned = callback(event)
    if inspect.isawaitable(returned):
        if inspect.iscoroutine(returned):
            returned.close()
        raise TypeError(
            "it returned something to await. Pass the async function itself, which is awaited if it may be async"
        )


@define(eq=False)
class CallbackFailures:
    """Logs what a caller's function raises, which harms nothing: the first with its traceback, later ones at DEBUG.

    Args:
        name: The argument that the function was given as.
        log: Where it is logged.
    """

    name: str
    log: logging.Logger
    _has_raised: bool = field(default=False, init=False)

    def note(self, error: Exception) -> None:
        """Log `error`. The function is called again at the next event."""
        if self._has_raised:
            self.log.debug("%s raised again: %r", self.name, error)
            return
        self._has_raised = True
        self.log.error(
            "%s raised; it is called again, and what it raises then is logged at DEBUG", self.name, exc_info=error
        )
