"""Ctrl-C, SIGTERM, SIGHUP: the first ends the run in good order, within a second even if something hangs.

A run that has paid edits in flight takes the first as a request to wind down, and the second as the end. One that
comes in the microseconds before a call that blocks the main thread is handled after it: Python hears of it then.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    import asyncio

LIMIT_SECONDS = 0.85
_SHOW_CURSOR = "\x1b[?25h"


class Interrupted(Exception):  # noqa: N818 - it is not an error
    """A signal ended the run."""


@define(eq=False)
class Stop:
    """Which signal ended the run, if one did, and the last words for it; the end takes at most `patience` seconds."""

    patience: float = LIMIT_SECONDS
    signum: int | None = field(default=None, init=False)
    _gently: Callable[[], object] | None = field(default=None, init=False)
    _ending: bool = field(default=False, init=False)
    _cancel: Callable[[], object] | None = field(default=None, init=False)
    _last_words: list[Callable[[], None]] = field(factory=list, init=False)
    _guard: threading.Timer = field(init=False)

    def listen(self) -> None:
        """Handle the signals from now on; while there is nothing to cancel, the first one ends the program."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self.arrive)
        hangup = getattr(signal, "SIGHUP", None)
        if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # under nohup it is to continue
            signal.signal(hangup, self.arrive)

    def at_the_end(self, words: Callable[[], None]) -> None:
        """Call `words` once if a signal ends the run: when its work has stopped, or did not stop in time."""
        self._last_words.append(words)

    @contextmanager
    def saying(self, words: Callable[[], None]) -> Iterator[None]:
        """Call `words` once if a signal ends the run within the block."""
        self._last_words.append(words)
        yield
        self._last_words.remove(words)

    def gently(self, stop: Callable[[], None]) -> None:
        """Let the first signal call `stop` on the loop, and only the second end the run."""
        import asyncio  # --help does without it

        loop = asyncio.get_running_loop()
        self._gently = lambda: loop.call_soon_threadsafe(stop)

    async def watch(self, work: Awaitable[int]) -> int:
        """Await `work`, which a signal cancels. Raises Interrupted if one did and the work was not done by then."""
        import asyncio

        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker: a coroutine that runs is in a task
        _wake_at_signals(loop)
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
        """The exit code for the signal."""
        return 128 + (self.signum or 0)

    def arrive(self, signum: int, _: FrameType | None = None) -> None:
        """A signal came."""
        if self._ending:
            return
        self.signum = self.signum or signum
        gently, self._gently = self._gently, None
        if gently is not None:
            gently()
            return
        self._ending = True
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


def _wake_at_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Let each signal wake `loop` up: Python calls its handler only once the main thread runs again.

    A signal that the system delivers to another thread, or just before the loop begins to wait, would not end the wait.
    A loop that handles one signal is woken by all of them; we take SIGURG, which is otherwise ignored.
    """
    if threading.current_thread() is not threading.main_thread():  # it alone gets signals
        return
    with suppress(NotImplementedError):  # Windows wakes by itself
        loop.add_signal_handler(signal.SIGURG, _nothing)


def _nothing() -> None:
    """Nothing is left to cancel, or to be done."""
