"""Pictures for stories: made on the spot, so that what was edited can be told from what was not."""

from __future__ import annotations

import io
import random
from pathlib import Path

from PIL import Image

Box = tuple[int, int, int, int]


def photo(path: Path, size: tuple[int, int] = (256, 256), *, seed: int = 1) -> Path:
    """A picture of noise: any change of any pixel shows."""
    width, height = size
    Image.frombytes("RGB", size, random.Random(seed).randbytes(width * height * 3)).save(path)
    return path


def mask(path: Path, hole: Box, size: tuple[int, int] = (256, 256)) -> Path:
    """Opaque but for `hole`, which is to be edited."""
    picture = Image.new("RGBA", size, (0, 0, 0, 255))
    picture.paste((0, 0, 0, 0), hole)
    picture.save(path)
    return path


def png(seed: int = 1, size: tuple[int, int] = (16, 16)) -> bytes:
    """A small picture as bytes; another `seed`, another picture."""
    found = io.BytesIO()
    Image.frombytes("RGB", size, random.Random(seed).randbytes(size[0] * size[1] * 3)).save(found, "PNG")
    return found.getvalue()


def heic(
    path: Path, size: tuple[int, int] = (64, 48), *, mode: str = "RGB", orientation: int = 1, noise: bool = False
) -> Path:
    """A HEIC as a phone writes it: its left half is red and the rest blue, or transparent where it has alpha.

    With `noise` it has many bytes.
    """
    import pillow_heif

    picture = Image.new(mode, size, (0, 0, 255, 0)[: len(mode)])
    picture.paste((255, 0, 0, 255)[: len(mode)], (0, 0, size[0] // 2, size[1]))
    if noise:
        picture = Image.effect_noise(size, 100).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pillow_heif.from_pillow(picture).save(path, quality=90, exif=exif.tobytes())
    return path


def changed(before: Path, after: Path) -> Box | None:
    """The smallest box that holds every pixel which differs."""
    from PIL import ImageChops

    with Image.open(before) as old, Image.open(after) as new:
        return ImageChops.difference(old.convert("RGB"), new.convert("RGB")).getbbox()
