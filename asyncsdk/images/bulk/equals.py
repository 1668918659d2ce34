"""Which of several equal edits is which (pure): by the name it had, else by its place among them."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from asyncsdk.images.bulk.states import ItemState, key_of

_KEY_BYTES = 15  # of a SHA-256: enough to tell all edits apart, and one is kept for each edit of a run


@define
class Equals:
    """One pass over edits: each gets the item of the ledger that is its own, and none gets another's twice."""

    state_of: Callable[[str], ItemState | None]
    _lowest: dict[bytes, int] = field(factory=dict, init=False)  # ordinals below it are taken
    _beyond: dict[bytes, set[int]] = field(factory=dict, init=False)  # and these, out of turn

    def item_of(self, digest: str, name: str | None) -> str:
        """The item of the next edit with this `digest`: the one that was called `name`, else the first that is left."""
        key = key_of(digest)[:_KEY_BYTES]
        lowest = self._lowest.get(key, 0)
        taken = self._beyond.get(key, set())
        ordinal = lowest if name is None else self._named(digest, name, lowest, taken)
        if ordinal != lowest:
            self._beyond.setdefault(key, set()).add(ordinal)
        else:
            self._lowest[key] = self._after(lowest, taken)
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
