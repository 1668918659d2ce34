"""Encodes result pictures in the requested format. Blocking: call it in a thread; Pillow is imported at first use."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from asyncsdk.server.edits.fields import EditRequest

if TYPE_CHECKING:
    from PIL.Image import Image

FRAME_MS = 200
_WITHOUT_ALPHA = ("jpeg", "gif")


def encode(frames: Iterable[Image], edit: EditRequest, *, transparent: bool) -> bytes:
    """Encode one picture from RGBA frames, of which only a GIF has several; without `transparent` alpha is dropped."""
    if not transparent:
        frames = map(_flat, frames)
    if edit.output_format == "gif":
        return _animated(frames, edit.frame_duration_ms or FRAME_MS)
    picture = next(iter(frames))
    if edit.output_format == "svg":
        return _svg(picture)
    return _saved(picture, edit.output_format, **_options(edit))


def keeps_alpha(picture: Image, edit: EditRequest) -> bool:
    """Whether the result is transparent: if the format allows it, as requested, or else as the picture is."""
    if edit.output_format in _WITHOUT_ALPHA or edit.background == "opaque":
        return False
    return edit.background == "transparent" or not _is_opaque(picture)


def _is_opaque(picture: Image) -> bool:
    return picture.getchannel("A").getextrema() == (255, 255)


def _flat(picture: Image) -> Image:
    """Drop alpha: transparent pixels become white, opaque ones stay as they are."""
    from PIL import Image

    if _is_opaque(picture):
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, picture).convert("RGB")


def _options(edit: EditRequest) -> dict[str, Any]:
    """Pillow's options: fast rather than small. A webp of quality 100 is lossless, as the real server's."""
    quality = 100 if edit.output_compression is None else edit.output_compression
    if edit.output_format == "png":
        return {"compress_level": 1}
    if edit.output_format == "webp":
        return {"lossless": True, "quality": 0, "method": 0} if quality == 100 else {"quality": quality, "method": 0}
    return {"quality": max(1, quality)}


def _animated(frames: Iterable[Image], milliseconds: int) -> bytes:
    from PIL import Image

    first, *rest = (frame.quantize(method=Image.Quantize.FASTOCTREE) for frame in frames)
    return _saved(first, "gif", save_all=True, append_images=rest, duration=milliseconds // 10 * 10, loop=0)


def _saved(picture: Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def _svg(picture: Image) -> bytes:
    """A drawing of one rectangle, in the picture's mean colour."""
    mean = picture.convert("RGB").resize((1, 1)).tobytes().hex()
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{picture.width}" height="{picture.height}">'
    return f'{head}<rect width="100%" height="100%" fill="#{mean}"/></svg>'.encode()
