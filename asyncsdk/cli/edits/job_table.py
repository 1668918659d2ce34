"""Tables as people and spreadsheets write them: which column is which field, and what a cell means (pure)."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from attrs import field, frozen

from asyncsdk.cli.edits.job_text import BadRow, NumberedRow, json_value, text_of
from asyncsdk.images.edit import EDIT_FIELDS

_FLAGS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_SEPARATORS = {".csv": ",;\t", ".tsv": "\t"}  # what spreadsheets write, depending on their locale
# Excel's own first line of a table, also with the empty cells that another spreadsheet adds to it
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w"\r\n])"?(?:\1|\s)*', re.IGNORECASE)
# 1,000 is a thousand to some and one to others: not a number here
_NUMBER = re.compile(r"-?\d{1,18}(\.\d+|,(?!\d{3}$)\d+)?", re.ASCII)
_UNNAMED = re.compile(r"unnamed: \d+", re.IGNORECASE)  # what pandas calls a column without a name, such as its index
_MISSING = frozenset({"", "nan", "<na>", "none"})  # what pandas writes for a missing value, as text too
_FORMULA_ERROR = re.compile(r"#(N/A|NV|NAME\?|REF!|VALUE!|DIV/0!|NUM!|NULL!)")
_AS_WRITTEN = frozenset(name for name, about in EDIT_FIELDS.items() if about.kind is not str) | {"prompt", "id"}
_WORDS_APART = re.compile(r"[\s-]+")

NumberedCells = tuple[int, list[str] | BadRow]

SURELY_MEANT = 0.75  # how like a field a column is that may be that field, misspelt: `maks`, `promt`
PERHAPS_MEANT = 0.65
_IN_A_PROGRAM = 0.6  # where each field is meant
_SHORTEST_MISSPELT = 3  # letters of a field: of `n` and `id` anything is a near miss


@frozen
class TableHeader:
    """The first row of a table: the field of each column, None for a column that is ignored, "" for one without a name.

    `ignored` has the names of those that are, as they are written, each with the field that it may mean. An index, as
    pandas writes it, is a first column without a name; it is ignored too.
    """

    fields: Sequence[str | None]
    ignored: Mapping[str, str | None] = field(factory=dict)
    has_index: bool = False


def table_rows(data: bytes, *, suffix: str, known: Collection[str]) -> Iterator[NumberedRow]:
    """The rows of a table. Raises ValueError for a header without a picture, or with a field that is misspelt."""
    header, rows = _opened(data, suffix, known)
    for line, cells in rows:
        if isinstance(cells, BadRow):
            yield line, cells
        elif any(cells[header.has_index :]):
            yield line, _row(header, cells, line)


def ignored_columns(data: bytes, *, suffix: str, known: Collection[str]) -> Mapping[str, str | None]:
    """The columns of a table that are ignored, each with the field that it may mean. Raises as `table_rows` does."""
    return _opened(data, suffix, known)[0].ignored


def near_field(name: str, fields: Iterable[str], cutoff: float = _IN_A_PROGRAM) -> str | None:
    """The one of `fields` that `name` may be, misspelt."""
    return next(iter(get_close_matches(name.lower(), list(fields), 1, cutoff)), None)


def _opened(data: bytes, suffix: str, known: Collection[str]) -> tuple[TableHeader, Iterator[NumberedCells]]:
    text = text_of(data, newline="")
    first = text.readline()
    match = _SEPARATOR_LINE.fullmatch(first)
    separator = match[1] if match else max(_SEPARATORS[suffix], key=first.count)
    above = 1 if match else 0
    if not match:
        text = text_of(data, newline="")
    rows = _cells(csv.reader(text, strict=True, delimiter=separator), above)
    line, cells = next(rows, (above + 1, []))
    if isinstance(cells, BadRow):
        raise ValueError(f"line {line}: {cells.message}")  # noqa: TRY004 - the file is bad, not the caller
    return _header([cell.strip() for cell in cells], line, known), rows


def _header(names: Sequence[str], line: int, known: Collection[str]) -> TableHeader:
    fields = [_field(name, known) for name in names]
    must = f"line {line} must name the columns, and"
    twice = next((name for name in fields if name and fields.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"line {line} names the column {twice!r} twice")
    missing = sorted(name for name in known if name in EDIT_FIELDS and name not in fields)
    others = [name for name, its in zip(names, fields, strict=True) if its is None and not _UNNAMED.fullmatch(name)]
    for name in others:
        meant = near_field(name, (each for each in missing if len(each) >= _SHORTEST_MISSPELT), SURELY_MEANT)
        if meant is not None:
            raise ValueError(
                f"{must} {name!r} is not a field of an edit; did you mean {meant!r}? If it is something else, rename it"
            )
    if "image" not in fields:
        raise ValueError(f"{must} 'image' is not among them{': ' if names else ''}{', '.join(map(repr, names))}")
    has_index = not names[0] or _UNNAMED.fullmatch(names[0]) is not None
    fields[0] = None if has_index else fields[0]
    return TableHeader(fields, {name: near_field(name, missing, PERHAPS_MEANT) for name in others}, has_index)


def _field(name: str, known: Collection[str]) -> str | None:
    """The field that a column is, in upper or lower case: `Output Format` is `output_format`."""
    plain = name.lower()
    return next((form for form in (plain, _WORDS_APART.sub("_", plain)) if form in known or not form), None)


def _cells(reader: Any, above: int) -> Iterator[NumberedCells]:
    """Each row with its first line; `above` are the lines that the reader did not get.

    Invalid CSV spoils that row alone, unless a quote in it is never closed.
    """
    while True:
        line = above + reader.line_num + 1
        try:
            yield line, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            last = above + reader.line_num
            lost = f" Nothing is read from here to line {last}." if last > line else ""
            yield line, BadRow(line, f"it is not valid CSV: {error}.{lost}")


def _row(header: TableHeader, cells: Sequence[str], line: int) -> Mapping[str, Any] | BadRow:
    named = list(zip(header.fields, cells, strict=False))
    if any(cells[len(header.fields) :]) or any(cell for name, cell in named if name == ""):
        return BadRow(line, "it has more cells than the header.")
    full = {name: cell for name, cell in named if name and cell.strip().lower() not in _MISSING}
    broken = next((name for name, cell in full.items() if _FORMULA_ERROR.fullmatch(cell.strip())), None)
    if broken is not None:
        failed = full[broken].strip()
        return BadRow(line, f"{broken!r} is {failed!r}, which a spreadsheet writes for a formula that failed.")
    return {name: _value(name, cell) for name, cell in full.items()}


def _value(name: str, cell: str) -> Any:
    plain = cell.strip()
    if name == "image" and plain.startswith(("[", "{")):
        return json_value(cell)
    if name == "image":
        return [part.strip() for part in cell.split("|")] if "|" in cell else cell
    kind = EDIT_FIELDS[name].kind if name in EDIT_FIELDS else str
    if kind is int and (match := _NUMBER.fullmatch(plain)):
        return float(plain.replace(",", ".")) if match[1] else int(plain)
    if kind is bool:
        return _FLAGS.get(plain.lower(), cell)
    if kind is Mapping:
        return json_value(cell)
    return cell if name in _AS_WRITTEN else plain
