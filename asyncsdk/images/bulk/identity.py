"""What tells one edit from another before its pictures are read: its fields, and where its pictures come from."""

from __future__ import annotations

import hashlib
import os
from pathlib import PurePath
from typing import Any, Self

from asyncsdk.api import ImageRef
from asyncsdk.given import unpacked
from asyncsdk.images.edit import ImageEdit, address_of
from asyncsdk.images.pictures import fields_of_result


class ListedURL(str):
    """The URL of an object, with the ETag that a listing gave it: under another one its picture may be another."""

    __slots__ = ("etag",)

    etag: str | None

    def __new__(cls, url: str, etag: str | None = None) -> Self:
        """Add the ETag to a URL."""
        listed = super().__new__(cls, url)
        listed.etag = etag
        return listed


def source_digest(edit: ImageEdit) -> str | None:
    """A digest of an edit's fields and of its pictures' places, as they are written; None where one has no place.

    Where it is another one than before, the pictures are read and compared, and nothing is paid for the same ones.
    """
    pictures = [_place_of(each) for each in (*edit.image, edit.mask, edit.markup) if each is not None]
    if None in pictures:
        return None
    has = [edit.mask is not None, edit.markup is not None]
    try:
        text = fields_of_result(edit, {"pictures": pictures, "has": has})
    except (TypeError, ValueError, RecursionError):  # it is refused once it is read
        return None
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def _place_of(given: Any) -> str | None:
    if isinstance(given, PurePath):  # as most are
        return str(given)
    if isinstance(given, ImageRef):
        return given.file_id or given.image_url
    picture = unpacked(given).content
    if isinstance(picture, bytes | bytearray | memoryview):
        return f"sha256:{hashlib.sha256(picture).hexdigest()}"
    address = address_of(picture)
    if address is not None:
        etag = picture.etag if isinstance(picture, ListedURL) else None
        shown = address.shown  # without the signature, which is another each time
        return shown if etag is None else f"{shown} {etag}"
    return os.fsdecode(picture) if isinstance(picture, str | os.PathLike) else None
