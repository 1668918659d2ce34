"""A budget for the bytes of pictures that all edits together hold in memory (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from attrs import define

from asyncsdk.server.errors import ApiError

MEMORY_LIMIT = 2**30


@define(eq=False)
class MemoryBudget:
    """Counts the bytes that arrived for the edits under way."""

    taken: int = 0

    @contextmanager
    def reserve(self) -> Iterator[Callable[[int], None]]:
        """Give a callback that counts an edit's bytes as they arrive, and raises ApiError when there is no room."""
        mine = 0

        def count_bytes(size: int) -> None:
            nonlocal mine
            if self.taken + size > MEMORY_LIMIT:
                raise ApiError(503, "Too many pictures at once.", type="server_error", headers={"Retry-After": "1"})
            mine += size
            self.taken += size

        try:
            yield count_bytes
        finally:
            self.taken -= mine
