"""How many bytes of pictures the server holds in memory at a time, over all edits (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import define

from asyncsdk.server.errors import ApiError

MEMORY_LIMIT = 2**30


@define(eq=False)
class MemoryBudget:
    """What came of the bodies of edits under way."""

    taken: int = 0

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], None]]:
        """For the length of an edit, a function to be told of the bytes that come. It raises ApiError when full."""
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            if self.taken + size > MEMORY_LIMIT:
                raise ApiError(503, "Too many pictures at once.", type="server_error", headers={"Retry-After": "1"})
            mine += size
            self.taken += size

        try:
            yield take
        finally:
            self.taken -= mine
