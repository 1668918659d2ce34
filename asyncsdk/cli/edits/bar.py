"""The progress of a run of edits: as a line, a JSON object, or a bar with the counts below it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

from asyncsdk.cli.display import remarks
from asyncsdk.cli.edits.messages import Moment, counted, moving, pace

if TYPE_CHECKING:
    from rich.console import RenderableType

DONE, LEFT = "green", "grey46"  # seen on light and on dark, as those of uploads are


@frozen
class RunView:
    """`look` takes the numbers that are shown."""

    look: Callable[[], Moment]

    def lines(self) -> list[str]:
        """The run on a line."""
        return [moving(self.look())]

    def records(self) -> list[dict[str, Any]]:
        """All its numbers."""
        moment = self.look()
        return [{**asdict(moment), "counts": dict(moment.counts), "left": moment.left}]

    def frame(self, width: int) -> RenderableType:
        """The bar and its numbers, then how edits ended, then the pace."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        moment = self.look()
        of_all = "" if moment.total is None else f" of {moment.total:,}"
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.width = width
        grid.add_column(ratio=1, min_width=8)
        grid.add_column(justify="right", no_wrap=True)
        done = moment.ended if moment.total else 0
        bar = ProgressBar(total=moment.total or 1, completed=done, style=LEFT, complete_style=DONE)
        grid.add_row(bar, Text(f"{moment.ended:,}{of_all}", style="bold"))
        notes = [remarks(facts, width, style="dim") for facts in (counted(moment.counts), pace(moment)) if facts]
        return Group(grid, *notes)
