"""Draws uploads as bars: a row for each, and a total if there are several."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from asyncsdk.cli import units
from asyncsdk.cli.output import printable
from asyncsdk.cli.uploads.messages import activity, pace
from asyncsdk.events import Progress, UploadPhase

MOST_ROWS, LONGEST_NAME = 8, 24
ROOM_FOR_PACE, ROOM_FOR_BYTES = 74, 48
BEFORE, NOW, ON_ITS_WAY, LEFT = (Style.parse(color) for color in ("blue", "green", "bright_black", "grey23"))
_FULL, _EMPTY = "━", "─"


def frame(rows: Mapping[str, Progress], total: tuple[str, Progress] | None, width: int) -> RenderableType:
    """What the terminal shows of these uploads, with their `total` below."""
    shown = list(rows.items())[:MOST_ROWS]
    notes = [note(progress) for _, progress in shown if is_worth_a_line(progress)]
    if total is not None:
        shown.append(total)
    return Group(table(shown, width), *notes) if shown else Group()


@define
class Bar:
    """The bytes of one upload: from earlier runs, from this one, in flight, and left."""

    progress: Progress

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for style, cells in cut(self.progress, options.max_width):
            yield Segment((_EMPTY if style is LEFT else _FULL) * cells, style)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(8, options.max_width)


def cut(progress: Progress, width: int) -> list[tuple[Style, int]]:
    """How many of `width` cells each kind of bytes takes; the last cell is filled only when all bytes are there."""
    before = progress.bytes_resumed
    done = progress.bytes_hashed if progress.state is UploadPhase.CHECKING else progress.bytes_done
    edges = [before, max(before, done), max(before, done) + progress.bytes_in_flight, progress.bytes_total]
    cells = [min(width, edge * width // progress.bytes_total) for edge in edges]
    starts = [0, *cells[:-1]]
    styles = (BEFORE, NOW, ON_ITS_WAY, LEFT)
    return [(style, max(0, end - start)) for style, start, end in zip(styles, starts, cells, strict=True)]


def table(rows: list[tuple[str, Progress]], width: int) -> Table:
    """A row for each upload: name, bar, percent, bytes, rate; the last columns only if there is room."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.width = width
    columns = 5 if width >= ROOM_FOR_PACE else 4 if width >= ROOM_FOR_BYTES else 3
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=min(LONGEST_NAME, width // 3))
    grid.add_column(ratio=1, min_width=8)
    grid.add_column(justify="right", no_wrap=True, width=4)
    for min_width in (None, 22)[: columns - 3]:
        grid.add_column(justify="right", no_wrap=True, overflow="ellipsis", min_width=min_width)
    for name, progress in rows:
        grid.add_row(*cells(name, progress)[:columns])
    return grid


def cells(name: str, progress: Progress) -> list[RenderableType]:
    """The cells of a row, the most important first."""
    moved = min(progress.bytes_done + progress.bytes_in_flight, progress.bytes_total)
    return [
        Text(tail(printable(name), LONGEST_NAME)),
        Bar(progress),
        Text(units.percent(moved, progress.bytes_total), style="bold"),
        Text(units.part_of(moved, progress.bytes_total)),
        Text(remark(progress), style="bright_black"),
    ]


def tail(name: str, length: int) -> str:
    """The end of a name: the part in which paths differ."""
    return name if len(name) <= length else f"…{name[1 - length :]}"


def remark(progress: Progress) -> str:
    """A few words at the end of a row."""
    words = pace(progress)
    if not words and progress.state is not UploadPhase.SENDING:
        words = [str(progress.state)]
    if progress.state is UploadPhase.SENDING and progress.bytes_resumed and not words:
        words = [f"resumed {units.size(progress.bytes_resumed)}"]
    return ", ".join(words)


def is_worth_a_line(progress: Progress) -> bool:
    """Whether its note matters: why it waits, or why it began again. What was resumed is in the bar."""
    if progress.state in {UploadPhase.RETRYING, UploadPhase.WAITING}:
        return True
    return progress.state is UploadPhase.SENDING and bool(progress.note) and not progress.bytes_resumed


def note(progress: Progress) -> Text:
    """The note of an upload, on its own line."""
    return Text(f"  {printable(activity(progress))}", style="yellow", no_wrap=True, overflow="ellipsis")
