"""Which name an edit of a run gets (pure): its own, or one like it where that is taken.

An `id` is what a person wrote. It is refused where another edit of the run has it, and an earlier picture of that id
is moved aside, as long as it may have been made of the same source. A name that was only made, of a path or a line's
number, always gives way itself.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import PurePath
from struct import Struct
from typing import Any

from attrs import define, field, frozen

from asyncsdk.images.edit import ImageEdit, file_name
from asyncsdk.images.ledger.states import ItemState
from asyncsdk.images.names import name_digest, safe_name, stem_problem, stems


@define(eq=False)
class Names:
    """The names that a run has given: a digest of each, with the line of the edit that has it, in 16 bytes.

    An edit that has no line in a job file has its number in the run here, negative.
    """

    # the first 8 bytes of digests, in order; at the same places 4 more of each, with a line
    _buckets: Sequence[tuple[array[int], array[int]]] = field(
        factory=lambda: [(array("Q"), array("Q")) for _ in range(1 << _BUCKET_BITS)], init=False, repr=False
    )

    def __contains__(self, stem: str) -> bool:
        return self._place_of(*_digest(stem)) is not None

    def reserve(self, name: str, pictures: int, place: int) -> str | None:
        """Take the names of `pictures` images for the edit at `place`; otherwise return why not, and take none."""
        safe = safe_name(name)
        problem = stem_problem(safe)
        if problem is not None:
            return f"{problem.text}. Give it another id. Nothing was sent."
        digests = [_digest(stem) for stem in stems(safe, pictures)]
        for digest in digests:
            taken = self._place_of(*digest)
            if taken is not None:
                return (
                    f"{_line(place)} has the id {name!r}, which {_line(taken)} has too. Give each its own id: upper "
                    "and lower case count as the same, and 'a' with n=2 also takes 'a.1'. Nothing was sent."
                )
        for digest in digests:
            self._take(*digest, place)
        return None

    def _place_of(self, first: int, more: int) -> int | None:
        firsts, others = self._buckets[first & _BUCKET]
        at = bisect_left(firsts, first)
        while at < len(firsts) and firsts[at] == first:
            if others[at] >> _LINE_BITS == more:
                return (others[at] & (1 << _LINE_BITS) - 1) - _NO_LINE
            at += 1
        return None

    def _take(self, first: int, more: int, place: Any) -> None:
        firsts, others = self._buckets[first & _BUCKET]
        at = bisect_left(firsts, first)
        line = place if isinstance(place, int) and abs(place) < _NO_LINE else 0
        firsts.insert(at, first)
        others.insert(at, more << _LINE_BITS | line + _NO_LINE)


_BUCKET_BITS = 10  # of a million names each bucket has a thousand, which an insertion moves in a microsecond
_BUCKET = (1 << _BUCKET_BITS) - 1
_LINE_BITS = 32
_NO_LINE = 1 << _LINE_BITS - 1  # is added, so that none is negative; alone it is a line that a caller made up
_FIRST_AND_MORE = Struct(">QI")


def _digest(stem: str) -> tuple[int, int]:
    """12 bytes: in a list of ten million names two have one digest in one of 10**15 such lists."""
    first, more = _FIRST_AND_MORE.unpack_from(name_digest(stem))
    return first, more


def _line(place: Any) -> str:
    if place == 0:
        return "another edit"
    return f"line {place}" if not isinstance(place, int) or place > 0 else f"edit {-place}"


DIGITS = 8  # of the digest that sets one name apart from another


@frozen
class Named:
    """An edit that needs names for `pictures` images; `number` is its name if it has neither `id` nor `name`.

    `source` is a digest of where its first picture comes from, None if that is not known. `item` is its key in the
    ledger, and `state` what the ledger has of it; an edit whose pictures could not be read has neither.
    """

    edit: ImageEdit
    number: str
    source: str | None
    pictures: int = 1
    item: str | None = None
    state: ItemState | None = None

    @property
    def preferred(self) -> str:
        """Its name unless another edit has that."""
        return self.edit.id or self._derived or self.number

    @property
    def called(self) -> str | None:
        """The name that it already has: from a person, or from an earlier run."""
        return self.edit.id or (None if self.state is None else self.state.id)

    @property
    def _derived(self) -> str | None:
        return self.edit.name if isinstance(self.edit.name, str) else None  # before it is read, it may be anything

    def candidates(self) -> Iterator[str]:
        """Names to try in turn: the preferred one, with the source's suffix, with a piece of its digest."""
        if not self.edit.id and self.state is not None:
            yield self.state.id
        yield self.preferred
        suffix = PurePath(file_name(self.edit.image[0]) or "").suffix if self._derived and self.edit.image else ""
        if suffix:
            yield f"{self.preferred}-{suffix[1:]}"
        apart = f"{self.preferred}-{(self.item or self.source or '')[:DIGITS]}".removesuffix("-")
        yield apart
        yield from (f"{apart}-{number}" for number in count(2))


@define
class Naming:
    """The names that one run gives, compared with those that earlier runs gave."""

    owner_of: Callable[[str], str | None]
    state_of: Callable[[str], ItemState | None]
    names: Names = field(factory=Names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and safe_name(name) in self.names

    def free(self, named: Named) -> str:
        """The first of its names that no other edit has, in this run or by an earlier one."""
        return next(name for name in named.candidates() if self._is_free(name, named))

    def earlier(self, named: Named) -> str | None:
        """The name that an edit of the same picture has from an earlier run, if that is the preferred one here."""
        owner = self.owner_of(safe_name(named.preferred))
        state = None if owner is None else self.state_of(owner)
        is_same = state is not None and named.source is not None and state.source == named.source
        return named.preferred if is_same else None

    def is_another(self, owner: str, named: Named) -> bool:
        """Whether the item `owner` was surely made of another source than `named`."""
        state = self.state_of(owner)
        source = None if state is None else state.source
        return owner != named.item and None not in {source, named.source} and source != named.source

    def _is_free(self, name: str, named: Named) -> bool:
        candidates = stems(safe_name(name), named.pictures)
        return not any(stem in self.names for stem in candidates) and all(
            self._gives_way(owner, named) for stem in candidates if (owner := self.owner_of(stem)) is not None
        )

    def _gives_way(self, owner: str, named: Named) -> bool:
        """Whether `named` may have the name of the item `owner`: it is the same edit, or made of the same picture."""
        if owner == named.item:
            return True
        state = self.state_of(owner) if named.edit.name is not None else None
        return state is not None and named.source is not None and state.source == named.source
