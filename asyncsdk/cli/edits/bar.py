"""A run of edits as a bar on a terminal, with how they ended below it."""

from __future__ import annotations

from contextlib import suppress

from attrs import define, field
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from asyncsdk.cli.edits.display import Silence
from asyncsdk.cli.edits.messages import Moment, counted, pace
from asyncsdk.cli.uploads.bars import MARGIN


class Screen(Console):
    """Standard error. Where nobody reads it any more rich would end the program; edits in flight are paid."""

    def on_broken_pipe(self) -> None:
        """Write no more."""
        self.quiet = True


@define(eq=False)
class Bar(Silence):
    """Drawn on the loop, so that no thread writes between the lines of others; wiped at the end."""

    every = 0.125
    console: Console = field(factory=lambda: Screen(stderr=True))
    _live: Live | None = field(default=None, init=False)

    def show(self, moment: Moment) -> None:
        """Draw it, below what was written meanwhile."""
        with suppress(OSError):  # nobody reads standard error any more
            if self._live is None:
                self._live = self._new(moment)
                self._live.start(refresh=True)
            else:
                self._live.update(frame(moment, self.console.width - MARGIN), refresh=True)

    def aside(self) -> None:
        """Wipe it."""
        live, self._live = self._live, None
        if live is not None:
            with suppress(OSError):
                live.stop()

    def _new(self, moment: Moment) -> Live:
        return Live(
            frame(moment, self.console.width - MARGIN),
            console=self.console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )


def frame(moment: Moment, width: int) -> RenderableType:
    """What the terminal shows: the bar and its numbers, then how edits ended, then the pace."""
    of_all = "" if moment.total is None else f" of {moment.total:,}"
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.width = width
    grid.add_column(ratio=1, min_width=8)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_row(ProgressBar(total=moment.total or 1, completed=moment.ended if moment.total else 0),
                 Text(f"{moment.ended:,}{of_all}", style="bold"))  # fmt: skip
    told = [", ".join(counted(moment.counts)), ", ".join(pace(moment))]
    return Group(
        grid, *(Text(f"  {line}", style="bright_black", no_wrap=True, overflow="ellipsis") for line in told if line)
    )
