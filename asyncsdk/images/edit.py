"""`ImageEdit`: one call of POST /images/edits as a value, with all its fields; what is None is not sent (pure)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import PurePath
from typing import Any, BinaryIO

from attrs import field, fields, frozen

from asyncsdk.api import (
    Background,
    Complexity,
    EditParams,
    ImageFile,
    ImageRef,
    InputFidelity,
    Moderation,
    OutputFormat,
    Quality,
    ResponseFormat,
)

Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | ImageRef
Loaded = ImageFile | ImageRef


class EditFields(EditParams, total=False):
    """All of an edit but its pictures and its prompt, as keyword arguments; `ImageEdit` tells of them."""

    mask: Picture | None
    markup: Picture | None
    extra: Mapping[str, Any] | None
    id: str | None


NOT_SENT = frozenset({"image", "mask", "markup", "id", "name", "line", "extra"})


def _several(given: Any) -> tuple[Picture, ...]:
    if isinstance(given, str | os.PathLike | bytes | bytearray | memoryview | ImageRef) or hasattr(given, "read"):
        return (given,)
    return tuple(given) if hasattr(given, "__iter__") else (given,)  # what is no picture is told with its edit


def _shown(pictures: tuple[Picture, ...]) -> str:
    return ", ".join(described(picture) for picture in pictures)


def _shown_one(picture: Picture | None) -> str:
    return "None" if picture is None else described(picture)


@frozen(kw_only=True)
class ImageEdit:
    """One edit: what `ImageEditor.edit` takes as arguments, and what `edit_many` takes by the thousand.

    `image` is one picture or several, each a path, bytes, an open binary file, or an `ImageRef` to a file that
    the server has (`file_id`) or can fetch (`image_url`); `mask` and `markup` likewise. The fields from `model`
    to `svg` are the API's own. `extra` holds fields that this version does not know. `id` names the pictures that
    come of it. Where it is None they are named by `name`, which gives way to another picture (`name-png`), or else
    by `line`, which is where it stands in its source.
    """

    image: tuple[Picture, ...] = field(converter=_several, repr=_shown)
    prompt: str
    mask: Picture | None = field(default=None, repr=_shown_one)
    markup: Picture | None = field(default=None, repr=_shown_one)
    model: str | None = None
    n: int | None = None
    size: str | None = None
    quality: Quality | None = None
    background: Background | None = None
    output_format: OutputFormat | None = None
    output_compression: int | None = None
    input_fidelity: InputFidelity | None = None
    complexity: Complexity | None = None
    moderation: Moderation | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    safety_identifier: str | None = None
    stream: bool | None = None
    partial_images: int | None = None
    frame_count: int | None = None
    frame_duration_ms: int | None = None
    svg: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] | None = None
    id: str | None = None
    name: str | None = None
    line: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The API's fields that are set, but for the pictures."""
        return {name: value for name in _sent() if (value := getattr(self, name)) is not None}

    @property
    def input_images(self) -> int:
        """What it counts against the limit of input images a minute: its pictures, times `n`."""
        return len(self.image) * (self.n or 1)


@cache
def _sent() -> tuple[str, ...]:
    return tuple(a.name for a in fields(ImageEdit) if a.name not in NOT_SENT)


def described(picture: Picture) -> str:
    """A picture for people: its name or its size, never its content."""
    if isinstance(picture, bytes | bytearray | memoryview):
        return f"{memoryview(picture).nbytes} bytes"
    if isinstance(picture, ImageRef):
        return picture.file_id or "an image_url"
    return file_name(picture) or type(picture).__name__


def file_name(picture: Picture) -> str | None:
    """The name of the file that a picture is in, without its directory; None where it is in no file."""
    name = picture if isinstance(picture, str | os.PathLike) else getattr(picture, "name", None)
    return PurePath(name).name if isinstance(name, str | os.PathLike) else None
