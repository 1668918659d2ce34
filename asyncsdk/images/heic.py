"""Looks at HEIC pictures and converts them to JPEG or PNG, with Pillow-heif where that is installed.

Nothing is registered with Pillow: what else this process opens is not changed by it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Literal

from asyncsdk import files
from asyncsdk.errors import EditError, InvalidEditError
from asyncsdk.extras import install_command
from asyncsdk.images.check import invalid
from asyncsdk.images.edit import ConvertedImage, HeicImage, UnreadableHeic
from asyncsdk.images.header import MIME_TYPES, Header, heic_is_cut, heic_pixels
from asyncsdk.threads import DaemonThreadPool, NoThreadError

MOST_PIXELS = 100_000_000  # phones make 50 million; decoded, a pixel takes ten bytes for a moment
QUALITY = 95
NOT_CONVERTED = "HEIC"  # the reason where Pillow-heif is missing
MISSING = f"HEIC inside: {install_command('heic')}, or convert it to PNG, JPEG or WebP"
_SUFFIXES: dict[str, str] = {"jpeg": ".jpg", "png": ".png"}
# one at a time in the whole process, since each holds all its pixels
_CONVERTING = DaemonThreadPool("asyncsdk-converting", 1)


async def heic_image(content: bytes, name: str, *, field: str, png_only: bool) -> HeicImage | UnreadableHeic:
    """A HEIC picture by its header: nothing is decoded. Unreadable where Pillow-heif is missing.

    Raises InvalidEditError.
    """
    pixels = await files.in_thread(heic_pixels, content)
    if pixels > MOST_PIXELS:
        raise invalid(
            f"{field}: {name} is a HEIC of {pixels:,} pixels, and at most {MOST_PIXELS:,} are converted. "
            "Make it smaller. Nothing was sent.",
            "too large",
        )
    try:
        with _refusing(f"{field}: {name}"):
            if heic_is_cut(content):
                raise ValueError("a box of it ends after the file does")
            header = await files.in_thread(_look, content, png_only)
    except InvalidEditError as error:
        if error.reason != NOT_CONVERTED:
            raise
        return UnreadableHeic(content=content, filename=name, mime_type="image/heic", error=error)
    return HeicImage(content=content, filename=name, mime_type="image/heic", header=header)


async def converted(image: HeicImage, *, field: str) -> ConvertedImage:
    """The picture as JPEG, or as PNG where its `header` says so.

    Raises InvalidEditError where it is damaged, EditError where there is too little memory for it.
    """
    kind = image.header.kind
    with _refusing(f"{field}: {image.filename}"):
        content = await files.in_thread(_convert, image.content, kind == "png", pool=_CONVERTING)
    original = await files.in_thread(sha256_of, image.content)
    name = str(PurePath(image.filename).with_suffix(_SUFFIXES[kind]))
    return ConvertedImage(content=content, filename=name, mime_type=MIME_TYPES[kind], original=original)


def sha256_of(content: bytes) -> str:
    """As an edit's digest has it. Blocking, for a tenth of a second at most."""
    return hashlib.sha256(content).hexdigest()


def _look(content: bytes, png_only: bool) -> Header:  # noqa: FBT001 - an argument of a thread's job
    import pillow_heif

    heif = pillow_heif.open_heif(content)  # reads the boxes; pixels are decoded when they are asked for
    width, height = heif.size  # as it is shown: what turns a HEIC is part of the picture, whatever its EXIF says
    kind: Literal["png", "jpeg"] = "png" if png_only or heif.has_alpha else "jpeg"
    return Header(kind, width, height, has_alpha=heif.has_alpha)


def _convert(content: bytes, as_png: bool) -> bytes:  # noqa: FBT001 - as above
    import pillow_heif

    image = pillow_heif.open_heif(content).to_pillow()  # upright, with 8 bits a channel
    profile = image.info.get("icc_profile")
    if image.mode in {"RGBa", "La"}:
        image = image.convert("RGBA")
    target = io.BytesIO()
    if as_png:
        image.save(target, "PNG", icc_profile=profile)
    else:
        image.save(target, "JPEG", quality=QUALITY, subsampling=0, icc_profile=profile)
    return target.getvalue()


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Translate what Pillow-heif raises, which may be nearly anything for a file that is damaged."""
    try:
        yield
    except (InvalidEditError, NoThreadError):
        raise
    except ImportError as error:  # not installed, or a library that it needs is not
        raise invalid(f"{name} is {MISSING}. Nothing was sent.", NOT_CONVERTED) from error
    except MemoryError as error:
        failure = EditError(f"{name}: there is too little memory to convert it. Nothing was sent.")
        failure.resumable = True
        raise failure from error
    except (ValueError, EOFError, SyntaxError, RuntimeError, IndexError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise invalid(
            f"{name} can't be used: the HEIC is cut off or damaged ({reason}). Nothing was sent.", "damaged"
        ) from error
