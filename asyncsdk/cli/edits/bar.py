"""The progress of a run of edits: as a line, a JSON object, or a bar with the counts below it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

from asyncsdk.cli.display import remarks
from asyncsdk.cli.edits.batches import batch_lines, facts, more_like_these, shown
from asyncsdk.cli.edits.moment import Moment, counted, moving, pace

if TYPE_CHECKING:
    from rich.console import RenderableType

    from asyncsdk.images.batch.progress import BatchProgress

DONE, LEFT = "green", "grey46"  # seen on light and on dark, as those of uploads are


@frozen
class RunView:
    """`look` takes the numbers that are shown."""

    look: Callable[[], Moment]

    def lines(self) -> list[str]:
        """The run on a line, with how far all copies are, and a line for each batch under way."""
        moment = self.look()
        run = "; ".join(part for part in (moving(moment), ", ".join(of_whole(moment))) if part)
        return [run, *batch_lines(moment.batches or (), now=time.time())]

    def records(self) -> list[dict[str, Any]]:
        """All its numbers, and those of each batch."""
        moment = self.look()
        without = {"batches_left", "last_end", *(() if moment.batches is not None else ("batches", "taken"))}
        without |= set() if moment.whole is not None else {"whole"}
        fields = asdict(moment, filter=lambda attribute, _: attribute.name not in without)
        return [{**fields, "counts": dict(moment.counts), "left": moment.left}]

    def frame(self, width: int) -> RenderableType:
        """The bar and its numbers, how edits ended, the pace, then a bar for each batch under way."""
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
        notes = (counted(moment.counts), pace(moment), of_whole(moment))
        below = [remarks(each, width, style="dim") for each in notes if each]
        return Group(grid, *below, *_frames(moment.batches or (), width))


def of_whole(moment: Moment) -> list[str]:
    """How far all copies are: `4 copies: 5,210 done`, `3 uncertain`, `32 with other copies`, `54,763 waiting`.

    Edits in batches are nobody's: whichever copy sees their batch end records them.
    """
    whole = moment.whole
    if whole is None:
        return []
    ends = {"done": whole.done, "refused": whole.refused, "failed": whole.failed, "uncertain": whole.uncertain}
    ends |= {"batched": whole.batched}
    waiting = whole.free + (0 if moment.total is None else max(0, moment.total - whole.known))
    known = [*counted(ends), *([f"{whole.held:,} with other copies"] if whole.held else [])]
    known += [f"{waiting:,} waiting"] if waiting else []
    first, *others = known or ["nothing yet"]
    return [f"{'all copies' if whole.copies == 1 else f'{whole.copies} copies'}: {first}", *others]


def _frames(batches: Sequence[BatchProgress], width: int) -> Iterator[RenderableType]:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    first, more = shown(batches)
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.width = width
    names = [f"batch {batch.number}" for batch in first]
    grid.add_column(min_width=max(map(len, names), default=0))
    grid.add_column(ratio=1, min_width=8)
    grid.add_column(justify="right", no_wrap=True, overflow="ellipsis", max_width=width * 2 // 3)
    for name, batch in zip(names, first, strict=True):
        done = batch.recorded if batch.step == "reading" else batch.completed + batch.failed
        bar = ProgressBar(total=batch.edits or 1, completed=done, style=LEFT, complete_style=DONE)
        said = Text(", ".join(facts(batch, now=time.time())), style="dim")
        grid.add_row(Text(name, style="dim"), bar, said)
    if first:
        yield grid
    if more:
        yield remarks([more_like_these(more)], width, style="dim")
