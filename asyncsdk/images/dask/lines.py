"""Edits as lines of a list that other machines read, and back (pure).

A path is absolute there, since a worker has another working directory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import evolve

from asyncsdk.api import ImageRef
from asyncsdk.errors import ConfigurationError
from asyncsdk.given import shown_as_url, unpacked
from asyncsdk.images.edit import EDIT_FIELDS, ImageEdit, Pictures, file_name

_PICTURES = ("mask", "markup")


def page_of(edits: Iterable[ImageEdit], directory: str) -> bytes:
    """Edits as lines of JSON; paths that are not absolute are below `directory`.

    Raises ConfigurationError for a picture that has no place of its own, and for a field that is not JSON.
    """
    return b"".join(_line(edit, directory) for edit in edits)


def edits_of(page: bytes) -> list[ImageEdit]:
    """The edits of a page."""
    return [_edit(json.loads(line)) for line in page.splitlines()]


def _line(edit: ImageEdit, directory: str) -> bytes:
    shown = edit.id or edit.name or "one without an id"
    pictures = {name: getattr(edit, name) for name in _PICTURES if getattr(edit, name) is not None}
    fields: dict[str, Any] = {
        name: value
        for name in EDIT_FIELDS
        if name != "image" and name not in pictures and (value := getattr(edit, name)) is not None
    }
    fields["image"] = [_place(picture, shown, directory) for picture in edit.image]
    fields |= {name: _place(picture, shown, directory) for name, picture in pictures.items()}
    try:
        return json.dumps(fields).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"the edit {shown!r} has a field that is not JSON, and Dask workers read the edits as such. "
            "Nothing was sent."
        ) from error


def _place(picture: Any, shown: str, directory: str) -> dict[str, Any]:
    if isinstance(picture, ImageRef):
        return {"file_id": picture.file_id, "image_url": picture.image_url}
    named = unpacked(picture)
    if not isinstance(named.content, str | os.PathLike):
        raise ConfigurationError(
            f"a picture of the edit {shown!r} is in memory, or an open file, which Dask workers can't read. Save it "
            "where all of them can, and pass its path or URL. Nothing was sent."
        )
    place = os.fsdecode(named.content)
    if isinstance(named.content, str) and shown_as_url(place) is not None:
        return {"url": place}
    given = {"name": file_name(picture), "type": named.mime_type} if isinstance(picture, tuple) else {}
    return {"path": os.path.join(directory, place), **given}  # noqa: PTH118 - as it is written, but absolute


def _edit(fields: dict[str, Any]) -> ImageEdit:
    pictures = {name: _picture(fields[name]) for name in _PICTURES if name in fields}
    image = Pictures(map(_picture, fields.pop("image")))
    return evolve(ImageEdit(image=image, prompt=""), **{**fields, **pictures})


def _picture(place: dict[str, Any]) -> Any:
    if "url" in place:
        return place["url"]
    if "path" not in place:
        return ImageRef(file_id=place["file_id"], image_url=place["image_url"])
    return (place["name"], Path(place["path"]), place["type"]) if "name" in place else place["path"]
