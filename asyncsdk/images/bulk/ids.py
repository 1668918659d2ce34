"""Checks that each edit has an id of its own, for a ledger that machines share: it knows an edit by that (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import define, field, frozen

from asyncsdk.errors import ConfigurationError
from asyncsdk.images.bulk.naming import Names
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.names import safe_name

IdProblems = dict[tuple[str, int | None], str]  # by an id and its line


@define
class UniqueIds:
    """All edits, in order. Copies begin anywhere in the list: of two with one id each may take another first.

    `problems` are why edits with these ids, at these lines, can't be sent though no other edit has the same id.
    """

    problems: IdProblems = field(factory=dict, init=False)
    _names: Names = field(factory=Names, init=False)
    _number: int = field(default=0, init=False)

    def check(self, name: str | None, pictures: int | None, line: int | None) -> None:
        """Raise ConfigurationError for an edit without an id, and for one whose id another has."""
        self._number += 1
        if not name:
            where = f"edit number {self._number}" if line is None else f"line {line}"
            raise ConfigurationError(
                f"{where} has no id, and a ledger in a database knows an edit by that: give each its own, in the "
                "column or field id. Nothing was sent."
            )
        problem = self._names.reserve(name, pictures or 1, line or -self._number)
        if problem is None:
            return
        if safe_name(name) in self._names:
            raise ConfigurationError(problem)
        self.problems[name, line] = problem  # it is reported with its row


@frozen
class ComparedEdits:
    """Edits whose ids were compared: that need not be done once more. `problems` as in `UniqueIds`."""

    edits: Iterable[ImageEdit]
    problems: IdProblems

    def __iter__(self) -> Iterator[ImageEdit]:
        return iter(self.edits)
