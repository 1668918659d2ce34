"""Equal edits are told apart: each keeps the item that was its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.images.bulk.equals import Equals
from asyncsdk.images.bulk.states import ItemState


def equals(*names: str) -> Equals:
    """Of an edit "d" that the ledger knows under these names, in this order."""
    known = {f"d#{ordinal}": ItemState("done", name, 0.0) for ordinal, name in enumerate(names)}
    return Equals(known.get)


def test_without_names_the_order_decides() -> None:
    pass_ = equals("a", "b")
    assert [pass_.item_of("d", None) for _ in range(3)] == ["d#0", "d#1", "d#2"]
    assert pass_.item_of("other", None) == "other#0"


def test_a_name_is_stronger_than_the_order() -> None:
    pass_ = equals("a", "b", "c")
    assert [pass_.item_of("d", name) for name in ("c", "a", "b", "new")] == ["d#2", "d#0", "d#1", "d#3"]


def test_a_new_name_takes_the_first_that_is_left() -> None:
    pass_ = equals("a", "b")
    assert [pass_.item_of("d", name) for name in ("renamed", "b", "b")] == ["d#0", "d#1", "d#2"]


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from(["a", "b", "c", "new", None])))
def test_none_is_given_twice_and_none_is_left_out(known: list[str], names: list[str | None]) -> None:
    pass_ = equals(*known)
    given_ = [pass_.item_of("d", name) for name in names]
    assert len(set(given_)) == len(given_)
    if len(names) >= len(known):
        assert {f"d#{ordinal}" for ordinal in range(len(known))} <= set(given_)
