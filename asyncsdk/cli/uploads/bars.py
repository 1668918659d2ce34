"""Draws uploads as bars: a row for each, and a total if there are several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from attrs import define
from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from asyncsdk.cli import units
from asyncsdk.cli.display import remarks
from asyncsdk.cli.output import printable
from asyncsdk.cli.uploads.messages import activity, pace, share
from asyncsdk.events import Progress, UploadPhase

MOST_ROWS, USUAL_NAME = 8, 24
Column = Literal["bar", "percent", "bytes", "pace", "connections"]
NAME = 12  # cells that a name needs at least
CELLS: dict[Column, int] = {"bar": 8, "percent": 4, "bytes": 16, "pace": 26, "connections": 15}
LAYOUTS: tuple[tuple[Column, ...], ...] = (  # the first that fits: the rate and the time left stay, and the bar goes
    ("bar", "percent", "bytes", "pace", "connections"),
    ("bar", "percent", "bytes", "pace"),
    ("percent", "bytes", "pace"),
    ("percent", "pace"),
    ("percent", "bytes"),
    ("percent",),
)
# greys that are seen on light and on dark, which bright_black and the darkest are not
BEFORE, NOW, ON_ITS_WAY, LEFT = (Style.parse(color) for color in ("blue", "green", "grey62", "grey46"))
_FULL, _EMPTY = "━", "─"


def frame(rows: Mapping[str, Progress], total: tuple[str, Progress] | None, width: int) -> RenderableType:
    """What the terminal shows of these uploads, with their `total` below."""
    shown = list(rows.items())[:MOST_ROWS]
    notes = [note(progress, width) for _, progress in shown if is_worth_a_line(progress)]
    if total is not None:
        shown.append(total)
        if total[1].held_by_others:
            notes.append(note(total[1], width))
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
    is_checked = progress.state is UploadPhase.CHECKING
    before = 0 if is_checked else progress.bytes_resumed
    done = progress.bytes_hashed if is_checked else progress.bytes_done
    edges = [before, max(before, done), max(before, done) + progress.bytes_in_flight, progress.bytes_total]
    cells = [min(width, edge * width // progress.bytes_total) for edge in edges]
    starts = [0, *cells[:-1]]
    styles = (BEFORE, NOW, ON_ITS_WAY, LEFT)
    return [(style, max(0, end - start)) for style, start, end in zip(styles, starts, cells, strict=True)]


def fitting(width: int) -> Sequence[Column]:
    """The columns that `width` cells have room for besides the name."""
    for columns in LAYOUTS:
        name = USUAL_NAME if "connections" in columns else NAME  # what is only good to know takes no room from a name
        if needed(columns) <= width - name:
            return columns
    return LAYOUTS[-1]


def needed(columns: Iterable[Column]) -> int:
    """How many cells these columns take, each with the gap before it."""
    return sum(CELLS[column] + 1 for column in columns)


def table(rows: list[tuple[str, Progress]], width: int) -> Table:
    """A row for each upload: name, bar, percent, bytes, pace; those there is room for.

    The last one, the total or the only one, also has the connections: all uploads share them.
    """
    columns = fitting(width)
    fixed = CELLS | {"bytes": max(len(units.part_of(row.bytes_total, row.bytes_total)) for _, row in rows)}
    left = width - sum(fixed[column] + 1 for column in columns)
    longest = max(cell_len(printable(name)) for name, _ in rows)
    room = min(left, longest, max(USUAL_NAME, width // 4)) if "bar" in columns else left
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    grid.width = width
    grid.add_column(no_wrap=True, width=room)
    for column in columns:
        if column == "bar":
            grid.add_column(ratio=1, min_width=fixed[column])
        else:
            grid.add_column(justify="right", no_wrap=True, width=fixed[column])
    for name, progress in rows:
        cells: dict[Column, RenderableType] = {"bar": Bar(progress), "connections": Text(), **texts(progress)}
        if progress is rows[-1][1]:
            cells["connections"] = Text(connections(progress))
        grid.add_row(Text(shortened(printable(name), room)), *(cells[column] for column in columns))
    return grid


def texts(progress: Progress) -> dict[Column, Text]:
    """The cells of a row besides its name and its bar."""
    part, percent = share(progress)
    return {"percent": Text(percent, style="bold"), "bytes": Text(part), "pace": Text(remark(progress))}


def shortened(name: str, cells: int) -> str:
    """A name in at most that many cells: its middle goes, since files differ at both ends, the last most of all."""
    if cell_len(name) <= cells:
        return name
    head = chop_cells(name, max(1, (cells - 1) // 3))[0]
    tail = chop_cells(name[::-1], max(1, cells - 1 - cell_len(head)))[0][::-1]
    return f"{head}…{tail}"


def remark(progress: Progress) -> str:
    """A few words at the end of a row."""
    words = pace(progress)
    if progress.silent_for:
        words = [activity(progress)]
    elif not words and progress.state is not UploadPhase.SENDING:
        words = [str(progress.state)]
    elif not words and progress.bytes_resumed:
        words = [f"resumed {units.size(progress.bytes_resumed)}"]
    text = ", ".join(words)
    return text if len(text) <= CELLS["pace"] else words[0]  # a word that is cut off is none


def connections(progress: Progress) -> str:
    """`16 connections`: over how many it is sent now; '' while it is not sent."""
    number = min(progress.parts_in_flight, progress.connections)
    return units.counted(number, "connection") if progress.state is UploadPhase.SENDING and number else ""


def is_worth_a_line(progress: Progress) -> bool:
    """Whether its note matters: why it waits, or why it began again. What was resumed is in the bar."""
    if progress.state in {UploadPhase.RETRYING, UploadPhase.WAITING}:
        return True
    return progress.state is UploadPhase.SENDING and bool(progress.note) and not progress.bytes_resumed


def note(progress: Progress, width: int) -> RenderableType:
    """The note of an upload, on its own line."""
    return remarks([printable(activity(progress))], width, style="yellow")
