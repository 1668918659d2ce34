"""How uploads are shown on standard error while they run: lines, JSON or nothing; `bars` has the bars."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Protocol, Self

from attrs import asdict, define, field

from asyncsdk.cli.options import Mode
from asyncsdk.cli.output import complain
from asyncsdk.cli.uploads.messages import moving
from asyncsdk.events import Progress, UploadPhase

SECONDS_BETWEEN_LINES = 30.0
_TROUBLE = {UploadPhase.RETRYING, UploadPhase.WAITING}


class Display(Protocol):
    """Shows snapshots by the names of their files, for the length of a `with` block."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, name: str, progress: Progress) -> None:
        """The upload of `name` stands like this now."""
        ...

    def end(self, name: str) -> None:
        """The upload of `name` is over."""
        ...

    def aside(self) -> AbstractContextManager[None]:
        """Make room on the terminal for lines of others, for the length of a `with` block."""
        ...


def choose(
    mode: Mode, sizes: Mapping[str, int], *, quiet: bool = False, verbose: bool = False, stays: bool = False
) -> Display:
    """The display that `mode` asks for; `auto` is bars on a terminal, now and then a line elsewhere.

    `sizes` are the bytes of each file to come. With `verbose` the log's lines would tear bars apart. `stays`
    leaves the bars where they are at the end.
    """
    if mode == "none" or (mode == "auto" and quiet):
        return Silence()
    if mode == "json":
        return JsonLines()
    if mode == "bar" or (mode == "auto" and is_terminal() and not verbose):
        from asyncsdk.cli.uploads.bars import Bars

        return Bars(sizes, stays=stays)
    return Lines(each_change=mode == "lines")


def is_terminal() -> bool:
    """Whether standard error is a terminal that can move its cursor."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@define
class Silence:
    """Shows nothing; what all displays have in common."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, name: str, progress: Progress) -> None:
        """Show nothing."""

    def end(self, name: str) -> None:
        """Show nothing."""

    def aside(self) -> AbstractContextManager[None]:
        """Lines disturb nobody here."""
        return nullcontext()


@define
class JsonLines(Silence):
    """Each snapshot as a JSON object on a line; its `source` is the FILE as it was given."""

    write: Callable[[str], None] = complain

    def show(self, name: str, progress: Progress) -> None:
        """Write the snapshot."""
        self.write(json.dumps({**asdict(progress), "source": name}))


@define
class Lines(Silence):
    """A line for each upload under way every 30 s, and at once when it gets into trouble or out of it."""

    each_change: bool
    every: float = SECONDS_BETWEEN_LINES
    write: Callable[[str], None] = complain
    _latest: dict[str, Progress] = field(factory=dict, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self._wind()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer:
            self._timer.cancel()

    def show(self, name: str, progress: Progress) -> None:
        """Keep the snapshot for the next line; write it now if the state is news."""
        before = self._latest.get(name)
        self._latest[name] = progress
        if is_news(before, progress, each_change=self.each_change):
            self.write(moving(name, progress))

    def end(self, name: str) -> None:
        """Write no more of it."""
        self._latest.pop(name, None)

    def _wind(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.every, self._tick)

    def _tick(self) -> None:
        for name, progress in self._latest.items():
            self.write(moving(name, progress))
        self._wind()


def is_news(before: Progress | None, now: Progress, *, each_change: bool) -> bool:
    """Whether `now` is worth a line of its own: it changed, and to or from trouble unless each change is wanted."""
    was, state = (before.state if before else None), now.state
    if state is UploadPhase.RETRYING and was is state:
        return False  # the same outage, in other words
    afresh = bool(now.note) and (before is None or before.note != now.note)
    changed = was is not state
    return (changed and (each_change or bool({was, state} & _TROUBLE))) or (afresh and state is UploadPhase.SENDING)
