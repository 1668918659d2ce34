"""Amounts of money (pure): whole billionths of a dollar, so that sums over a million edits are exact; and ranges."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

from attrs import frozen

NANOS = 10**9  # billionths in a dollar
_SIGNIFICANT = 3  # digits


def nanos_of(dollars: float) -> int:
    """`dollars` as billionths, rounded to the nearest."""
    return int((Decimal(str(dollars)) * NANOS).to_integral_value(ROUND_HALF_UP))


def in_dollars(nanos: int | None) -> float | None:
    """An amount in dollars; None stays None."""
    return None if nanos is None else nanos / NANOS


def part_of(nanos: int, factor: float) -> int:
    """An amount at a part of the price, rounded up."""
    return int((Decimal(str(factor)) * nanos).to_integral_value(ROUND_CEILING))


@frozen
class CostRange:
    """Between what and what something costs, in billionths of a dollar.

    Attributes:
        low: The least.
        high: The most.
    """

    low: int = 0
    high: int = 0

    def __add__(self, other: CostRange) -> CostRange:
        return CostRange(self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> CostRange:
        """The same at a part of the price, as in a batch.

        Args:
            factor: That part: 0.5 for half.
        """
        return CostRange(int(Decimal(str(factor)) * self.low), part_of(self.high, factor))

    @property
    def dollars(self) -> tuple[float, float]:
        """Both ends in dollars."""
        return self.low / NANOS, self.high / NANOS

    def __str__(self) -> str:
        low, high = shown(self.low), shown(self.high, up=True)
        return f"about {low}" if low == high else f"about {low} to {high}"


def shown(nanos: int, *, up: bool = False) -> str:
    """An amount for people, in three digits: `$310`, `$4.27`, `$0.0132`; `up`: rounded up, as an upper end is."""
    if nanos <= 0:
        return "$0"
    dollars = Decimal(nanos) / NANOS
    digits = max(0, _SIGNIFICANT - 1 - math.floor(math.log10(dollars)))
    digits = 2 if digits == 1 else min(digits, 6)  # cents are two digits
    rounded = dollars.quantize(Decimal(1).scaleb(-digits), ROUND_CEILING if up else ROUND_HALF_UP)
    return f"${rounded:,}"
