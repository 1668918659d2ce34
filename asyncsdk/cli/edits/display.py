"""How a run of edits is shown on standard error while it goes: lines, JSON or nothing; `bar` has the bar."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import ClassVar, Self

from attrs import asdict, define, field

from asyncsdk.cli.edits.messages import Moment, moving
from asyncsdk.cli.options import Mode
from asyncsdk.cli.output import complain
from asyncsdk.cli.uploads.display import SECONDS_BETWEEN_LINES, is_terminal

Look = Callable[[], Moment]


@define(eq=False)
class Silence:
    """Shows nothing; what all displays have in common: within a `with` block they look `every` so many seconds."""

    every: ClassVar[float | None] = None
    look: Look
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self._wind()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.aside()

    def show(self, moment: Moment) -> None:
        """Show nothing."""

    def aside(self) -> None:
        """Make room on the terminal for a line of others, until it is shown again."""

    def _wind(self) -> None:
        if self.every is not None:
            self._timer = asyncio.get_running_loop().call_later(self.every, self._tick)

    def _tick(self) -> None:
        self.show(self.look())
        self._wind()


@define(eq=False)
class Lines(Silence):
    """A line now and then."""

    every = SECONDS_BETWEEN_LINES

    def show(self, moment: Moment) -> None:
        """Write the line."""
        complain(moving(moment))


@define(eq=False)
class JsonLines(Silence):
    """A JSON object on a line each second."""

    every = 1.0

    def show(self, moment: Moment) -> None:
        """Write the object."""
        complain(json.dumps({**asdict(moment), "counts": dict(moment.counts), "left": moment.left}))


def choose(mode: Mode, look: Look, *, quiet: bool = False, verbose: bool = False) -> Silence:
    """The display that `mode` asks for; `auto` is a bar on a terminal, now and then a line elsewhere."""
    if mode == "none" or (mode == "auto" and quiet):
        return Silence(look)
    if mode == "json":
        return JsonLines(look)
    if mode == "bar" or (mode == "auto" and is_terminal() and not verbose):
        from asyncsdk.cli.edits.bar import Bar

        return Bar(look)
    return Lines(look)
