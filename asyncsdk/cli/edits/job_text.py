"""What a job file holds (pure): lines of JSON or rows of CSV, each with the number of the line where it begins."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, TextIO

from attrs import frozen

CELLS_ARE_WHOLE = frozenset({"n", "output_compression", "partial_images", "frame_count", "frame_duration_ms"})
CELLS_ARE_JSON = frozenset({"svg", "extra"})
_FLAGS = {"true": True, "false": False, "1": True, "0": False}
_SEPARATORS = ",;\t"  # what spreadsheets write, by their country and their mood


@frozen
class BadRow:
    """A row that is no edit: where it stands, and why."""

    line: int
    message: str


NumberedRow = tuple[int, Mapping[str, Any] | BadRow]


def rows_of_text(data: bytes, *, suffix: str, known: Collection[str]) -> Iterator[NumberedRow]:
    """The rows of a file that ends with `suffix`, whose columns may be `known`.

    Raises ValueError for what can't be read at all: no text, or a header that names no picture or an unknown column.
    """
    try:
        yield from _csv_rows(data, known) if suffix == ".csv" else _json_rows(data)
    except UnicodeDecodeError as error:
        raise ValueError("it is no text in UTF-8, nor in UTF-16 with a byte order mark") from error


def text_of(data: bytes, *, newline: str) -> TextIO:
    """UTF-8, or UTF-16 with a byte order mark, as some spreadsheets write it; decoded as it is read."""
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return io.TextIOWrapper(io.BytesIO(data), "utf-16" if is_wide else "utf-8-sig", newline=newline)


def unknown_field(name: str, known: Collection[str]) -> str:
    """What is to be said of a field that no edit has."""
    near = get_close_matches(name.lower(), known, 1)
    return f"{name!r} is no field of an edit{f'; is {near[0]!r} meant?' if near else '.'}"


def _json_rows(data: bytes) -> Iterator[NumberedRow]:
    for line, content in enumerate(text_of(data, newline="\n"), 1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except (ValueError, RecursionError) as error:
            yield line, BadRow(line, f"it is no JSON: {error}.")
            continue
        yield line, row if isinstance(row, dict) else BadRow(line, "it is no JSON object.")


def _csv_rows(data: bytes, known: Collection[str]) -> Iterator[NumberedRow]:
    separator = max(_SEPARATORS, key=text_of(data, newline="\n").readline().count)
    reader = csv.reader(text_of(data, newline=""), strict=True, delimiter=separator)
    _, header = next(_cells(reader), (1, []))
    if isinstance(header, BadRow):
        raise ValueError(f"line 1: {header.message}")  # noqa: TRY004 - the file is bad, not the caller
    names = [name.strip() for name in header]
    _check_header(names, known)
    for line, cells in _cells(reader):
        if isinstance(cells, BadRow):
            yield line, cells
        elif any(cells[len(names) :]) or any(cell and not name for name, cell in zip(names, cells, strict=False)):
            yield line, BadRow(line, "it has more cells than the header.")
        elif any(cells):
            yield line, {name: _value(name, cell) for name, cell in zip(names, cells, strict=False) if cell}


def _check_header(names: list[str], known: Collection[str]) -> None:
    for name in names:
        if name and name not in known:
            raise ValueError(f"line 1 has to name the columns, and {unknown_field(name, known)}")
        if name and names.count(name) > 1:
            raise ValueError(f"line 1 names the column {name!r} twice")
    if "image" not in names:
        raise ValueError("line 1 has to name the columns, and 'image' is not among them")


def _cells(reader: Any) -> Iterator[tuple[int, list[str] | BadRow]]:
    """Each row with its first line. What is no CSV costs that row alone, unless a quote of it is never closed."""
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lost = f" Nothing is read from here to line {reader.line_num}." if reader.line_num > line else ""
            yield line, BadRow(line, f"it is no CSV: {error}.{lost}")


def _value(name: str, cell: str) -> Any:
    plain = cell.strip()
    if name == "image" and plain.startswith(("[", "{")):
        return _json(cell)
    if name == "image":
        return [part.strip() for part in cell.split("|")] if "|" in cell else cell
    if name in CELLS_ARE_WHOLE and plain.removeprefix("-").isdecimal():
        return int(plain)
    if name == "stream":
        return _FLAGS.get(plain.lower(), cell)
    return _json(cell) if name in CELLS_ARE_JSON else cell


def _json(cell: str) -> Any:
    """A cell that looks like JSON; if it is none it stays text, and is told of as such."""
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell
