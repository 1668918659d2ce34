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
        moment = self.look()
        return ["; ".join(part for part in (moving(moment), ", ".join(of_whole(moment))) if part)]

    def records(self) -> list[dict[str, Any]]:
        """All its numbers."""
        moment = self.look()
        record = {**asdict(moment), "counts": dict(moment.counts), "left": moment.left}
        return [{name: value for name, value in record.items() if name != "whole" or value is not None}]

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
        facts = (counted(moment.counts), pace(moment), of_whole(moment))
        notes = [remarks(each, width, style="dim") for each in facts if each]
        return Group(grid, *notes)


def of_whole(moment: Moment) -> list[str]:
    """How far all copies are: `4 copies: 5,210 done`, `3 maybe charged`, `32 with other copies`, `54,763 waiting`."""
    whole = moment.whole
    if whole is None:
        return []
    ends = {"done": whole.done, "refused": whole.refused, "failed": whole.failed, "uncertain": whole.uncertain}
    waiting = whole.free + (0 if moment.total is None else max(0, moment.total - whole.known))
    facts = [*counted(ends), *([f"{whole.held:,} with other copies"] if whole.held else [])]
    facts += [f"{waiting:,} waiting"] if waiting else []
    first, *others = facts or ["nothing yet"]
    return [f"{'all copies' if whole.copies == 1 else f'{whole.copies} copies'}: {first}", *others]
