"""Job files: lines of JSON or rows of CSV become edits, or a problem that names its line (pure)."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from attrs import fields, frozen

from asyncsdk.api import ImageRef
from asyncsdk.images.edit import ImageEdit

IGNORED = frozenset({"error", "status"})  # a file of failed jobs tells them; it is a job file all the same
_KNOWN = {a.name for a in fields(ImageEdit)} - {"line"}
_NUMBERS = {"n", "output_compression", "partial_images", "frame_count", "frame_duration_ms"}
_FLAGS = {"true": True, "false": False, "1": True, "0": False}
_PATHS = ("mask", "markup")


@frozen
class BadRow:
    """A row that is no edit: where it stands, and why."""

    line: int
    message: str


Row = ImageEdit | BadRow


def read_jobs(data: bytes, *, suffix: str, folder: Path, defaults: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of a job file in `folder`, to which its paths are relative. Raises ValueError for what is no text."""
    rows = _csv_rows if suffix == ".csv" else _json_rows
    for line, found in rows(_text(data)):
        yield found if isinstance(found, BadRow) else edit_of(found, line=line, folder=folder, defaults=defaults)


def edit_of(row: Mapping[str, Any], *, line: int, folder: Path, defaults: Mapping[str, Any]) -> Row:
    """One row as an edit, with `defaults` for what it leaves open."""
    unknown = [name for name in row if name not in _KNOWN | IGNORED]
    if unknown:
        near = get_close_matches(unknown[0], _KNOWN, 1)
        return BadRow(line, f"{unknown[0]!r} is no field of an edit{f'; is {near[0]!r} meant?' if near else '.'}")
    told = {**defaults, **{name: value for name, value in row.items() if name not in IGNORED and value is not None}}
    missing = [name for name in ("image", "prompt") if not told.get(name)]
    if missing:
        return BadRow(line, f"{missing[0]!r} is missing.")
    try:
        images = told["image"] if isinstance(told["image"], list) else [told["image"]]
        told["image"] = [_picture(image, folder) for image in images]
        told |= {name: _picture(told[name], folder) for name in _PATHS if name in row and name in told}
        if not isinstance(told.get("id", ""), str):
            told["id"] = str(told["id"])
        return ImageEdit(**told, line=line)
    except (TypeError, ValueError) as error:
        return BadRow(line, f"{str(error).removesuffix('.')}.")


def row_of(edit: ImageEdit, edit_id: str) -> dict[str, Any]:
    """An edit as a job line that means the same from any directory."""
    images = [_named(image) for image in edit.image]
    overlays = {name: _named(getattr(edit, name)) for name in _PATHS if getattr(edit, name) is not None}
    extra = {} if edit.extra is None else {"extra": dict(edit.extra)}
    return {"id": edit_id, "image": images[0] if len(images) == 1 else images, **overlays, **edit.options, **extra}


def _text(data: bytes) -> str:
    """UTF-8, or UTF-16 with a byte order mark, as some spreadsheets write it."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def _json_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any] | BadRow]]:
    for line, content in enumerate(text.split("\n"), 1):
        if not content.strip():
            continue
        try:
            row = json.loads(content)
        except (ValueError, RecursionError) as error:
            yield line, BadRow(line, f"it is no JSON: {error}.")
            continue
        yield line, row if isinstance(row, dict) else BadRow(line, "it is no JSON object.")


def _csv_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any] | BadRow]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if None in row:
                yield reader.line_num, BadRow(reader.line_num, "it has more cells than the header.")
                continue
            yield reader.line_num, {name: _cell(name, value) for name, value in row.items() if value}
    except csv.Error as error:
        yield reader.line_num, BadRow(reader.line_num, f"it is no CSV: {error}.")


def _cell(name: str, value: str) -> Any:
    if name == "image":
        return [part.strip() for part in value.split("|")] if "|" in value else value
    if name in _NUMBERS and value.strip().lstrip("-").isdecimal():
        return int(value)
    if name == "stream":
        return _FLAGS.get(value.strip().lower(), value)
    return json.loads(value) if name in {"svg", "extra"} and value.lstrip().startswith("{") else value


def _picture(given: Any, folder: Path) -> Path | ImageRef:
    if isinstance(given, Mapping):
        return ImageRef(**given)
    if not isinstance(given, str):
        raise TypeError(f"a picture is a path, or an object with a file_id or an image_url, not {given!r}")
    return folder / given


def _named(picture: Any) -> Any:
    if isinstance(picture, ImageRef):
        return {"file_id": picture.file_id} if picture.file_id else {"image_url": picture.image_url}
    return str(Path(picture).absolute())


def rows_of_pictures(named: Sequence[tuple[str, Path]], defaults: Mapping[str, Any]) -> Iterator[Row]:
    """One edit for each picture, named as given."""
    for number, (name, path) in enumerate(named, 1):
        if not defaults.get("prompt"):
            yield BadRow(number, f"{path} needs a prompt: --prompt TEXT.")
            continue
        yield ImageEdit(image=path, id=name, line=number, **defaults)
