"""Limits the rate of sending over all connections together: when the next bytes may go (pure)."""

from __future__ import annotations

from attrs import define, field

from asyncsdk.uploads.chunking import BLOCK

SMALLEST_SLICE = 4096
SLICES_PER_SECOND = 20


@define
class Throttle:
    """`rate` bytes a second, None for no limit."""

    rate: float | None = None
    _free_at: float = field(default=0.0, init=False)

    @property
    def slice(self) -> int:
        """How many bytes to send at a time, so that a slow rate is even: a server ends what is silent for long."""
        if self.rate is None:
            return BLOCK
        in_a_second = max(1, int(self.rate))
        return max(min(SMALLEST_SLICE, in_a_second), min(BLOCK, int(self.rate / SLICES_PER_SECOND)))

    def delay(self, now: float, count: int) -> float:
        """Seconds to wait before `count` more bytes may go; they are taken as sent then."""
        if self.rate is None:
            return 0.0
        start = max(now, self._free_at)
        self._free_at = start + count / self.rate
        return start - now
