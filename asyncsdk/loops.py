"""`PerLoop`: what belongs to an event loop, such as connections and locks, in an object that may outlive the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from attrs import define, field

from asyncsdk.errors import UnusableClientError
from asyncsdk.threads import after_fork

T = TypeVar("T")


@define(eq=False)
class PerLoop(Generic[T]):
    """A value for the running event loop, made at first use. A closed loop's value gives way to that of the next loop.

    Two loops at once are an UnusableClientError, also in two threads: locks of one loop exclude nothing on another.

    Args:
        owner: What the caller sees as bound to a loop, for the error.
        make: Makes the value on the running loop.
        drop: Called with the value of a loop that is closed, or that was the parent's before a fork.
    """

    owner: str
    make: Callable[[], T]
    drop: Callable[[T], object] = lambda _: None
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _values: list[T] = field(factory=list, init=False)  # one at most
    _is_forked: bool = field(default=False, init=False)
    _binding: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        after_fork(self)

    def begin_again(self) -> None:
        """In a forked child no loop of its parent runs."""
        self._is_forked, self._binding = self._loop is not None, threading.Lock()

    def get(self) -> T:
        """The value for the running loop. Raises UnusableClientError if another loop, not closed, has one."""
        loop = asyncio.get_running_loop()
        if self._loop is loop and not self._is_forked:
            return self._values[0]
        with self._binding:
            self._leave(loop)
            self._values, self._loop = [self.make()], loop
        return self._values[0]

    def take(self) -> T | None:
        """The value for the running loop, which is not kept any more; None if there is none. Raises as `get` does."""
        with self._binding:
            self._leave(asyncio.get_running_loop())
            self._loop = None
            return self._values.pop() if self._values else None

    def _leave(self, running: asyncio.AbstractEventLoop) -> None:
        """Drop what is of a loop that is gone. Raises UnusableClientError if it is another's that is not."""
        if self._loop is None or (self._loop is running and not self._is_forked):
            return
        if not self._is_forked and not self._loop.is_closed():
            raise UnusableClientError(
                f"this {self.owner} is in use on another event loop, which is not closed, and it serves one at a time. "
                "Nothing was sent.\n  One for a whole module is right where one loop runs at a time: async endpoints, "
                "Celery's prefork, commands, Lambda. Where threads run loops of their own (gunicorn gthread, Django's "
                "runserver, Celery -P threads, sync endpoints beside async ones), make a Client, and what uses it, "
                "for each loop, in each call: `async with Client() as client:`."
            )
        self._loop, self._is_forked = None, False
        for value in self._values:
            self.drop(value)
        self._values = []
