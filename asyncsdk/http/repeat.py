"""Repeats a request while that helps, the only retry loop there is, and reports each attempt."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from attrs import define, field

from asyncsdk.clock import Clock
from asyncsdk.error_details import with_wait
from asyncsdk.errors import APIConnectionError, APIError, APIStatusError, ConfigurationError
from asyncsdk.events import CallbackFailures, RequestEvent, call, is_async
from asyncsdk.http.request import PreparedRequest
from asyncsdk.retry import retry_after
from asyncsdk.timing import Timing

T = TypeVar("T")

log = logging.getLogger(__name__)


def check_on_event(on_event: object) -> None:
    """Raise ConfigurationError for what can't be called within a request."""
    if on_event is None:
        return
    if not callable(on_event):
        raise ConfigurationError(f"on_event= must be a function, not a {type(on_event).__name__}.")
    if is_async(on_event):
        raise ConfigurationError(
            "on_event= is an async function, and it is called within a request, where nothing awaits it. Pass an "
            "ordinary function, such as the `put_nowait` of an asyncio.Queue that a task of yours reads."
        )


@define(eq=False)
class Repeater:
    """What the attempts of all requests of a client share."""

    clock: Clock
    timing: Timing
    on_event: Callable[[RequestEvent], object] | None
    is_closed: Callable[[], bool]
    _failures: CallbackFailures = field(factory=lambda: CallbackFailures("on_event", log), init=False)

    async def repeat(self, request: PreparedRequest, receive: Callable[[], Awaitable[T]]) -> T:
        """Call `receive`, which sends `request`, until it succeeds or its Retry gives up. Raises APIError."""
        attempts = request.retry.attempts(self.timing, key_is_fetched=request.key_is_fetched)
        while True:
            if request.retry.before_attempt is not None:
                await request.retry.before_attempt()
            request.begin()
            number = attempts.made + 1
            try:
                result = await receive()
            except APIError as error:
                may_repeat = request.may_repeat(error)
                error.resumable = error.resumable and may_repeat
                is_over = self.is_closed() or not may_repeat
                delay = None if is_over else attempts.delay_after(error, now=self.clock.now())
                self._report(request, number, error, delay)
                if delay is not None:
                    log.warning("%s; trying again in %.1f s", error, delay)
                    if request.retry.on_wait is not None:
                        request.retry.on_wait(error, delay)
                    await anyio.sleep(delay)
                if self.is_closed() and isinstance(error, APIConnectionError):
                    raise _closed_meanwhile(error) from error
                if delay is None or self.is_closed():
                    _name_wait(error, self.clock.now())
                    raise
            except asyncio.CancelledError as cancelled:
                self._report(request, number, cancelled)
                raise
            else:
                self._report(request, number)
                return result

    def _report(
        self, request: PreparedRequest, attempt: int, error: BaseException | None = None, wait: float | None = None
    ) -> None:
        if self.on_event is None and not log.isEnabledFor(logging.DEBUG):
            return
        event = request.event(attempt, error, wait)
        outcome = event.error if isinstance(error, asyncio.CancelledError) else event.status or event.error
        log.debug("%s %s: %s, %.2f s, %s", event.method, event.route, outcome, event.seconds, event.request_id or "-")
        if self.on_event is None:
            return
        try:
            call(self.on_event, event)
        except Exception as raised:  # noqa: BLE001 - it is the caller's, and harms no request
            self._failures.note(raised)


def _name_wait(error: APIError, now: float) -> None:
    """Write on an error that ends a call how long the server asks to wait. `now` is the server's time."""
    if not isinstance(error, APIStatusError):
        return
    error.retry_after = retry_after(error.headers, now)
    if error.resumable and error.retry_after:
        error.message = with_wait(error.message, error.retry_after)
        error.args = (error.message,)


def _closed_meanwhile(error: APIConnectionError) -> APIConnectionError:
    """The error of a request whose client was closed while it was sent, or waited to be sent again."""
    text = f"{error.request}: this Client was closed meanwhile."
    closed = APIConnectionError(
        text if error.sent else f"{text} Nothing was sent.", request=error.request, sent=error.sent
    )
    closed.resumable = error.resumable
    return closed
