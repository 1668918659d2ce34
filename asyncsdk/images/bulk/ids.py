"""Checks that each edit has an id of its own, for a ledger that machines share: it knows an edit by that (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import define, field, frozen

from asyncsdk.errors import ConfigurationError
from asyncsdk.images.bulk.naming import Names
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.names import safe_name

IdProblems = dict[str, str]  # by id
_MOST_NAMES = 100  # of one edit


@define
class UniqueIds:
    """All edits, in order. Copies begin anywhere in the list: of two with one id each may take another first.

    `problems` are why edits with these ids can't be sent though no other edit has the same id.
    """

    problems: IdProblems = field(factory=dict, init=False)
    _names: Names = field(factory=Names, init=False)
    _number: int = field(default=0, init=False)

    def check_edit(self, edit: ImageEdit) -> None:
        """Check an edit by its id, or by the name that its picture gave it. Raises as `check` does."""
        self.check(edit.id or edit.name, edit.n, edit.line)

    def check(self, name: str | None, pictures: object, line: int | None) -> None:
        """Raise ConfigurationError for an edit without an id, and for one whose id another has."""
        self._number += 1
        if not name:
            where = f"edit number {self._number}" if line is None else f"line {line}"
            raise ConfigurationError(
                f"{where} has no id, and a ledger in a database knows an edit by that: give each its own, in the "
                "column or field id. Nothing was sent."
            )
        place = line or -self._number
        problem = self._names.reserve(name, names_taken(pictures), place)
        if problem is None:
            return
        if safe_name(name) in self._names:
            raise ConfigurationError(problem)
        self._names.reserve(name, 1, place)  # the next edit with this id has it twice
        self.problems[name] = problem  # it is reported with its row


def names_taken(pictures: object) -> int:
    """How many names an edit takes that asks for `pictures`: what can't be their number is refused with its row."""
    return min(pictures, _MOST_NAMES) if isinstance(pictures, int) else 1


@frozen
class ComparedEdits:
    """Edits whose ids were compared: that need not be done once more. `problems` as in `UniqueIds`."""

    edits: Iterable[ImageEdit]
    problems: IdProblems

    def __iter__(self) -> Iterator[ImageEdit]:
        return iter(self.edits)
