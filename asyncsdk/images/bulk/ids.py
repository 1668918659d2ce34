"""Checks that each edit has an id of its own, for a ledger that machines share: it knows an edit by that (pure)."""

from __future__ import annotations

from attrs import define, field

from asyncsdk.errors import ConfigurationError
from asyncsdk.images.bulk.naming import Names
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.names import safe_name


@define
class UniqueIds:
    """All edits, in order. Copies begin anywhere in the list: of two with one id each may take another first."""

    _names: Names = field(factory=Names)
    _number: int = 0

    def check(self, edit: ImageEdit) -> None:
        """Raise ConfigurationError for an edit without an id, and for one whose id another has."""
        self._number += 1
        name = edit.id or edit.name
        where = f"edit number {self._number}" if edit.line is None else f"line {edit.line}"
        if not name:
            raise ConfigurationError(
                f"{where} has no id, and a ledger in a database knows an edit by that: give each its own, in the "
                "column or field id. Nothing was sent."
            )
        problem = self._names.reserve(name, edit.n or 1, edit.line or -self._number)
        if problem is not None and safe_name(name) in self._names:  # others are reported with their rows
            raise ConfigurationError(problem)
