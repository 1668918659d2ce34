"""Which name an edit's pictures get (pure): its own, or one like it where another picture has that.

An `id` is what a person wrote. It is refused where another edit of the run has it, and an earlier picture of that id
makes way, as long as it may have been made of the same source. A name that was only made, of a path or a line's number,
always gives way itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import PurePath

from attrs import define, field, frozen

from asyncsdk.images.bulk.states import ItemState
from asyncsdk.images.edit import ImageEdit, file_name
from asyncsdk.images.names import Names, safe_name, stems

DIGITS = 8  # of the digest that sets one name apart from another


@frozen
class Named:
    """An edit that wants a name for so many `pictures`; `number` is its name if it has neither `id` nor `name`.

    `source` is a digest of where its first picture comes from, None if that is not known. `item` is what the ledger
    knows it by, and `state` how it is there; an edit whose pictures could not be read has none.
    """

    edit: ImageEdit
    number: str
    source: str | None
    pictures: int = 1
    item: str | None = None
    state: ItemState | None = None

    @property
    def wanted(self) -> str:
        """What it is called unless another one has that name."""
        return self.edit.id or self._derived or self.number

    @property
    def called(self) -> str | None:
        """What it is called already: by a person, or by an earlier run."""
        return self.edit.id or (None if self.state is None else self.state.id)

    @property
    def _derived(self) -> str | None:
        return self.edit.name if isinstance(self.edit.name, str) else None  # before it is read, it may be anything

    def candidates(self) -> Iterator[str]:
        """Names to be tried in turn: the wanted one, that with the source's suffix, that with a piece of its digest."""
        if not self.edit.id and self.state is not None:
            yield self.state.id
        yield self.wanted
        suffix = PurePath(file_name(self.edit.image[0]) or "").suffix if self._derived and self.edit.image else ""
        if suffix:
            yield f"{self.wanted}-{suffix[1:]}"
        apart = f"{self.wanted}-{(self.item or self.source or '')[:DIGITS]}".removesuffix("-")
        yield apart
        yield from (f"{apart}-{number}" for number in count(2))


@define
class Naming:
    """The names that one run gives, held against those that earlier runs gave."""

    owner_of: Callable[[str], str | None]
    state_of: Callable[[str], ItemState | None]
    names: Names = field(factory=Names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and safe_name(name) in self.names

    def free(self, named: Named) -> str:
        """The first of its names that no other edit has, in this run or by an earlier one."""
        return next(name for name in named.candidates() if self._is_free(name, named))

    def is_another(self, owner: str, named: Named) -> bool:
        """Whether the item `owner` was surely made of another source than `named`."""
        state = self.state_of(owner)
        source = None if state is None else state.source
        return owner != named.item and None not in {source, named.source} and source != named.source

    def _is_free(self, name: str, named: Named) -> bool:
        wanted = stems(safe_name(name), named.pictures)
        return not any(stem in self.names for stem in wanted) and all(
            self._gives_way(owner, named) for stem in wanted if (owner := self.owner_of(stem)) is not None
        )

    def _gives_way(self, owner: str, named: Named) -> bool:
        """Whether `named` may have the name of the item `owner`: that is the same, or was made of the same picture."""
        if owner == named.item:
            return True
        state = self.state_of(owner) if named.edit.name is not None else None
        return state is not None and named.source is not None and state.source == named.source
