"""`asyncsdk prices`: what models cost, by which documents, and how old that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from asyncsdk.cli import units
from asyncsdk.cli.exits import Exit
from asyncsdk.cli.options import Output
from asyncsdk.cli.output import Out, complain

if TYPE_CHECKING:
    from asyncsdk.images.costs.prices import ModelPrice

PricesFile = Annotated[
    str | None, Parameter(metavar="FILE", help="A table of your own, in the form that --json prints.")
]
_COLUMNS = ("model", "text in", "cached", "image in", "cached", "image out", "text out", "batch")


async def prices(*, prices: PricesFile = None, output: Output = Output()) -> int:  # noqa: B008 - frozen
    """Print the table, in dollars for a million tokens."""
    from asyncsdk.images.costs.table import prices_from, today

    table = await prices_from(prices)
    age = table.age(today())
    if warning := table.warning(today()):
        complain(f"warning: {warning}")
    rows = [_COLUMNS, *(_row(name, table.models[name]) for name in table.entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    when = "today" if age == 0 else f"{units.counted(age, 'day')} ago"
    lines.append(f"Dollars for a million tokens, by {table.origin}, read on {table.read} ({when}).")
    lines += dict.fromkeys(f"  {source}" for price in table.models.values() for source in price.sources)
    Out(output).result("\n".join(lines), record={"models": dict(table.entries)}, name=None)
    return Exit.DONE


def _row(name: str, price: ModelPrice) -> tuple[str, ...]:
    from asyncsdk.images.costs.money import NANOS
    from asyncsdk.images.costs.prices import PER_TOKENS

    text, image = price.text, price.image
    rates = (text.input, text.cached, image.input, image.cached, image.output, text.output)
    batch = "not known" if price.batch is None else f"x {price.batch:g}"
    return (name, *("-" if rate is None else f"{rate * PER_TOKENS / NANOS:.2f}" for rate in rates), batch)
