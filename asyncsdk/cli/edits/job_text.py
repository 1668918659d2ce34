"""The text of job files as numbered rows of JSON values (pure)."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, TextIO

from attrs import frozen

EVERY = slice(0, None)
_SPACE = re.compile(r"\s*")


@frozen
class BadRow:
    """A row that is not an edit: its line, and why."""

    line: int
    message: str


NumberedRow = tuple[int, Mapping[str, Any] | BadRow]


def text_of(data: bytes, *, newline: str) -> TextIO:
    """UTF-8, or UTF-16 with a byte order mark, as some spreadsheets write it; decoded as it is read."""
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return io.TextIOWrapper(io.BytesIO(data), "utf-16" if is_wide else "utf-8-sig", newline=newline)


def json_rows(data: bytes, part: slice = EVERY) -> Iterator[NumberedRow]:
    """One object a line; of those before a `part` nothing but that they are there is looked at."""
    lines = ((line, content) for line, content in enumerate(text_of(data, newline="\n"), 1) if not content.isspace())
    for line, content in islice(lines, part.start, part.stop):
        try:
            row = _DECODER.decode(content)
        except (ValueError, RecursionError) as error:
            yield line, BadRow(line, f"it is not valid JSON: {error}.")
            continue
        yield line, _object(row, line)


def document_rows(data: bytes) -> Iterator[NumberedRow]:
    """A list of objects, each with the line where it begins; a file that is not a list has one object a line.

    Of a list that is all on one line, each has its number in the list.
    """
    text = text_of(data, newline="\n").read()
    position = _after_space(text, 0)
    line, counted, mark = 1, 0, text[position : position + 1]
    if mark != "[":
        yield from json_rows(data)
        return
    numbers_elements = "\n" not in text.strip()
    while mark in {"[", ","}:
        line += numbers_elements and mark == ","
        position = _after_space(text, position + 1)
        line, counted = line + text.count("\n", counted, position), position
        if text.startswith("]", position):
            break
        try:
            row, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            yield line, BadRow(line, f"it is not valid JSON: {error}. Nothing is read from here on.")
            return
        yield line, _object(row, line)
        position = _after_space(text, end)
        mark = text[position : position + 1]
    if text[position:].strip() != "]":
        line += text.count("\n", counted, position)
        yield (
            line,
            BadRow(line, "the list should continue with ',' or end with ']'. Nothing is read from here on."),
        )


def json_value(text: str) -> Any:
    """The value of a text that looks like JSON; what is not JSON stays text, and is refused as such."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return text


def _object(row: object, line: int) -> Mapping[str, Any] | BadRow:
    return row if isinstance(row, dict) else BadRow(line, "it is not a JSON object.")


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return position if match is None else match.end()


def _constant(name: str) -> None:
    """Pandas writes a missing value as NaN; its infinities are not valid here."""
    if name != "NaN":
        raise ValueError(f"{name} is not a value")


_DECODER = json.JSONDecoder(parse_constant=_constant)
