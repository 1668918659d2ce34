"""Receives the input pictures of a request to edit: files of a form, or `data:` URLs and file ids in JSON."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field, frozen

from asyncsdk.server.edits.decoding import GivenPicture
from asyncsdk.server.errors import ApiError, bad_request, invalid, missing, mistyped, too_large, too_long, unknown
from asyncsdk.server.fields import Fields
from asyncsdk.server.multipart import Field

PICTURES_LIMIT = 16
PICTURE_LIMIT = 50 * 10**6
URL_LIMIT = 20_971_520
BODY_LIMIT = PICTURES_LIMIT * URL_LIMIT + 2**20

_PICTURES = ("image", "image[]")
_OVERLAYS = ("mask", "markup")
_BY_SUFFIX = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"}
_TAKEN = ("image/jpeg", "image/png", "image/webp")


@frozen
class GivenPictures:
    """The input pictures: first the one that a mask or markup is for, then references."""

    images: tuple[GivenPicture, ...]
    overlay: GivenPicture | None = None


@define(eq=False)
class _Sink:
    """A file in memory; a `surplus` one is counted and its bytes are dropped."""

    header: Field
    surplus: bool
    content: bytearray = field(factory=bytearray)

    async def write(self, data: bytes, /) -> None:
        if not self.surplus:
            self.content += data
        if len(self.content) >= PICTURE_LIMIT:
            raise too_large(f"The file '{self.header.name}'", PICTURE_LIMIT)


@define(eq=False)
class FormPictures:
    """The files of one form."""

    _images: list[_Sink] = field(factory=list)
    _overlays: list[_Sink] = field(factory=list)

    def sink(self, header: Field) -> _Sink | None:
        """Return the sink of a picture, None for a text field. Raises ApiError for any other file."""
        is_picture = header.name in _PICTURES
        if not is_picture and header.name not in _OVERLAYS:
            if header.filename is not None:
                raise unknown(header.name)
            return None
        if header.filename is None:
            raise self._not_a_file(header.name)
        sinks = self._images if is_picture else self._overlays
        sinks.append(_Sink(header, surplus=len(sinks) >= PICTURES_LIMIT))
        return sinks[-1]

    def take(self) -> GivenPictures:
        """Return the pictures once all arrived. Raises ApiError if one is missing, of another type, or too many."""
        _require_number(len(self._images), "image")
        images = [_checked(sink, _name(sink, index)) for index, sink in enumerate(self._images)]
        if len(self._overlays) > 1:
            raise invalid("markup", "it does not go together with a mask")
        overlays = [GivenPicture(sink.header.name, bytes(sink.content)) for sink in self._overlays]
        return GivenPictures(tuple(images), *overlays)

    def _not_a_file(self, name: str) -> ApiError:
        if name == "image":
            return mistyped(name, "one of an array of files or file", "")
        return mistyped(name.replace("[]", f"[{len(self._images)}]"), "a file", "")


async def read_references(fields: Fields, content: Callable[[str, str], Awaitable[bytes]]) -> GivenPictures:
    """Remove and load the references of JSON; `content` returns a file's bytes by its id and the field's name.

    Raises ApiError, and whatever `content` raises.
    """
    if "images" not in fields:
        raise missing("images")
    images, mask = fields.pop("images"), fields.pop("mask", None)
    if not isinstance(images, list):
        raise mistyped("images", "an array of objects", images)
    _require_number(len(images), "images")
    pictures = [await _fetched(image, f"images[{index}]", content) for index, image in enumerate(images)]
    return GivenPictures(tuple(pictures), None if mask is None else await _fetched(mask, "mask", content))


async def _fetched(reference: Any, name: str, content: Callable[[str, str], Awaitable[bytes]]) -> GivenPicture:
    if not isinstance(reference, dict):
        raise mistyped(name, "an object", reference)
    if set(reference) not in ({"file_id"}, {"image_url"}):
        raise invalid(name, "it needs exactly one of 'file_id' and 'image_url'")
    [(kind, value)] = reference.items()
    if not isinstance(value, str):
        raise mistyped(f"{name}.{kind}", "a string", value)
    if kind == "file_id":
        return GivenPicture(name, await content(value, f"{name}.file_id"))
    return GivenPicture(name, _from_data_url(value, f"{name}.image_url"))


def _from_data_url(url: str, name: str) -> bytes:
    if len(url) > URL_LIMIT:
        raise too_long(name, URL_LIMIT, len(url))
    head, comma, body = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64") and comma):
        raise invalid(name, "this server fetches nothing: it takes data URLs in base64")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(name, "it is not base64") from error


def _require_number(count: int, name: str) -> None:
    if not count:
        raise missing(name)
    if count > PICTURES_LIMIT:
        message = (
            f"Invalid '{name}': array too long. Expected an array with maximum length {PICTURES_LIMIT}, but got an "
            f"array with length {count} instead."
        )
        raise bad_request(message, name, "array_above_max_length")


def _name(sink: _Sink, index: int) -> str:
    return f"image[{index}]" if sink.header.name == "image[]" else "image"


def _checked(sink: _Sink, name: str) -> GivenPicture:
    """Check the type by the Content-Type, or without one by the file's name, as the real server does."""
    suffix = (sink.header.filename or "").rpartition(".")[2].lower()
    kind = sink.header.content_type or _BY_SUFFIX.get(suffix, "application/octet-stream")
    if kind not in _TAKEN:
        message = (
            f"Invalid file '{name}': unsupported mimetype ('{kind}'). Supported file formats are 'image/jpeg', "
            "'image/png', and 'image/webp'."
        )
        raise bad_request(message, name, "unsupported_file_mimetype")
    return GivenPicture(name, bytes(sink.content))
