"""Which of several equal edits is which (pure): by the name it had, else by its place among them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import count

from attrs import define, field

from asyncsdk.images.ledger.states import ItemState, key_of

_KEY_BYTES = 15  # of a SHA-256: enough to tell all edits apart, and one is kept for each edit of a run


@define
class DuplicateMatcher:
    """One pass over edits: each gets the item of the ledger that is its own, and none gets another's twice."""

    state_of: Callable[[str], ItemState | None]
    _known: dict[bytes, _Known] = field(factory=dict, init=False)  # digests that the ledger has more edits of
    _next: dict[bytes, int] = field(factory=dict, init=False)  # the ordinal of the next that it has not

    def item_of(self, digest: str, name: str | None, *, last: bool = False) -> str | None:
        """The item of the next edit with this `digest`: the one that was called `name`, else the first that is left.

        None where that can't be told yet: the edit has a new name, and those known by other names may still come.
        Ask again with `last` when all have come: whoever of them did not was renamed.
        """
        key = key_of(digest)[:_KEY_BYTES]
        if key not in self._next:
            recalled = self._recalled(digest)
            self._next[key] = len(recalled.names)
            self._known |= {key: recalled} if recalled.names else {}
        known = self._known.get(key)
        if known is None:
            self._next[key] += 1
            return f"{digest}#{self._next[key] - 1}"
        ordinal = known.take(name, any_name=last or name is None)
        if not known.names:
            del self._known[key]
        return None if ordinal is None else f"{digest}#{ordinal}"

    def _recalled(self, digest: str) -> _Known:
        known = _Known()
        for ordinal in count():
            state = self.state_of(f"{digest}#{ordinal}")
            if state is None:
                return known
            known.add(ordinal, state.id)
        raise AssertionError("numbers do not end")


@define
class _Known:
    """The equal edits of one digest that the ledger knows and this pass has not met, by ordinal and by name."""

    names: OrderedDict[int, str] = field(factory=OrderedDict)
    ordinals: dict[str, list[int]] = field(factory=dict)

    def add(self, ordinal: int, name: str) -> None:
        self.names[ordinal] = name
        self.ordinals.setdefault(name, []).append(ordinal)

    def take(self, name: str | None, *, any_name: bool) -> int | None:
        if name in self.ordinals:
            ordinal = self.ordinals[name][0]
        elif any_name:
            ordinal = next(iter(self.names))
        else:
            return None
        owner = self.names.pop(ordinal)
        self.ordinals[owner].remove(ordinal)
        if not self.ordinals[owner]:
            del self.ordinals[owner]
        return ordinal
