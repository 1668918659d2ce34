"""Counts the steps of all tasks of a loop, and lets something happen at the k-th."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define, field


@define(eq=False)
class Steps:
    """Each time that a task is entered is a step. `at` is called before the task goes on, at the step `when`."""

    when: int | None = None
    at: Callable[[], object] = lambda: None
    taken: int = field(default=0, init=False)

    def step(self) -> None:
        self.taken += 1
        if self.taken == self.when:
            self.at()


class _Stepping(Coroutine[Any, Any, Any]):
    def __init__(self, coroutine: Coroutine[Any, Any, Any], steps: Steps) -> None:
        self._coroutine, self._steps = coroutine, steps

    def send(self, value: Any) -> Any:
        self._steps.step()
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        self._steps.step()
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)


@contextmanager
def counting(steps: Steps) -> Iterator[None]:
    """Count the steps of the tasks that are started within."""
    loop = asyncio.get_running_loop()

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(_Stepping(coroutine, steps), loop=loop, **options)

    before = loop.get_task_factory()
    loop.set_task_factory(make)
    try:
        yield
    finally:
        loop.set_task_factory(before)
