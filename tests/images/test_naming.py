"""Which name an edit gets: its own, or one like it that does not depend on who else is there more than it must."""

from __future__ import annotations

from pathlib import Path

from asyncsdk.images.bulk.naming import Named, Naming
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.ledger.states import ItemState

DIGEST = "0123456789abcdef"


def named(*, source: str | None = "here", item: str | None = f"{DIGEST}#0", **fields: object) -> Named:
    edit = ImageEdit(image=Path("photos/a.PNG"), prompt="x", **fields)  # type: ignore[arg-type]  # passed on
    return Named(edit, "7", source, item=item)


def naming(**owned: str | None) -> Naming:
    """Names with the source that each was made of; the item of a name is called like it."""
    states = {name: ItemState("done", name, 1.0, source=source) for name, source in owned.items()}
    return Naming(lambda stem: stem if stem in states else None, states.get)


def test_a_name_that_is_free_is_taken_as_it_is() -> None:
    assert naming().free(named(name="a")) == "a"
    assert naming().free(named()) == "7"
    assert naming().free(named(id="b", name="a")) == "b"


def test_a_derived_name_gives_way_by_the_suffix_of_its_picture_then_by_its_digest() -> None:
    edit = named(name="a")
    assert naming(a="there").free(edit) == "a-PNG"
    assert naming(a=None).free(edit) == "a-PNG"
    taken = {"a": "there", "a-PNG": "there"}
    assert naming(**taken).free(edit) == "a-01234567"
    assert naming(**taken, **{"a-01234567": "there"}).free(edit) == "a-01234567-2"


def test_a_derived_name_stays_with_its_picture_whatever_that_contains() -> None:
    assert naming(a="here").free(named(name="a")) == "a"
    assert naming(a=None).free(named(name="a", source=None)) == "a-PNG"


def test_a_number_gives_way_to_every_other_edit() -> None:
    known = naming(**{"7": "here"})
    assert known.free(named()) == "7-01234567"
    assert known.free(named(item="7")) == "7"


def test_a_name_that_this_run_gave_is_not_given_again_with_any_of_its_numbers() -> None:
    known = naming()
    assert known.names.reserve("A", 2, 1) is None
    assert known.free(named(name="a")) == "a-PNG"
    assert known.free(named(name="a.1")) == "a.1-PNG"
    assert known.free(named(name="a.2")) == "a.2"


def test_encoded_names_are_held_against_each_other_as_they_are_on_disk() -> None:
    known = naming(**{"a%3Ab": "there"})
    assert known.free(named(name="a:b")) == "a:b-PNG"


def test_another_source_is_one_that_is_known_to_differ() -> None:
    known = naming(a="there", b=None, c="here")
    assert known.is_another("a", named())
    assert not known.is_another("a", named(item="a"))
    assert not known.is_another("a", named(source=None))
    assert not known.is_another("b", named())
    assert not known.is_another("c", named())
    assert not known.is_another("unknown", named())


def test_an_edit_that_could_not_be_read_has_a_name_too() -> None:
    assert naming(a="there").free(named(name="a", item=None)) == "a-PNG"
    assert naming(**{"7": "there"}).free(named(item=None)) == "7-here"
    assert naming(**{"7": "there"}).free(named(name=5, item=None, source=None)) == "7-2"
