"""How a command shows its progress on standard error: a bar, lines, JSON or nothing, drawn by one timer on the loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from attrs import define, field

from asyncsdk.cli.options import Mode
from asyncsdk.cli.output import complain, is_terminal

if TYPE_CHECKING:  # --help and plain lines do without rich
    from rich.console import Console, RenderableType
    from rich.live import Live

INDENT = 2
MARGIN = 6  # room for the ^C that a terminal echoes: in a full line it would push the bars up


class Change(Protocol):
    """One step forward, which some displays show at once."""

    def line(self) -> str:
        """The change in words."""

    def record(self) -> Mapping[str, Any]:
        """The change as a JSON object."""

    def is_news(self, *, each_change: bool) -> bool:
        """Whether it is worth a line at once; with `each_change` more is."""


class View(Protocol):
    """What a command's progress is now, in the words of its subject."""

    def lines(self) -> Iterable[str]:
        """A line for each thing under way."""

    def records(self) -> Iterable[Mapping[str, Any]]:
        """JSON objects to be written each second; none where each change is written."""

    def frame(self, width: int) -> RenderableType:
        """The bars, `width` cells wide."""


V = TypeVar("V", bound=View)


@define(eq=False)
class NullDisplay(Generic[V]):
    """Shows nothing. What all displays share: within a `with` block, they draw `view` every `every` seconds.

    The first time is after `first` seconds, if that is given.
    """

    view: V
    every: float | None = field(default=None, kw_only=True)
    first: float | None = field(default=None, kw_only=True)
    write: Callable[[str], None] = field(default=complain, kw_only=True)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self._wind(self.first)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.aside()

    def draw(self) -> None:
        """Show nothing."""

    def show(self, change: Change) -> None:
        """Show nothing."""

    def aside(self) -> None:
        """Make room on the terminal for lines of others, until it is drawn again."""

    def _wind(self, delay: float | None = None) -> None:
        delay = self.every if delay is None else delay
        if delay is not None:
            self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self.draw()
        self._wind()


@define(eq=False)
class LineDisplay(NullDisplay[V]):
    """A line for each thing under way now and then, and at once for news, or for each change if asked for."""

    every: float | None = field(default=30.0, kw_only=True)
    first: float | None = field(default=5.0, kw_only=True)  # soon, so that one sees that it works
    each_change: bool = field(default=False, kw_only=True)

    def draw(self) -> None:
        """Write the lines."""
        for line in self.view.lines():
            self.write(line)

    def show(self, change: Change) -> None:
        """Write a line if the change is news."""
        if change.is_news(each_change=self.each_change):
            self.write(change.line())


@define(eq=False)
class JsonDisplay(NullDisplay[V]):
    """JSON objects, one a line: each second, or each change, as the subject has it."""

    every: float | None = field(default=1.0, kw_only=True)

    def draw(self) -> None:
        """Write the objects."""
        for record in self.view.records():
            self.write(json.dumps(record))

    def show(self, change: Change) -> None:
        """Write the change."""
        self.write(json.dumps(change.record()))


def _standard_error() -> Console:
    from rich.console import Console

    console = Console(stderr=True)

    def mute() -> None:
        """Nobody reads standard error any more: rich would end the program, and what is in flight may be paid."""
        console.quiet = True

    console.on_broken_pipe = mute  # type: ignore[method-assign]  # what a subclass would override
    return console


@define(eq=False)
class BarDisplay(NullDisplay[V]):
    """Bars on a terminal. Drawn on the loop, so that no thread writes between the lines of others.

    They are wiped at the end, unless the last frame `stays`.
    """

    every: float | None = field(default=0.125, kw_only=True)
    stays: bool = field(default=False, kw_only=True)
    console: Console = field(factory=_standard_error, kw_only=True)
    _live: Live | None = field(default=None, init=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.stays:
            self.draw()
        super().__exit__(kind, error, trace)

    def draw(self) -> None:
        """Draw a frame, below what was written meanwhile."""
        frame = self.view.frame(self.console.width - MARGIN)
        with suppress(OSError):  # nobody reads standard error any more
            if self._live is None:
                self._live = self._new_live(frame)
                self._live.start(refresh=True)
            else:
                self._live.update(frame, refresh=True)

    def aside(self) -> None:
        """Wipe the bars."""
        live, self._live = self._live, None
        if live is not None:
            with suppress(OSError):
                live.stop()

    def _new_live(self, frame: RenderableType) -> Live:
        from rich.live import Live

        return Live(
            frame,
            console=self.console,
            auto_refresh=False,
            transient=not self.stays,
            redirect_stdout=False,
            redirect_stderr=False,
        )


def remarks(facts: Iterable[str], width: int, *, style: str) -> RenderableType:
    """A line below the bars, which goes on below where it is too long: no fact is broken, or at least no word."""
    from rich.cells import cell_len
    from rich.constrain import Constrain
    from rich.padding import Padding
    from rich.text import Text

    lines: list[str] = []
    for fact in facts:
        if lines and cell_len(f"{lines[-1]}, {fact},") <= width - INDENT:
            lines[-1] += f", {fact}"
        else:
            lines.append(fact)
    return Constrain(Padding(Text(",\n".join(lines), style=style), (0, 0, 0, INDENT), expand=False), width)


def choose(
    mode: Mode, view: V, *, quiet: bool = False, verbose: bool = False, stays: bool = False, is_brief: bool = False
) -> NullDisplay[V]:
    """The display that `mode` names; `auto` is bars on a terminal, now and then a line elsewhere.

    With `verbose` the log's lines would tear bars apart. `stays` leaves the bars where they are at the end. What
    `is_brief` is worth no line where nobody looks on.
    """
    if mode == "none" or (mode == "auto" and (quiet or (is_brief and not is_terminal()))):
        return NullDisplay(view)
    if mode == "json":
        return JsonDisplay(view)
    if mode == "bar" or (mode == "auto" and is_terminal() and not verbose):
        return BarDisplay(view, stays=stays)
    return LineDisplay(view, each_change=mode == "lines")
