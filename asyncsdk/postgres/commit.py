"""Group commit: what waits at the same time is written by one statement, in the task of the first that waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

import anyio
from attrs import define, field, frozen

Item = TypeVar("Item")

MOST = 1000  # items in one statement


@define(eq=False)
class PendingItem(Generic[Item]):
    """An item, until it is written or `error` says why it is not."""

    item: Item
    is_over: bool = False
    error: Exception | None = None


@frozen(eq=False)
class BatchWriter(Generic[Item]):
    """Writes items through `write`, which returns an error for each that was refused, or None.

    A caller who is cancelled does not take an item back: the next writer, or `finish`, writes it. An item may so be
    written twice, and `write` sees to it that this is once.
    """

    _write: Callable[[Sequence[Item]], Awaitable[Iterable[Exception | None]]]
    _waiting: list[PendingItem[Item]] = field(factory=list, init=False)
    _turn: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def append(self, item: Item) -> None:
        """Return once `item` is written. Raises what refused it."""
        pending = PendingItem(item)
        self._waiting.append(pending)
        await self._over(pending)
        if pending.error is not None:
            raise pending.error

    async def finish(self, of: Callable[[Item], bool], *, seconds: float) -> None:
        """Write what was left behind of some, within `seconds`; what is not written then never is."""
        left = [pending for pending in self._waiting if of(pending.item)]
        with anyio.move_on_after(seconds):
            for pending in left:
                await self._over(pending)
        self._waiting[:] = [pending for pending in self._waiting if not of(pending.item)]

    async def _over(self, pending: PendingItem[Item]) -> None:
        async with self._turn:  # others of this turn of the loop join meanwhile
            while not pending.is_over:
                batch = self._waiting[:MOST]
                try:
                    errors = list(await self._write([each.item for each in batch]))
                except Exception as failed:  # noqa: BLE001 - it is that of all of them
                    errors = [failed] * len(batch)
                for each, error in zip(batch, errors, strict=True):
                    each.is_over, each.error = True, error
                self._waiting[:] = [each for each in self._waiting if not each.is_over]
