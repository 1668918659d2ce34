"""Decodes input pictures and masks with Pillow, after checking their headers for format and size.

Blocking: call it in a thread. Pillow is imported at first use: it is an extra, and only edits need it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import frozen

from asyncsdk.server.edits.sizes import Size, shown
from asyncsdk.server.errors import ApiError, refuse

if TYPE_CHECKING:
    from PIL.Image import Image

PIXELS_LIMIT = 64 * 2**20  # four bytes each, once decoded
OVERLAY_LIMIT = OLD_LIMIT = 4 * 10**6
_FORMATS = ("PNG", "JPEG", "WEBP")


@frozen
class GivenPicture:
    """An input picture as it arrived, with the name of its field for messages."""

    field: str
    content: bytes


def decode(source: GivenPicture) -> Image:
    """Return the first frame, upright, as 8-bit RGBA. Raises ApiError."""
    from PIL import ImageOps

    with _opened(source) as picture:
        picture.load()
        ImageOps.exif_transpose(picture, in_place=True)
        upright: Image = picture
        if upright.mode.startswith("I;16"):  # Pillow would clip its values at 255
            upright = upright.point(lambda value: value / 256).convert("L")
        return upright if upright.mode == "RGBA" else upright.convert("RGBA")


def hole_of(overlay: GivenPicture, size: Size) -> Image:
    """Return the area to edit, white on black: where a mask is transparent, or where a markup is not.

    Raises ApiError unless it is a PNG with alpha of the picture's `size`.
    """
    with _opened(overlay) as raw:
        if raw.format != "PNG" or len(overlay.content) >= OVERLAY_LIMIT:
            raise not_usable(overlay, "it must be a PNG file, less than 4 MB")
        if not raw.has_transparency_data:
            raise not_usable(overlay, "it has no alpha channel")
    picture = decode(overlay)
    if picture.size != size:
        raise not_usable(overlay, f"it is {shown(picture.size)} and the image is {shown(size)}: they must be the same")
    alpha = picture.getchannel("A")
    if overlay.field == "markup":
        return alpha.point(lambda value: 255 if value else 0)
    return alpha.point(lambda value: 0 if value else 255)


def require_old_kind(source: GivenPicture) -> None:
    """Raise ApiError unless the older model accepts it: a square PNG below 4 MB."""
    with _opened(source) as picture:
        is_square = picture.width == picture.height
        if picture.format != "PNG" or not is_square or len(source.content) >= OLD_LIMIT:
            raise not_usable(source, "it must be a square PNG file, less than 4 MB")


def not_usable(source: GivenPicture, why: str) -> ApiError:
    return refuse(f"Invalid image file or mode for '{source.field}': {why}.", source.field, "invalid_image_file")


@contextmanager
def _opened(source: GivenPicture) -> Iterator[Image]:
    """Open it and check its header; Pillow's errors, here or in the block, become ApiError."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(source.content), formats=_FORMATS) as picture:
            if picture.width * picture.height > PIXELS_LIMIT:
                raise not_usable(source, "it has too many pixels")
            yield picture
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise not_usable(source, "it has too many pixels") from error
    except (OSError, ValueError, SyntaxError, Warning) as error:  # of damaged EXIF, where warnings are errors
        raise not_usable(source, "it is not a valid image") from error
