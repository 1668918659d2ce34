"""A list that several processes go through, without a leader: what another one holds is passed over, and comes again.

Rules:

- A process takes what is free, in its own order. What another one holds is passed over, and comes again once it is
  free: done there, or left there. The journal is asked for all of it at once.
- The list ends when all of it has ended, here or elsewhere.
- What failed and may pass comes once more, at the end, where other processes are at work: one of them may have done it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    contextmanager,
)
from typing import Generic, Protocol, TypeVar, runtime_checkable

import anyio
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.errors import AsyncSDKError, JournalError, UploadBusyError
from asyncsdk.uploads.journal import Journal

LOOK_SECONDS = 5.0  # between two looks at what is held, while there is other work
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 2.0  # the same, while nothing else is left

Item = TypeVar("Item")


@runtime_checkable
class SharedJournal(Protocol):
    """A journal that other processes write, too."""

    async def held(self, keys: Collection[str]) -> Collection[str]:
        """Return those of `keys` that a process has now, or fewer of them; takes no lock for long.

        Args:
            keys: The keys that are asked for.
        """


@runtime_checkable
class DistantJournal(Protocol):
    """One that other machines write, too."""

    def connected(self) -> AbstractAsyncContextManager[None]:
        """Keep what it takes, for the length of the block, to replace a machine that is gone."""


def anywhere(items: Sequence[Item], journal: Journal) -> Sequence[Item]:
    """The same, from a random one on and round, where the machines of a fleet would else all begin with the first."""
    start = random.randrange(len(items)) if items and isinstance(journal, DistantJournal) else 0
    return [*items[start:], *items[:start]]


def pauses() -> Iterator[float]:
    """Seconds between looks: ever longer, with jitter, so that processes that wait do not look in step."""
    longest = SHORTEST_PAUSE
    while True:
        yield random.uniform(longest / 2, longest)
        longest = min(1.5 * longest, LONGEST_PAUSE)


@define(eq=False)
class SharedList(Generic[Item]):
    """Gives out items to runners, each of which works in its `turn`. `on_waiting` is called once, when nothing is left
    but what others hold, with the number of that.
    """

    _journal: Journal
    on_waiting: Callable[[int], object] = field(default=lambda _: None, kw_only=True)
    is_shared: bool = field(init=False)  # whether other processes can be seen at all
    meets_others: bool = field(default=False, init=False)  # whether another process was seen at work
    _held: dict[str, list[Item]] = field(factory=dict, init=False)  # by the key that another process has
    _free: deque[Item] = field(factory=deque, init=False)
    _failed: list[Item] = field(factory=list, init=False)
    _errors: dict[int, list[tuple[Item, AsyncSDKError]]] = field(
        factory=dict, init=False
    )  # of what comes once more, by its id
    _is_last: bool = field(default=False, init=False)  # what failed was given out again
    _has_said_so: bool = field(default=False, init=False)
    _under_way: int = field(default=0, init=False)
    _looked_at: float = field(factory=time.monotonic, init=False)
    _pauses: Iterator[float] = field(factory=pauses, init=False)
    _changed: asyncio.Event = field(factory=asyncio.Event, init=False)
    _stopped: asyncio.Event = field(factory=asyncio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.is_shared = isinstance(self._journal, SharedJournal)

    @property
    def waiting(self) -> int:
        """How many items other processes hold."""
        return sum(map(len, self._held.values()))

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """The block in which items are given. Raises JournalError where the journal can't be used."""
        async with AsyncExitStack() as stack:
            if isinstance(self._journal, DistantJournal):
                await stack.enter_async_context(self._journal.connected())
            yield

    async def given(self, items: Iterable[Item] | AsyncIterable[Item]) -> AsyncGenerator[Item, None]:
        """Go through `items`, then through what was passed over. Each that is given must have its turn."""
        async with aclosing(tasks.walk(items)) as source:
            async for item in source:
                if self._stopped.is_set():
                    return
                self._under_way += 1
                yield item
                if self._held and time.monotonic() - self._looked_at > LOOK_SECONDS:
                    await self._look()
                while self._free:
                    yield self._take()
        while await self._has_more():
            yield self._take()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """The block in which an item that was given is worked on."""
        try:
            yield
        finally:
            self._under_way -= 1
            self._changed.set()

    def pass_over(self, item: Item, busy: UploadBusyError) -> bool:
        """Let `item` come again once it is free. False: this can't be known."""
        if not self.is_shared or busy.key is None:
            return False
        self.meets_others = True
        self._held.setdefault(busy.key, []).append(item)
        return True

    def comes_again(self, item: Item, error: AsyncSDKError) -> bool:
        """Whether `item`, which failed, comes once more."""
        if isinstance(error, JournalError) and error.is_taken_over:
            self.meets_others = True
        is_over = self._is_last or self._stopped.is_set() or isinstance(error, UploadBusyError)
        if is_over or not (self.is_shared and self.meets_others and error.resumable):
            return False
        self._failed.append(item)
        self._errors.setdefault(id(item), []).append((item, error))
        return True

    def end(self, item: Item) -> None:
        """Take note that `item` has ended, which may have failed before."""
        if errors := self._errors.get(id(item)):
            errors.pop()

    @property
    def failures(self) -> list[tuple[Item, AsyncSDKError]]:
        """What failed and has not ended since, with its error: after a stop that is how it ended."""
        return [failure for failures in self._errors.values() for failure in failures]

    def stop(self) -> None:
        """Give out nothing more."""
        self._stopped.set()

    def _take(self) -> Item:
        self._under_way += 1
        return self._free.popleft()

    async def _has_more(self) -> bool:
        """Wait for an item to give; False once all have ended."""
        while not (self._free or self._stopped.is_set()):
            if self._held:
                if not (self._under_way or self._has_said_so):
                    self._has_said_so = True
                    self.on_waiting(self.waiting)
                with anyio.move_on_after(next(self._pauses)):
                    await self._stopped.wait()
                await self._look()
            elif self._under_way:
                self._changed.clear()
                await self._changed.wait()
            elif self._failed:
                self._is_last = True
                self._free.extend(self._failed)
                self._failed.clear()
            else:
                return False
        return not self._stopped.is_set()

    async def _look(self) -> None:
        """Find out what of that which was passed over is free."""
        assert isinstance(self._journal, SharedJournal)  # noqa: S101 - else nothing was passed over
        self._looked_at = time.monotonic()
        try:
            held = set(await self._journal.held(list(self._held)))
        except JournalError:  # its own uploads say it better
            held = set()
        for key in [key for key in self._held if key not in held]:
            self._free.extend(self._held.pop(key))
