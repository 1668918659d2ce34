"""What of a ledger's file can't be believed, and what that means for money (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from asyncsdk.errors import LedgerDamagedError

_FEW = 10


@frozen
class LedgerDamage:
    """A file of a ledger that is not as it was written: the numbers of its damaged `lines` (from 1), and their bytes.

    What a crash leaves is not damage: a last line that was being written, and was never acknowledged.
    """

    path: Path
    lines: tuple[int, ...]
    bytes: int

    def __str__(self) -> str:
        numbers = ", ".join(map(str, self.lines[:_FEW])) + (", …" if len(self.lines) > _FEW else "")
        lines = f"{len(self.lines):,} damaged line{'s' if len(self.lines) > 1 else ''}"
        return f"{self.path}: {lines} (line {numbers}; {self.bytes:,} bytes)"


def damaged(directory: Path, damage: Sequence[LedgerDamage]) -> LedgerDamagedError:
    """The error of a run that may not begin without the caller's consent."""
    error = LedgerDamagedError(
        f"the ledger in {directory} is damaged: {'; '.join(map(str, damage))}. Edits recorded there may have been "
        "paid, and would be paid again. Nothing was sent.\n"
        "  Put a good copy of the file in its place if there is one. Else the same call with accept_damage=True goes "
        "on with what is intact; the damaged file is kept beside it."
    )
    error.damage = tuple(damage)
    return error
