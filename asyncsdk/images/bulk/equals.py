"""Which of several equal edits is which (pure): by the name it had, else by its place among them."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from asyncsdk.images.bulk.book import ItemState


@define
class Equals:
    """One pass over edits: each gets the item of the ledger that is its own, and none gets another's twice."""

    state_of: Callable[[str], ItemState | None]
    _lowest: dict[str, int] = field(factory=dict, init=False)  # ordinals below it are taken
    _beyond: dict[str, set[int]] = field(factory=dict, init=False)  # and these, out of turn

    def item_of(self, digest: str, name: str | None) -> str:
        """The item of the next edit with this `digest`: the one that was called `name`, else the first that is left."""
        lowest = self._lowest.get(digest, 0)
        taken = self._beyond.get(digest, set())
        ordinal = lowest if name is None else self._named(digest, name, lowest, taken)
        if ordinal != lowest:
            self._beyond.setdefault(digest, set()).add(ordinal)
        else:
            self._lowest[digest] = self._after(lowest, taken)
        return f"{digest}#{ordinal}"

    def _named(self, digest: str, name: str, lowest: int, taken: set[int]) -> int:
        ordinal = lowest
        while (state := self.state_of(f"{digest}#{ordinal}")) is not None:
            if state.id == name and ordinal not in taken:
                return ordinal
            ordinal += 1
        return lowest

    def _after(self, lowest: int, taken: set[int]) -> int:
        lowest += 1
        while lowest in taken:
            taken.discard(lowest)
            lowest += 1
        return lowest
