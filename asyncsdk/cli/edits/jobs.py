"""A job as a row of a job file and as an edit, in both directions (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import fields

from asyncsdk.api import ImageRef
from asyncsdk.cli.edits.job_text import CELLS_ARE_JSON, CELLS_ARE_WHOLE, BadRow, rows_of_text, unknown_field
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.edit import ImageEdit

TOLD = frozenset({"status", "error"})  # what a file of failed jobs tells beside; it is a job file all the same
KNOWN = frozenset({a.name for a in fields(ImageEdit)} - {"name", "line"}) | TOLD
_OVERLAYS = ("mask", "markup")
_ELSEWHERE = ("http://", "https://", "data:")

Row = ImageEdit | BadRow


def read_jobs(data: bytes, *, suffix: str, folder: Path, defaults: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of a job file in `folder`, to which its paths are relative. Raises ValueError for what is no such file.

    `defaults` are the fields of rows that leave them open.
    """
    for line, found in rows_of_text(data, suffix=suffix, known=KNOWN):
        yield found if isinstance(found, BadRow) else edit_of(found, line=line, folder=folder, defaults=defaults)


def edit_of(row: Mapping[str, Any], *, line: int, folder: Path, defaults: Mapping[str, Any]) -> Row:
    """One row as an edit, or what is wrong with it."""
    own = {name: _as_meant(name, value) for name, value in row.items() if name not in TOLD and value is not None}
    told = {**defaults, **own}
    problem = _problem(own, told)
    if problem is not None:
        return BadRow(line, problem)
    images = told["image"] if isinstance(told["image"], list) else [told["image"]]
    try:
        told["image"] = [_picture(image, folder) for image in images]
        told |= {name: _picture(own[name], folder) for name in _OVERLAYS if name in own}
    except (TypeError, ConfigurationError) as error:
        return BadRow(line, f"{str(error).removesuffix(' Nothing was sent.').removesuffix('.')}.")
    if "id" in told:
        told["id"] = str(told["id"])
    return ImageEdit(**told, line=line)


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


def _problem(own: Mapping[str, Any], told: Mapping[str, Any]) -> str | None:
    unknown = next((name for name in own if name not in KNOWN), None)
    if unknown is not None:
        return unknown_field(unknown, KNOWN - TOLD)
    missing = next((name for name in ("image", "prompt") if not told.get(name)), None)
    if missing is not None:
        return f"{missing!r} is missing."
    return next((problem for name, value in own.items() if (problem := _misfit(name, value))), None)


def _as_meant(name: str, value: Any) -> Any:
    """2.0 as 2: pandas makes such numbers of a column in which one is missing."""
    is_whole = name in CELLS_ARE_WHOLE or name == "id"
    return int(value) if is_whole and isinstance(value, float) and value.is_integer() else value


def _misfit(name: str, value: Any) -> str | None:
    """What is wrong with the kind of a field's value. Pictures are looked at by `_picture`."""
    if name in {"image", *_OVERLAYS}:
        return None
    kinds, word = _kinds_of(name)
    if type(value) not in kinds:
        return f"{name!r} is {value!r}, which is not {word}."
    if isinstance(value, str) and name != "id" and not _is_text(value):  # files may have names that are not text
        return f"{name!r} holds half a character, which is not text."
    return None


def _kinds_of(name: str) -> tuple[set[type], str]:
    if name in CELLS_ARE_WHOLE:
        return {int}, "a whole number"
    if name in CELLS_ARE_JSON:
        return {dict}, "an object"
    if name == "stream":
        return {bool}, "true or false"
    return ({str, int} if name == "id" else {str}), "text"


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _picture(given: Any, folder: Path) -> Path | ImageRef:
    if isinstance(given, Mapping) and set(given) <= {"file_id", "image_url"}:
        return ImageRef(**given)
    if not isinstance(given, str) or not given:
        raise TypeError(f"a picture is a path, or an object with a file_id or an image_url, not {given!r}")
    if given.startswith(_ELSEWHERE):
        raise TypeError(f'a picture that is elsewhere is written as {{"image_url": "{given[:60]}"}}')
    return folder / given


def _named(picture: Any) -> Any:
    if isinstance(picture, ImageRef):
        return {"file_id": picture.file_id} if picture.file_id else {"image_url": picture.image_url}
    return str(Path(picture).absolute())
