"""Edits that are made once for each key of a header, as some gateways do: asked again, the same answer comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from attrs import define, field

Made = TypeVar("Made")


@define(eq=False)
class OnceByKey(Generic[Made]):
    """What was made for each key of the header `name`, which is forgotten `seconds` later; None: never.

    Without a name each request is made.
    """

    name: str | None = None
    seconds: float | None = None
    clock: Callable[[], float] = field(kw_only=True)
    _made: dict[str, tuple[float, asyncio.Future[Made]]] = field(factory=dict, init=False)

    async def __call__(self, key: str | None, make: Callable[[], Awaitable[Made]]) -> tuple[Made, bool]:
        """What was made for `key`, and whether it was made just now. What making it raises is not kept."""
        if key is None:
            return await make(), True
        known = self._made.get(key)
        if known is not None and (self.seconds is None or self.clock() - known[0] < self.seconds):
            return await asyncio.shield(known[1]), False
        making: asyncio.Future[Made] = asyncio.get_running_loop().create_future()
        self._made[key] = self.clock(), making
        try:
            making.set_result(await make())
        except BaseException as error:
            del self._made[key]
            making.set_exception(error)
            making.exception()  # nobody may wait for it
            raise
        return making.result(), True
