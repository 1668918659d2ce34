"""Reads the pictures of an edit once, so that the bytes that are checked, digested and sent are the same."""

from __future__ import annotations

import errno
import hashlib
import inspect
import io
import json
import os
import reprlib
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import evolve, frozen

from asyncsdk import api, files
from asyncsdk.api import ImageFile, ImageRef, Request
from asyncsdk.errors import ConfigurationError, EditError, InvalidEditError, RemoteError
from asyncsdk.given import (
    CLOSED,
    TEXT_IN_TUPLE,
    PillowImage,
    Readable,
    is_closed,
    is_pillow_image,
    is_text_with_name,
    shown_as_url,
    unpacked,
)
from asyncsdk.images import heic
from asyncsdk.images.check import LARGEST, family_of, invalid, refusal_of_fields
from asyncsdk.images.edit import (
    EDIT_FIELDS,
    ConvertedImage,
    HeicImage,
    ImageEdit,
    Loaded,
    Picture,
    UnreadableHeic,
    address_of,
    described,
    file_name,
)
from asyncsdk.images.header import MIME_TYPES, foreign_kind, kind_of
from asyncsdk.models import ImagesResponse
from asyncsdk.remote.address import RemoteAddress, hint_of_url, local_path, remote_address
from asyncsdk.remote.reading import read_whole
from asyncsdk.remote.stores import RemoteStores
from asyncsdk.retry import SCARCE

_PASSING = SCARCE | {errno.EIO, errno.ESTALE}  # the system's trouble, or that of a disk on the network
_READING_FAILED: dict[int | None, str] = {errno.ENOENT: "missing", errno.EFBIG: "too large"}
_NOT_FETCHED = {"missing": "missing", "too large": "too large"}
_TRANSPORT = frozenset(name for name, about in EDIT_FIELDS.items() if not about.changes_result)
# checked whether or not the API's rules are: this side computes with them
_SHAPES = {
    name: about.kind
    for name, about in EDIT_FIELDS.items()
    if about.kind is Mapping or name in {"prompt", "n", "id", "name"}
}
P = TypeVar("P")
Overlays = dict[str, tuple[Picture, Loaded]]  # by field: what was given, and what was read there
_MODES_OF_PNG = {"1", "L", "LA", "P", "RGB", "RGBA"}
_WITH_ALPHA, _WITH_PALETTE = {"PA", "La", "RGBa"}, {"P", "PA"}
_OPEN_AS_TEXT = "it is open as text; open it with 'rb'"
_NAMED = {str: "text", int: "a whole number", Mapping: "a mapping"}


@frozen(kw_only=True)
class LoadedEdit:
    """An edit with its pictures' content. HEIC is as it was given, and is `converted` before the edit is sent."""

    edit: ImageEdit
    images: tuple[Loaded, ...]
    mask: Loaded | None = None
    markup: Loaded | None = None

    def request(self, *, stream: bool = False) -> Request[ImagesResponse]:
        """The call: a form where its pictures are files, JSON where they are references."""
        options = self.edit.options | ({"stream": True} if stream else {})
        files = [image for image in self.images if isinstance(image, ImageFile)]
        if files:
            pictures: Any = {"mask": self.mask, "markup": self.markup}
            return api.edit_image(image=files, **pictures, **options, extra=self.edit.extra)
        references = [image for image in self.images if isinstance(image, ImageRef)]
        mask: Any = self.mask
        return api.edit_image_by_reference(images=references, mask=mask, **options, extra=self.edit.extra)

    @property
    def error(self) -> InvalidEditError | None:
        """Why it can't be sent, if a picture can't be converted here."""
        pictures = (*self.images, self.mask, self.markup)
        return next((picture.error for picture in pictures if isinstance(picture, UnreadableHeic)), None)

    @property
    def has_heic(self) -> bool:
        """Whether a picture is still to be converted."""
        return any(isinstance(picture, HeicImage) for picture in (*self.images, self.mask, self.markup))

    def digest(self) -> str:
        """The SHA-256 of its fields and its pictures' content, by which the ledger finds the same edit again.

        Fields about how the response travels, such as `stream`, are not part of it. Of a picture that is converted
        the original counts: another version of the encoder makes other bytes, and no other edit.
        """
        content = {
            "image": [_digest(image) for image in self.images],
            "mask": _digest(self.mask),
            "markup": _digest(self.markup),
        }
        return hashlib.sha256(fields_of_result(self.edit, content).encode()).hexdigest()


async def loaded(edit: ImageEdit, stores: RemoteStores | None = None, overlays: Overlays | None = None) -> LoadedEdit:
    """Read the pictures of `edit`, those that are URLs by `stores`.

    `overlays` has what masks and markup were fetched last, which are not fetched again: a run has often one for all.

    Raises InvalidEditError for one that can't be read, EditError if that may pass.
    """
    stores = stores or RemoteStores()
    png_only = family_of(edit.model).square_png
    images = tuple([await read_picture(picture, "image", png_only=png_only, stores=stores) for picture in edit.image])
    overlays = {} if overlays is None else overlays
    mask = await _overlay(edit.mask, "mask", stores, overlays)
    markup = await _overlay(edit.markup, "markup", stores, overlays)
    _check_shape(edit, [*images, *(extra for extra in (mask, markup) if extra is not None)])
    return LoadedEdit(edit=edit, images=images, mask=mask, markup=markup)


async def _overlay(picture: Picture | None, field: str, stores: RemoteStores, overlays: Overlays) -> Loaded | None:
    if picture is None:
        return None
    is_fetched = address_of(unpacked(picture).content) is not None
    if is_fetched and field in overlays and overlays[field][0] == picture:
        return overlays[field][1]
    content = await read_picture(picture, field, stores=stores)
    if is_fetched:
        overlays[field] = (picture, content)
    return content


async def converted(loaded: LoadedEdit) -> LoadedEdit:
    """`loaded` with its HEIC pictures as they are sent. Raises InvalidEditError, or EditError if that may pass."""
    if not loaded.has_heic:
        return loaded
    images = tuple([await _converted(picture, "image") for picture in loaded.images])
    mask, markup = await _converted(loaded.mask, "mask"), await _converted(loaded.markup, "markup")
    return evolve(loaded, images=images, mask=mask, markup=markup)


async def _converted(picture: P, field: str) -> P | ConvertedImage:
    if not isinstance(picture, HeicImage):
        return picture
    return await heic.converted(picture, field=field)


async def read_picture(
    picture: Picture, field: str, *, png_only: bool = True, stores: RemoteStores | None = None
) -> Loaded:
    """The whole content of `picture`, with its true type and a name. Raises as `loaded` does.

    `png_only`: a HEIC becomes a PNG, as masks and some models need it.
    """
    if isinstance(picture, ImageRef):
        return picture
    content = await _content(picture, field, stores or RemoteStores())
    kind, given = kind_of(content), unpacked(picture).content
    if kind is not None:
        name = _as_unicode(file_name(picture) or f"{field}.{kind}")
        if not is_pillow_image(given):
            return ImageFile(content=content, filename=name, mime_type=MIME_TYPES[kind])
        original = await files.in_thread(_digest_of_pixels, given)
        return ConvertedImage(content=content, filename=name, mime_type=MIME_TYPES[kind], original=original)
    foreign = foreign_kind(content)
    if foreign == "HEIC":
        name = _as_unicode(file_name(picture) or f"{field}.heic")
        return await heic.heic_image(content, name, field=field, png_only=png_only)
    what = _instead(picture, content, foreign)
    raise invalid(f"{field}: {described(picture)} is {what}. Nothing was sent.", foreign or "not a picture")


async def _content(picture: Any, field: str, stores: RemoteStores) -> bytes:
    given = unpacked(picture).content
    problem = _problem_of(picture, given)
    if problem is not None:
        raise invalid(f"{field}: {problem}. Nothing was sent.", "not a picture")
    address = address_of(given)
    if address is not None:
        return await _fetched(picture, field, address, stores)
    try:
        if isinstance(given, str | os.PathLike):
            return await files.read(local_path(given) if isinstance(given, str) else given, limit=LARGEST)
        if isinstance(given, bytes | bytearray | memoryview):
            content = bytes(given)
        else:
            content = await files.in_thread(_as_png if is_pillow_image(given) else _read_on, given)
    except OSError as error:
        if error.errno in _PASSING:
            raise _unavailable(picture, field, error) from error
        raise invalid(_unreadable(picture, field, error), _READING_FAILED.get(error.errno, "unreadable")) from error
    except Exception as error:  # what a caller's file raises: EOFError for a gzip file that is cut, and so on
        raise invalid(_unreadable(picture, field, error), "unreadable") from error
    if len(content) > LARGEST:
        raise invalid(f"{field}: {described(picture)} is larger than {LARGEST} bytes. Nothing was sent.", "too large")
    return content


async def _fetched(picture: Any, field: str, address: RemoteAddress, stores: RemoteStores) -> bytes:
    """The content of a picture at a URL. Raises as `loaded` does, ConfigurationError without the extra for URLs."""
    try:
        return await read_whole(address, stores, limit=LARGEST)
    except RemoteError as error:
        if error.resumable:
            failure: Exception = _unavailable(picture, field, error)
        else:
            failure = invalid(_unreadable(picture, field, error), _NOT_FETCHED.get(error.reason, "unreadable"))
        raise failure from error


def _problem_of(picture: Any, given: object) -> str | None:
    """Why it can't be read, where that is plain before it is tried."""
    if is_text_with_name(picture):
        return TEXT_IN_TUPLE
    if given is None:
        return "it is None, neither a path nor bytes, an open file or a Pillow image"
    if is_closed(given):
        return f"{described(picture)} is closed: {CLOSED}"
    return _problem_of_url(given) if isinstance(given, str) else None


def _problem_of_url(given: str) -> str | None:
    try:
        is_taken = remote_address(given) is not None or local_path(given) != given or not shown_as_url(given)
    except ConfigurationError as error:
        return str(error).removesuffix(". Nothing was sent.")
    return None if is_taken else "data:… is a picture as text: pass its bytes, or ImageRef(image_url=…)"


def _as_png(picture: PillowImage) -> bytes:
    """A picture of Pillow's, its pixels as they are: one of a mode that PNG does not have is converted."""
    if picture.mode not in _MODES_OF_PNG:
        picture = picture.convert("RGBA" if picture.mode in _WITH_ALPHA else "RGB")
    picture.save(encoded := io.BytesIO(), "PNG")
    return encoded.getvalue()


def _digest_of_pixels(picture: PillowImage) -> str:
    """The SHA-256 of a picture of Pillow's, whatever its encoder makes of it."""
    looks = picture.mode, picture.size, picture.info.get("transparency")
    pixels = picture.convert("RGBA") if picture.mode in _WITH_PALETTE else picture
    return hashlib.sha256(repr(looks).encode() + pixels.tobytes()).hexdigest()


def _read_on(file: Readable) -> bytes:
    """The rest of an open file, whose reads may be short; at most one byte above the limit."""
    if not hasattr(file, "read"):
        raise ValueError(
            "it is neither a path, nor bytes, an open file or a Pillow image, nor a tuple (name, one of these) or "
            "(name, one of these, MIME type); several pictures are a list"
        )
    pieces: list[bytes] = []
    left = LARGEST + 1
    while left > 0 and (piece := _piece(_read(file, left))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _read(file: Readable, size: int) -> object:
    try:
        return file.read(size)
    except UnicodeDecodeError as error:
        raise ValueError(_OPEN_AS_TEXT) from error


def _piece(content: object) -> bytes:
    """The result of one read as bytes. Raises ValueError, as for any picture that can't be read."""
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    if content is None:
        raise ValueError("it is open without blocking and has nothing to read yet; open it as usual, or pass its bytes")
    if not inspect.isawaitable(content):
        raise ValueError(_OPEN_AS_TEXT)
    if inspect.iscoroutine(content):
        content.close()
    raise ValueError("its read() has to be awaited; pass a path, an ordinary open file, or its bytes")


def _unavailable(picture: Any, field: str, error: OSError | RemoteError) -> EditError:
    """The error of a system, not of the picture: the same edit may be sent once this has passed."""
    again = "" if isinstance(error, RemoteError) else " The same call tries again."  # whose message has it
    failure = EditError(f"{_unreadable(picture, field, error)}{again}")
    failure.resumable = True
    return failure


def _unreadable(picture: Any, field: str, error: Exception) -> str:
    given = unpacked(picture).content
    if isinstance(error, RemoteError):
        return f"{field}: {error} Nothing was sent."
    name = os.fspath(given) if isinstance(given, str | os.PathLike) else described(picture)
    if isinstance(error, OSError) and error.errno == errno.ENOENT:
        return f"{field}: {name} does not exist.{hint_of_url(name)} Nothing was sent."
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or repr(error)
    return f"{field}: {name} can't be read: {reason}. Nothing was sent."


def _instead(picture: Picture, content: bytes, foreign: str | None) -> str:
    if not content:
        is_open = hasattr(unpacked(picture).content, "read")
        return "empty (an open file may be at its end)" if is_open else "empty"
    return f"{foreign} inside, convert it to PNG, JPEG or WebP" if foreign else "not a PNG, JPEG or WebP picture"


def _check_shape(edit: ImageEdit, pictures: list[Loaded]) -> None:
    if not edit.image:
        raise InvalidEditError("image: an edit needs at least one picture. Nothing was sent.")
    for name, kind in _SHAPES.items():
        value = getattr(edit, name)
        is_one = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
        if not is_one and (value is not None or name == "prompt"):
            raise InvalidEditError(f"{name}={reprlib.repr(value)} is not {_NAMED[kind]}. Nothing was sent.")
    if (uncountable := refusal_of_fields(edit, checked=False)) is not None:
        raise uncountable
    if not all(isinstance(name, str) for name in edit.extra or ()):
        raise InvalidEditError(f"extra={reprlib.repr(edit.extra)} has a name that is not text. Nothing was sent.")
    try:
        _canonical([edit.options, edit.extra])
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEditError(f"a field contains what is not JSON: {error}. Nothing was sent.") from error
    kinds = {ImageRef if isinstance(picture, ImageRef) else ImageFile for picture in pictures}
    if len(kinds) > 1:
        raise InvalidEditError(
            "image: files and references don't go together in one edit. Upload the files (purpose 'vision') and refer "
            "to them all, or give files only. Nothing was sent."
        )
    if kinds == {ImageRef} and edit.markup is not None:
        raise InvalidEditError("markup: it can't be a reference; give it and the pictures as files. Nothing was sent.")


def fields_of_result(edit: ImageEdit, pictures: Mapping[str, Any]) -> str:
    """The fields of an edit that decide what comes of it, with what stands for its `pictures`, as canonical JSON."""
    fields = {name: value for name, value in edit.options.items() if name not in _TRANSPORT}
    return _canonical({**fields, **pictures, "extra": edit.extra})


def _canonical(value: object) -> str:
    return _ENCODER.encode(value)


def _digest(picture: Loaded | None) -> str | None:
    if isinstance(picture, ConvertedImage):
        return picture.original
    if isinstance(picture, ImageFile):
        return hashlib.sha256(picture.content).hexdigest()
    return None if picture is None else f"{picture.file_id or ''} {picture.image_url or ''}"


def _as_unicode(name: str) -> str:
    return name if name.isascii() else name.encode(errors="replace").decode()


def _as_object(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_as_object)  # once: a run has a million rows
