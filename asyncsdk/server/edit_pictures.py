"""The pictures of an edit as they come in: files of a form, or references in JSON."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field

from asyncsdk.server.edit_fields import PICTURES_LIMIT
from asyncsdk.server.errors import bad_request, invalid, missing, mistyped, too_large
from asyncsdk.server.fields import Fields
from asyncsdk.server.multipart import Field
from asyncsdk.server.painting import Given, header_of

PICTURE_LIMIT = 50 * 10**6
OLD_PICTURE_LIMIT = 4 * 10**6
_OVERLAYS = ("mask", "markup")
_BY_SUFFIX = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
_TAKEN = ("image/jpeg", "image/png", "image/webp")


@define(eq=False)
class _Sink:
    header: Field
    content: bytearray = field(factory=bytearray)

    async def write(self, data: bytes, /) -> None:
        self.content += data
        if len(self.content) >= PICTURE_LIMIT:
            raise too_large(f"The file '{self.header.name}'", PICTURE_LIMIT)


@define(eq=False)
class FormPictures:
    """The files of one form."""

    _sinks: list[_Sink] = field(factory=list)

    def sink(self, header: Field) -> _Sink | None:
        """Where a field goes: files are kept, text is not for here."""
        if header.filename is None:
            return None
        self._sinks.append(_Sink(header))
        return self._sinks[-1]

    def take(self, fields: Fields) -> tuple[list[Given], Given | None]:
        """The pictures and the mask. Raises ApiError for what is missing, of another kind, or too much."""
        for name in ("image", "image[]", *_OVERLAYS):
            if name in fields:
                raise mistyped(name.removesuffix("[]"), "one of an array of files or file", fields[name])
        pictures = [sink for sink in self._sinks if sink.header.name in {"image", "image[]"}]
        overlays = {sink.header.name: sink for sink in self._sinks if sink.header.name in _OVERLAYS}
        for sink in self._sinks:
            if sink not in pictures and sink.header.name not in _OVERLAYS:
                raise bad_request(f"Unknown parameter: '{sink.header.name}'.", sink.header.name, "unknown_parameter")
        _count(len(pictures))
        given = [_given(sink, _name(sink, index)) for index, sink in enumerate(pictures)]
        if len(overlays) == len(_OVERLAYS):
            raise invalid("markup", "it does not go together with a mask")
        overlay = next((_given(overlays[name], name) for name in _OVERLAYS if name in overlays), None)
        return given, overlay


async def referred(fields: Fields, content: Callable[[str], Awaitable[bytes]]) -> tuple[list[Given], Given | None]:
    """The pictures that JSON refers to; `content` gives those of a file. Raises ApiError."""
    if "images" not in fields:
        raise missing("images")
    images = fields.pop("images")
    if not isinstance(images, list):
        raise mistyped("images", "an array of objects", images)
    _count(len(images))
    given = [await _fetched(image, f"images[{index}]", content) for index, image in enumerate(images)]
    mask = fields.pop("mask", None)
    return given, None if mask is None else await _fetched(mask, "mask", content)


def check(pictures: list[Given], *, old: bool) -> None:
    """The older model takes one square PNG below 4 MB. Raises ApiError."""
    if not old:
        return
    if len(pictures) > 1:
        raise mistyped("image", "a file", [])
    kind, (width, height) = header_of(pictures[0])
    if kind != "PNG" or width != height or len(pictures[0].content) >= OLD_PICTURE_LIMIT:
        raise bad_request("Uploaded image must be a PNG and less than 4 MB, and square.", "image", "invalid_image_file")


async def _fetched(reference: Any, name: str, content: Callable[[str], Awaitable[bytes]]) -> Given:
    if not isinstance(reference, dict):
        raise mistyped(name, "an object", reference)
    if set(reference) == {"file_id"} and isinstance(reference["file_id"], str):
        return Given(name, await content(reference["file_id"]))
    if set(reference) == {"image_url"} and isinstance(reference["image_url"], str):
        return Given(name, _from_data_url(reference["image_url"], name))
    raise invalid(name, "it needs exactly one of 'file_id' and 'image_url'")


def _from_data_url(url: str, name: str) -> bytes:
    head, comma, body = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64") and comma):
        raise invalid(f"{name}.image_url", "this server fetches nothing: it takes data URLs in base64")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise invalid(f"{name}.image_url", "it is not base64") from error


def _count(pictures: int) -> None:
    if not pictures:
        raise missing("image")
    if pictures > PICTURES_LIMIT:
        message = (
            f"Invalid 'image': array too long. Expected an array with maximum length {PICTURES_LIMIT}, but got an "
            f"array with length {pictures} instead."
        )
        raise bad_request(message, "image", "array_above_max_length")


def _name(sink: _Sink, index: int) -> str:
    return f"image[{index}]" if sink.header.name == "image[]" else "image"


def _given(sink: _Sink, name: str) -> Given:
    """Goes by the type that was said, or without one by the file's name: so does the real server."""
    said = sink.header.content_type
    suffix = "." + (sink.header.filename or "").rpartition(".")[2].lower()
    kind = said if said is not None else _BY_SUFFIX.get(suffix, "application/octet-stream")
    if kind not in _TAKEN and name not in _OVERLAYS:
        message = (
            f"Invalid file '{name}': unsupported mimetype ('{kind}'). Supported file formats are 'image/jpeg', "
            "'image/png', and 'image/webp'."
        )
        raise bad_request(message, name, "unsupported_file_mimetype")
    return Given(name, bytes(sink.content))
