"""Ctrl-C and SIGTERM: the first ends the run in good order, within a second whatever hangs; more change nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import FrameType

from attrs import define, field

LIMIT_SECONDS = 0.85
_SHOW_CURSOR = "\x1b[?25h"


class Interrupted(Exception):  # noqa: N818 - it is no error
    """A signal ended the run."""


@define(eq=False)
class Stop:
    """Which signal ended the run, if one did, and what there is to say then; `patience` in seconds bounds the end."""

    patience: float = LIMIT_SECONDS
    signum: int | None = field(default=None, init=False)
    _cancel: Callable[[], object] | None = field(default=None, init=False)
    _last_words: list[Callable[[], None]] = field(factory=list, init=False)
    _guard: threading.Timer = field(init=False)

    def listen(self) -> None:
        """Take the signals from now on; before there is something to cancel, the first one ends the program."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self.arrive)

    def at_the_end(self, words: Callable[[], None]) -> None:
        """Call `words` once, if a signal ends the run: when its work has stopped, or has failed to in time."""
        self._last_words.append(words)

    async def watch(self, work: Awaitable[int]) -> int:
        """Await `work`, which a signal cancels. Raises Interrupted if it did, and the work was not done by then."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker: a coroutine that runs is in a task
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        try:
            return await work
        except (asyncio.CancelledError, Exception) as error:
            if self.signum is None:
                raise
            raise Interrupted from error
        finally:
            self._cancel = _nothing

    @property
    def code(self) -> int:
        """The exit code that tells of the signal."""
        return 128 + (self.signum or 0)

    def arrive(self, signum: int, _: FrameType | None = None) -> None:
        """A signal came."""
        if self.signum is not None:
            return
        self.signum = signum
        if self._cancel is None:
            raise SystemExit(self.code)
        self._guard = threading.Timer(self.patience, self._leave_at_once)
        self._guard.daemon = True
        self._guard.start()
        self._cancel()

    def say(self) -> None:
        """Say the last words, once."""
        while self._last_words:
            self._last_words.pop(0)()

    def _leave_at_once(self) -> None:
        with suppress(Exception):
            if sys.stderr.isatty():
                sys.stderr.write(_SHOW_CURSOR)
            self.say()
        os._exit(self.code)


def _nothing() -> None:
    """The work is over: there is nothing left to cancel."""
