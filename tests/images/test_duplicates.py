"""Equal edits are told apart: each keeps the item that was its own."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.images.bulk.duplicates import DuplicateMatcher
from asyncsdk.images.ledger.states import ItemState


def equals(*names: str) -> DuplicateMatcher:
    """Of an edit "d" that the ledger knows under these names, in this order."""
    known = {f"d#{ordinal}": ItemState("done", name, 0.0) for ordinal, name in enumerate(names)}
    return DuplicateMatcher(known.get)


def test_without_names_the_order_decides() -> None:
    pass_ = equals("a", "b")
    assert [pass_.item_of("d", None) for _ in range(3)] == ["d#0", "d#1", "d#2"]
    assert pass_.item_of("other", None) == "other#0"


def test_a_name_is_stronger_than_the_order() -> None:
    pass_ = equals("a", "b", "c")
    assert [pass_.item_of("d", name) for name in ("c", "a", "b", "new")] == ["d#2", "d#0", "d#1", "d#3"]


def test_a_new_name_waits_for_those_that_are_known() -> None:
    pass_ = equals("a", "b")
    assert [pass_.item_of("d", name) for name in ("new", "a", "b")] == [None, "d#0", "d#1"]
    assert pass_.item_of("d", "new", last=True) == "d#2"


def test_who_never_came_was_renamed() -> None:
    pass_ = equals("a", "b")
    assert [pass_.item_of("d", name) for name in ("renamed", "b")] == [None, "d#1"]
    assert pass_.item_of("d", "renamed", last=True) == "d#0"


def test_two_of_one_name_are_two() -> None:
    pass_ = equals("a", "a")
    assert [pass_.item_of("d", "a") for _ in range(3)] == ["d#0", "d#1", "d#2"]


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from(["a", "b", "c", "new", None])))
def test_none_is_given_twice_and_none_is_left_out(known: list[str], names: list[str | None]) -> None:
    pass_ = equals(*known)
    first = [(name, pass_.item_of("d", name)) for name in names]
    items = [item for _, item in first if item is not None]
    items += [str(pass_.item_of("d", name, last=True)) for name, item in first if item is None]
    assert len(set(items)) == len(names)
    assert set(items) == {f"d#{ordinal}" for ordinal in range(len(names))} or len(names) < len(known)
    if len(names) >= len(known):
        assert {f"d#{ordinal}" for ordinal in range(len(known))} <= set(items)
    if None not in names:
        kept = [item for name, item in first if item in {f"d#{at}" for at, owner in enumerate(known) if owner == name}]
        assert len(kept) == (Counter(names) & Counter(known)).total()
