"""The damage of a ledger's file: which lines are not as they were written (pure)."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

_FEW = 10


@frozen
class LedgerDamage:
    """A file of a ledger that is not as it was written: the numbers of its damaged `lines` (from 1), and their bytes.

    What a crash leaves is not damage: a last line that was cut off while it was written, and never acknowledged.
    """

    path: Path
    lines: tuple[int, ...]
    bytes: int

    def __str__(self) -> str:
        numbers = ", ".join(map(str, self.lines[:_FEW])) + (", …" if len(self.lines) > _FEW else "")
        lines = f"{len(self.lines):,} damaged line{'s' if len(self.lines) > 1 else ''}"
        return f"{self.path}: {lines} (line {numbers}; {self.bytes:,} bytes)"
