"""Edits pictures: paints the area to edit in a colour that depends on the prompt.

Blocking: call it in a thread. Pillow is imported at first use: it is an extra, and only edits need it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from asyncsdk.server.edits.decoding import decode, hole_of, require_old_kind
from asyncsdk.server.edits.encoding import encode, keeps_alpha
from asyncsdk.server.edits.fields import EditRequest
from asyncsdk.server.edits.history import Thumbnails, thumbnail
from asyncsdk.server.edits.pictures import GivenPictures
from asyncsdk.server.edits.sizes import Size, fitting

if TYPE_CHECKING:
    from PIL.Image import Image

TINT = 0.35
FRAMES = 9
_COARSEST = 32


@frozen
class PaintedEdit:
    """The result of one edit: encoded pictures; `partials` are coarse views of the first."""

    size: Size
    given: tuple[Size, ...]
    transparent: bool
    pictures: tuple[bytes, ...]
    partials: tuple[bytes, ...]
    thumbnails: Thumbnails


def paint(source: GivenPictures, edit: EditRequest) -> PaintedEdit:
    """Make all pictures of an edit. Raises ApiError for pictures that can't be used."""
    canvas = _prepared(source, edit)
    first = canvas.paint(edit.prompt, 0, 0)
    partials = [_coarse(first, _COARSEST >> index) for index in range(edit.partial_images)]
    transparent = keeps_alpha(first, edit)
    count = (edit.frame_count or FRAMES) if edit.output_format == "gif" else 1

    def picture(index: int) -> bytes:
        frames = (canvas.paint(edit.prompt, index, frame) for frame in range(count))
        return encode(frames, edit, transparent=transparent)

    return PaintedEdit(
        size=canvas.base.size,
        given=canvas.given,
        transparent=transparent,
        pictures=tuple(picture(index) for index in range(edit.n)),
        partials=tuple(encode([partial], edit, transparent=transparent) for partial in partials),
        thumbnails=Thumbnails(thumbnail(canvas.base), thumbnail(first)),
    )


def colour_of(prompt: str, index: int, frame: int = 0) -> tuple[int, int, int]:
    """A colour for this prompt, this picture of several, and this frame of it."""
    digest = hashlib.sha256(f"{index} {frame} {prompt}".encode(errors="replace")).digest()
    return digest[0], digest[1], digest[2]


@frozen(eq=False)
class _Canvas:
    """A picture in the requested size, the area of it to paint (None: all), and the references for its top edge.

    `given` are the sizes of the pictures as they came.
    """

    base: Image
    hole: Image | None
    references: Sequence[Image]
    given: tuple[Size, ...]

    def paint(self, prompt: str, index: int, frame: int) -> Image:
        from PIL import Image

        colour = Image.new("RGBA", self.base.size, (*colour_of(prompt, index, frame), 255))
        if self.hole is None:
            picture = Image.blend(self.base, colour, TINT)
            picture.putalpha(self.base.getchannel("A"))
        else:
            picture = Image.composite(colour, self.base, self.hole)
        for number, reference in enumerate(self.references):
            picture.alpha_composite(reference, (number * _corner(picture) % picture.width, 0))
        return picture


def _prepared(source: GivenPictures, edit: EditRequest) -> _Canvas:
    if edit.is_old:
        require_old_kind(source.images[0])
    base = decode(source.images[0])
    hole = None if source.overlay is None else hole_of(source.overlay, base.size)
    if edit.background == "transparent" and hole is None:
        _cut_out(base)
    size, given = edit.size or fitting(base.size), [base.size]
    if size != base.size:
        base = base.resize(size)
        hole = None if hole is None else hole.resize(size)
    references: list[Image] = []
    for reference in source.images[1:]:
        picture = decode(reference)
        given.append(picture.size)
        references.append(_small(picture, _corner(base)))
    return _Canvas(base, hole, references, tuple(given))


def _cut_out(picture: Image) -> None:
    """Make all but an ellipse transparent, as a background would be."""
    from PIL import Image, ImageChops, ImageDraw

    ellipse = Image.new("L", picture.size)
    ImageDraw.Draw(ellipse).ellipse((0, 0, picture.width - 1, picture.height - 1), fill=255)
    picture.putalpha(ImageChops.darker(ellipse, picture.getchannel("A")))


def _corner(picture: Image) -> int:
    return max(1, min(picture.size) // 8)


def _small(picture: Image, side: int) -> Image:
    picture.thumbnail((side, side))
    return picture


def _coarse(picture: Image, block: int) -> Image:
    from PIL import Image

    return picture.reduce(block).resize(picture.size, Image.Resampling.NEAREST)
