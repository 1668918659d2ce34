"""What a long form found, as a row of the table that `python -m tests.faults` prints (pure)."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field


@define
class Row:
    """`cases` says how many of what were tried; `figures` what was measured; `violations` what must not be."""

    name: str
    cases: int = 0
    figures: dict[str, str] = field(factory=dict)
    violations: list[str] = field(factory=list)
    seconds: float = 0.0

    def must(self, held: object, else_say: str) -> None:
        """Note a violation unless `held`."""
        if not held:
            self.violations.append(else_say)


def lines_of(rows: Iterable[Row]) -> list[str]:
    """The table, its violations below it."""
    lines = [f"{'form':<12}{'cases':>9}{'violations':>12}{'seconds':>9}  figures"]
    for row in rows:
        figures = ", ".join(f"{name} {value}" for name, value in row.figures.items())
        lines.append(f"{row.name:<12}{row.cases:>9,}{len(row.violations):>12}{row.seconds:>9.1f}  {figures}")
        lines += [f"    {violation}" for violation in row.violations[:20]]
    return lines
