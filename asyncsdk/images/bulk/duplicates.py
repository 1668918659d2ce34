"""Matches equal edits of a run to those in the ledger (pure): by name, otherwise by their order."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import count

from attrs import define, field

from asyncsdk.images.ledger.states import ItemState, key_of

_KEY_BYTES = 15  # of a SHA-256: enough to tell all edits apart, and one is kept for each edit of a run


def ordinal_of(item: str) -> int:
    """The number of an item among equal edits, from 0."""
    return int(item.rpartition("#")[2])


@define
class DuplicateMatcher:
    """One pass over edits: gives each its item in the ledger, and no item twice."""

    state_of: Callable[[str], ItemState | None]
    _unmatched: dict[bytes, _Unmatched] = field(factory=dict, init=False)  # digests of which the ledger has more edits
    _next: dict[bytes, int] = field(factory=dict, init=False)  # the ordinal of the next new one

    def item_of(self, digest: str, name: str | None, *, last: bool = False) -> str | None:
        """The item of the next edit with this `digest`: the one whose name is `name`, otherwise the first unmatched.

        None where that is not decided yet: the edit has a new name, and edits of the recorded names may still come.
        Call again with `last` when all have come: those of which none came were renamed.
        """
        key = key_of(digest)[:_KEY_BYTES]
        if key not in self._next:
            recorded = self._recorded(digest)
            self._next[key] = len(recorded.names)
            self._unmatched |= {key: recorded} if recorded.names else {}
        unmatched = self._unmatched.get(key)
        if unmatched is None:
            self._next[key] += 1
            return f"{digest}#{self._next[key] - 1}"
        ordinal = unmatched.take(name, any_name=last or name is None)
        if not unmatched.names:
            del self._unmatched[key]
        return None if ordinal is None else f"{digest}#{ordinal}"

    def _recorded(self, digest: str) -> _Unmatched:
        recorded = _Unmatched()
        for ordinal in count():
            state = self.state_of(f"{digest}#{ordinal}")
            if state is None:
                return recorded
            recorded.add(ordinal, state.id)
        raise AssertionError("numbers do not end")


@define
class _Unmatched:
    """The equal edits of one digest in the ledger that this pass has not matched, by ordinal and by name."""

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
