"""Job files: parses text into rows and rows into edits, and writes an edit as a row (pure)."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TextIO

from attrs import frozen

from asyncsdk.api import ImageFile, ImageRef
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.edit import EDIT_FIELDS, ImageEdit

TABLES = frozenset({".csv", ".tsv"})
JOB_FILES = TABLES | {".jsonl", ".ndjson", ".json"}
_FLAGS = {"true": True, "false": False, "1": True, "0": False}
_SEPARATORS = ",;\t"  # what spreadsheets write, depending on their locale
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w"\r\n])"?[\r\n]*', re.IGNORECASE)  # Excel's own first line of a table
_NUMBER = re.compile(r"-?\d{1,18}(\.\d+)?", re.ASCII)
_SPACE = re.compile(r"\s*")

_SAVE_AS_CSV = "save it as CSV UTF-8 and give that file"
_CONVERT = "write it as JSON lines (.jsonl) or CSV and give that file"
_UNPACK = "unpack it and give the file within"
_FOREIGN_SUFFIXES = {
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".numbers"), ("a spreadsheet", _SAVE_AS_CSV)),
    **dict.fromkeys((".parquet", ".feather", ".arrow", ".pkl", ".yaml", ".yml", ".xml"), ("a data file", _CONVERT)),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".tar", ".tgz"), ("an archive", _UNPACK)),
    ".txt": ("a text file", "name it .csv if it is a table, or .jsonl if each line of it is a JSON object"),
}
_FOREIGN_CONTENT = {
    b"PK\x03\x04": ("a spreadsheet or an archive", _SAVE_AS_CSV),
    b"\xd0\xcf\x11\xe0": ("a spreadsheet", _SAVE_AS_CSV),
    b"PAR1": ("a data file", _CONVERT),
    b"\x1f\x8b": ("an archive", _UNPACK),
}


@frozen
class BadRow:
    """A row that is not an edit: its line, and why."""

    line: int
    message: str


NumberedRow = tuple[int, Mapping[str, Any] | BadRow]


def foreign_file(suffix: str) -> str | None:
    """What a file that ends with `suffix` is, and how to convert it; None for a job file or an unknown suffix."""
    return _instead(_FOREIGN_SUFFIXES.get(suffix))


def rows_of_text(data: bytes, *, suffix: str, known: Collection[str]) -> Iterator[NumberedRow]:
    """The rows of a file that ends with `suffix`; `known` are the columns that it may have.

    Raises ValueError for a file that can't be read: not text, or a header without a picture or with an unknown column.
    """
    foreign = next((file for start, file in _FOREIGN_CONTENT.items() if data.startswith(start)), None)
    if foreign is not None:
        raise ValueError(_instead(foreign))
    try:
        if suffix in TABLES:
            yield from _table_rows(data, known, separators="\t" if suffix == ".tsv" else _SEPARATORS)
        elif suffix == ".json":
            yield from _document_rows(data)
        else:
            yield from _json_rows(data)
    except UnicodeDecodeError as error:
        raise ValueError(
            "it is not text in UTF-8, or in UTF-16 with a byte order mark: save it as UTF-8 (in Excel: CSV UTF-8)"
        ) from error


def text_of(data: bytes, *, newline: str) -> TextIO:
    """UTF-8, or UTF-16 with a byte order mark, as some spreadsheets write it; decoded as it is read."""
    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return io.TextIOWrapper(io.BytesIO(data), "utf-16" if is_wide else "utf-8-sig", newline=newline)


def unknown_field(name: str, known: Collection[str]) -> str:
    """The message for a field that edits don't have."""
    near = get_close_matches(name.lower(), known, 1)
    return f"{name!r} is not a field of an edit{f'; did you mean {near[0]!r}?' if near else '.'}"


def _instead(foreign: tuple[str, str] | None) -> str | None:
    return None if foreign is None else f"it is {foreign[0]}, not a job file: {foreign[1]}"


def _json_rows(data: bytes) -> Iterator[NumberedRow]:
    """One object a line."""
    for line, content in enumerate(text_of(data, newline="\n"), 1):
        if not content.strip():
            continue
        try:
            row = _DECODER.decode(content)
        except (ValueError, RecursionError) as error:
            yield line, BadRow(line, f"it is not valid JSON: {error}.")
            continue
        yield line, _object(row, line)


def _document_rows(data: bytes) -> Iterator[NumberedRow]:
    """A list of objects, each with the line where it begins; a file that is not a list has one object a line."""
    text = text_of(data, newline="\n").read()
    position = _after_space(text, 0)
    line, counted, mark = 1, 0, text[position : position + 1]
    if mark != "[":
        yield from _json_rows(data)
        return
    while mark in {"[", ","}:
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


def _table_rows(data: bytes, known: Collection[str], *, separators: str) -> Iterator[NumberedRow]:
    text = text_of(data, newline="")
    first = text.readline()
    match = _SEPARATOR_LINE.fullmatch(first)
    separator = match[1] if match else max(separators, key=first.count)
    above = 1 if match else 0
    if not match:
        text = text_of(data, newline="")
    rows = _cells(csv.reader(text, strict=True, delimiter=separator), above)
    line, header = next(rows, (above + 1, []))
    if isinstance(header, BadRow):
        raise ValueError(f"line {line}: {header.message}")  # noqa: TRY004 - the file is bad, not the caller
    names = [name.strip() for name in header]
    _check_header(names, line, known)
    for line, cells in rows:
        if isinstance(cells, BadRow):
            yield line, cells
        elif any(cells[len(names) :]) or any(cell and not name for name, cell in zip(names, cells, strict=False)):
            yield line, BadRow(line, "it has more cells than the header.")
        elif any(cells):
            yield line, {name: _value(name, cell) for name, cell in zip(names, cells, strict=False) if cell}


def _check_header(names: list[str], line: int, known: Collection[str]) -> None:
    for name in names:
        if name and name not in known:
            raise ValueError(f"line {line} must name the columns, and {unknown_field(name, known)}")
        if name and names.count(name) > 1:
            raise ValueError(f"line {line} names the column {name!r} twice")
    if "image" not in names:
        raise ValueError(f"line {line} must name the columns, and 'image' is not among them")


def _cells(reader: Any, above: int) -> Iterator[tuple[int, list[str] | BadRow]]:
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


def _value(name: str, cell: str) -> Any:
    plain = cell.strip()
    if name == "image" and plain.startswith(("[", "{")):
        return _json(cell)
    if name == "image":
        return [part.strip() for part in cell.split("|")] if "|" in cell else cell
    kind = EDIT_FIELDS[name].kind if name in EDIT_FIELDS else str
    if kind is int and (match := _NUMBER.fullmatch(plain)):
        return float(plain) if match[1] else int(plain)
    if kind is bool:
        return _FLAGS.get(plain.lower(), cell)
    return _json(cell) if kind is Mapping else cell


def _json(cell: str) -> Any:
    """The value of a cell that looks like JSON; what is not JSON stays text, and is refused as such."""
    try:
        return _DECODER.decode(cell)
    except (ValueError, RecursionError):
        return cell


IGNORED = frozenset({"status", "error"})  # what `failed.jsonl` has besides the fields of an edit
KNOWN = IGNORED.union(name for name, about in EDIT_FIELDS.items() if about.in_job_file)
_OVERLAYS = tuple(name for name, about in EDIT_FIELDS.items() if about.kind is ImageFile and name != "image")
_JSON_TYPES: dict[type, tuple[type, str]] = {
    int: (int, "a whole number"),
    Mapping: (dict, "an object"),
    bool: (bool, "true or false"),
    str: (str, "text"),
}
_ELSEWHERE = ("http://", "https://", "data:")

Row = ImageEdit | BadRow


def read_jobs(data: bytes, *, suffix: str, folder: Path, defaults: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of a job file in `folder`, to which its paths are relative. Raises ValueError for any other file.

    `defaults` are the fields of rows that do not have them.
    """
    for line, row in rows_of_text(data, suffix=suffix, known=KNOWN):
        yield row if isinstance(row, BadRow) else edit_of(row, line=line, folder=folder, defaults=defaults)


def edit_of(row: Mapping[str, Any], *, line: int, folder: Path, defaults: Mapping[str, Any]) -> Row:
    """One row as an edit, or what is wrong with it."""
    own = {name: _as_meant(name, value) for name, value in row.items() if name not in IGNORED and value is not None}
    fields = {**defaults, **own}
    problem = _problem(own, fields)
    if problem is not None:
        return BadRow(line, problem)
    images = fields["image"] if isinstance(fields["image"], list) else [fields["image"]]
    try:
        fields["image"] = [_picture(image, folder) for image in images]
        fields |= {name: _picture(own[name], folder) for name in _OVERLAYS if name in own}
    except (TypeError, ConfigurationError) as error:
        return BadRow(line, f"{str(error).removesuffix(' Nothing was sent.').removesuffix('.')}.")
    if "id" in fields:
        fields["id"] = str(fields["id"])
    return ImageEdit(**fields, line=line)


def row_of(edit: ImageEdit, edit_id: str) -> dict[str, Any]:
    """An edit as a job line that means the same in any directory."""
    images = [_named(image) for image in edit.image]
    overlays = {name: _named(getattr(edit, name)) for name in _OVERLAYS if getattr(edit, name) is not None}
    extra = {} if edit.extra is None else {"extra": dict(edit.extra)}
    return {"id": edit_id, "image": images[0] if len(images) == 1 else images, **overlays, **edit.options, **extra}


def rows_of_pictures(named: Sequence[tuple[str, Path]], defaults: Mapping[str, Any]) -> Iterator[Row]:
    """One edit for each picture, named as given; `defaults` have the prompt."""
    for name, path in named:
        yield ImageEdit(image=path, name=name, **defaults)


def _problem(own: Mapping[str, Any], fields: Mapping[str, Any]) -> str | None:
    unknown = next((name for name in own if name not in KNOWN), None)
    if unknown is not None:
        return unknown_field(unknown, KNOWN - IGNORED)
    missing = next((name for name in ("image", "prompt") if not fields.get(name)), None)
    if missing is not None:
        return f"{missing!r} is missing."
    return next((problem for name, value in own.items() if (problem := _misfit(name, value))), None)


def _as_meant(name: str, value: Any) -> Any:
    """2.0 as 2: pandas writes such numbers in a column with a missing value."""
    is_whole = name == "id" or (name in EDIT_FIELDS and EDIT_FIELDS[name].kind is int)
    return int(value) if is_whole and isinstance(value, float) and value.is_integer() else value


def _misfit(name: str, value: Any) -> str | None:
    """What is wrong with the type of a field's value. Pictures are checked by `_picture`."""
    if name in {"image", *_OVERLAYS}:
        return None
    kind, word = _JSON_TYPES[EDIT_FIELDS[name].kind]
    if type(value) is not kind and not (name == "id" and type(value) is int):
        return f"{name!r} is {value!r}, which is not {word}."
    if isinstance(value, str) and name != "id" and not _is_text(value):  # files may have names that are not text
        return f"{name!r} contains half a character, which is not text."
    return None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _picture(value: Any, folder: Path) -> Path | ImageRef:
    if isinstance(value, Mapping) and set(value) <= {"file_id", "image_url"}:
        return ImageRef(**value)
    if not isinstance(value, str) or not value:
        raise TypeError(f"a picture is a path, or an object with a file_id or an image_url, not {value!r}")
    if value.startswith(_ELSEWHERE):
        raise TypeError(f'a picture on the web is written as {{"image_url": "{value[:60]}"}}')
    return folder / value


def _named(picture: Any) -> Any:
    if isinstance(picture, ImageRef):
        return {"file_id": picture.file_id} if picture.file_id else {"image_url": picture.image_url}
    return str(Path(picture).absolute())
