"""How a run of edits goes, on standard error: a line that changes on a terminal, else one now and then."""

from __future__ import annotations

import json
import sys
import time

from attrs import define, field

from asyncsdk.cli.edit_records import moving
from asyncsdk.cli.options import Mode
from asyncsdk.cli.output import complain
from asyncsdk.images.outcomes import Outcomes

LINE_SECONDS, BAR_SECONDS = 30.0, 0.1
_CLEAR = "\r\x1b[K"


@define(eq=False)
class EditProgress:
    """`mode` is bar, lines, json or none."""

    mode: str
    _shown: float = field(factory=time.monotonic, init=False)
    _drawn: bool = field(default=False, init=False)

    @classmethod
    def choose(cls, mode: Mode, *, quiet: bool) -> EditProgress:
        """The way that was asked for, or that fits where it is read."""
        if mode == "auto":
            terminal = sys.stderr is not None and sys.stderr.isatty()
            return cls("none" if quiet else "bar" if terminal else "lines")
        return cls(mode)

    def show(self, outcomes: Outcomes, total: int) -> None:
        """Show where it is, if it is time."""
        every = BAR_SECONDS if self.mode == "bar" else LINE_SECONDS
        now = time.monotonic()
        if self.mode == "none" or now - self._shown < every:
            return
        self._shown = now
        line = moving(
            outcomes.counts, total=total, in_flight=outcomes.in_flight, holding=outcomes.holding, rate=outcomes.rate
        )
        if self.mode == "json":
            complain(json.dumps({"counts": outcomes.counts, "total": total, "in_flight": outcomes.in_flight}))
        elif self.mode == "lines":
            complain(line)
        else:
            sys.stderr.write(_CLEAR + line[:200])
            sys.stderr.flush()
            self._drawn = True

    def pause(self) -> None:
        """Make room for a line of its own."""
        if self._drawn:
            sys.stderr.write(_CLEAR)
            self._drawn = False

    def close(self) -> None:
        """Leave nothing half drawn."""
        self.pause()
