"""Edits pictures for real, with Pillow: what is transparent in the mask is painted, in colours of the prompt's own.

Blocking, for threads. Pillow is loaded at first use: it is an extra, and only edits need it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from asyncsdk.server.edit_fields import Wanted
from asyncsdk.server.errors import ApiError, refuse

if TYPE_CHECKING:
    from PIL.Image import Image

PIXELS_LIMIT = 64 * 2**20  # of what is taken in: decoded, four bytes each
TINT = 0.35
_WRITERS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "gif": "GIF"}


@frozen
class Given:
    """A picture as it came, with the name of its field for messages."""

    field: str
    content: bytes


def edit(pictures: Sequence[Given], mask: Given | None, wanted: Wanted, index: int) -> bytes:
    """Make the `index`-th picture of an edit. Raises ApiError for pictures that can't be used."""
    base = _open(pictures[0])
    size = wanted.size or base.size
    hole = None if mask is None else _hole(mask, base.size)
    if base.size != size:
        base = base.resize(size)
        hole = None if hole is None else hole.resize(size)
    painted = _painted(base, hole, colour_of(wanted.prompt, index))
    for number, picture in enumerate(pictures[1:]):
        _put_in_corner(painted, _open(picture), number)
    return _encoded(painted, wanted)


def size_of(picture: Given) -> tuple[int, int]:
    """Width and height as it is shown."""
    return _open(picture).size


def header_of(given: Given) -> tuple[str | None, tuple[int, int]]:
    """Format and size, without decoding. Raises ApiError for what is no picture."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(given.content)) as picture:
            return picture.format, picture.size
    except (OSError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _not_usable(given, "it is not a valid image") from error


def colour_of(prompt: str, index: int) -> tuple[int, int, int]:
    """A colour that belongs to this prompt and to this picture of several."""
    digest = hashlib.sha256(f"{index} {prompt}".encode(errors="replace")).digest()
    return digest[0], digest[1], digest[2]


def _open(given: Given) -> Image:
    """Decode a picture, upright, once its header says that it is of a size to be taken."""
    from PIL import Image, ImageOps

    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        with Image.open(io.BytesIO(given.content), formats=["PNG", "JPEG", "WEBP"]) as picture:
            if picture.width * picture.height > PIXELS_LIMIT:
                raise _not_usable(given, "it has too many pixels")
            picture.load()
            return ImageOps.exif_transpose(picture).convert("RGBA")
    except bombs as error:
        raise _not_usable(given, "it has too many pixels") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise _not_usable(given, "it is not a valid image") from error


def _hole(mask: Given, size: tuple[int, int]) -> Image:
    """Where the mask is transparent, as a picture that is white there."""
    from PIL import Image

    with Image.open(io.BytesIO(mask.content)) as raw:
        if not raw.has_transparency_data:
            raise _not_usable(mask, "it has no alpha channel")
    picture = _open(mask)
    if picture.size != size:
        raise ApiError(
            400,
            f"Invalid mask image: the mask is {_by(picture.size)} and the image is {_by(size)}; they must be the same.",
            "mask",
            "invalid_image_file",
        )
    return picture.getchannel("A").point(lambda alpha: 255 if alpha == 0 else 0)


def _painted(base: Image, hole: Image | None, colour: tuple[int, int, int]) -> Image:
    from PIL import Image

    flat = Image.new("RGBA", base.size, (*colour, 255))
    if hole is None:
        return Image.blend(base, flat, TINT)
    base.paste(flat, (0, 0), hole)
    return base


def _put_in_corner(picture: Image, reference: Image, number: int) -> None:
    side = max(1, min(picture.size) // 8)
    reference.thumbnail((side, side))
    picture.paste(reference, (number * side % picture.width, picture.height - reference.height))


def _encoded(picture: Image, wanted: Wanted) -> bytes:
    if wanted.output_format == "svg":
        return _svg(picture)
    if wanted.background != "transparent" or wanted.output_format in {"jpeg", "gif"}:
        picture = picture.convert("RGB")
    options: dict[str, Any] = {"compress_level": 1} if wanted.output_format == "png" else {}
    if wanted.output_format in {"jpeg", "webp"}:
        quality = 100 if wanted.output_compression is None else wanted.output_compression
        options = {"quality": max(1, quality)}
    out = io.BytesIO()
    picture.save(out, _WRITERS[wanted.output_format], **options)
    return out.getvalue()


def _svg(picture: Image) -> bytes:
    red, green, blue = picture.convert("RGB").resize((1, 1)).tobytes()
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{picture.width}" height="{picture.height}">'
    return f'{head}<rect width="100%" height="100%" fill="rgb({red},{green},{blue})"/></svg>'.encode()


def _not_usable(given: Given, why: str) -> ApiError:
    return refuse(f"Invalid image file or mode for '{given.field}': {why}.", given.field, "invalid_image_file")


def _by(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))
