"""A page of edits that are not sent: how each ended goes through a run at once, and to its caller one by one."""

from __future__ import annotations

from collections import deque

import anyio
from attrs import define, field

from asyncsdk.images.outcome import EditOutcome


@define(eq=False)
class EndedPage:
    """How some edits of one page ended, in their order, as far as it was not given out.

    `is_over` is set once nothing more of it is given out: only then is the next page read.
    """

    _outcomes: deque[EditOutcome]
    is_over: anyio.Event = field(factory=anyio.Event, init=False)

    def take(self) -> EditOutcome | None:
        """The next of them; None if none is left."""
        outcome = self._outcomes.popleft() if self._outcomes else None
        if not self._outcomes:
            self.is_over.set()
        return outcome

    def drop(self) -> None:
        """Give no more of it out."""
        self._outcomes.clear()
        self.is_over.set()
