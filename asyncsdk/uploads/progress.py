"""How far an upload is, how fast it goes, when it will be done: frozen snapshots of a meter (pure)."""

from __future__ import annotations

from collections import deque
from enum import StrEnum

from attrs import define, field, frozen

RATE_WINDOW = 10.0
REPORT_INTERVAL = 0.1


class State(StrEnum):
    """What an upload is doing."""

    WAITING = "waiting"  # another process has it
    CHECKING = "checking"  # is it there already?
    SENDING = "sending"
    RETRYING = "retrying"  # waiting for the network or the server
    COMPLETING = "completing"
    COMPLETED = "completed"


@frozen(kw_only=True)
class Progress:
    """One moment of one upload. Sizes are bytes, times unix seconds of the server, `rate` bytes a second.

    `bytes_done` counts what is in the journal, `bytes_resumed` what of it earlier runs sent, `bytes_sent`
    what went over the line in this run, retries included; `bytes_in_flight` may still be lost.
    `eta` is in seconds, None while unknown. `note` is for people: why it waits, why it began afresh.
    """

    state: State
    source: str
    bytes_total: int
    bytes_done: int = 0
    bytes_resumed: int = 0
    bytes_in_flight: int = 0
    bytes_sent: int = 0
    bytes_hashed: int = 0
    parts_in_flight: int = 0
    rate: float = 0.0
    eta: float | None = None
    upload_id: str | None = None
    expires_at: int | None = None
    note: str = ""


@define
class Rate:
    """Bytes a second over a sliding window, and the best whole window so far."""

    best: float = 0.0
    _samples: deque[tuple[float, int]] = field(factory=deque, init=False)

    def add(self, now: float, total: int) -> None:
        """Take a sample: `total` bytes had moved by `now` (seconds)."""
        self._samples.append((now, total))
        while len(self._samples) > 2 and now - self._samples[1][0] >= RATE_WINDOW:
            self._samples.popleft()
        if now - self._samples[0][0] >= RATE_WINDOW:
            self.best = max(self.best, self.current)

    @property
    def current(self) -> float:
        """Bytes a second now; 0.0 until there is something to tell."""
        if len(self._samples) < 2:
            return 0.0
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        return (last - first) / (end - start) if end > start else 0.0
