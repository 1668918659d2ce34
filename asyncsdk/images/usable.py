"""Whether bytes that came as a picture are one: an edit is not done with a web page or with nothing (pure)."""

from __future__ import annotations

import re
from typing import Literal

from asyncsdk.images.header import BadPicture, Kind, foreign_kind, kind_of, look

_OTHERS = frozenset({"AVIF", "HEIC", "TIFF", "BMP", "an icon"})  # pictures too, though no edit takes them
_SVG = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:\s+|<\?xml.*?\?>|<!--.*?-->|<!DOCTYPE\s+svg\b[^>\[]*(?:\[.*?\]\s*)?>)*+<(?:svg:)?svg[\s>/]",
    re.DOTALL | re.IGNORECASE,
)
_LONGEST_PROLOGUE = 1 << 16


def picture_problem(content: bytes) -> str | None:
    """Why `content` can't be used as a picture; None if it is one, whole as far as its header tells."""
    if not content:
        return "it is empty"
    try:
        header = look(content)
    except BadPicture as error:
        return str(error)
    if header is not None or foreign_kind(content) in _OTHERS:
        return None
    if is_svg(content):
        end = content[-_LONGEST_PROLOGUE:].rstrip()
        return None if end.endswith(b"/>") or b"</svg" in end else "it is cut off: a whole SVG ends with </svg>"
    if content.lstrip()[:1] == b"<":
        return "it is a web page or other markup, not a picture"
    return "it is not a picture of a known kind"


def picture_kind(content: bytes) -> Kind | Literal["svg"] | None:
    """What kind of picture `content` is, by its beginning; None for what is not one that an edit makes."""
    return kind_of(content) or ("svg" if is_svg(content) else None)


def is_svg(content: bytes) -> bool:
    """Whether `content` is an SVG document: after what may come before it, it begins with `<svg`."""
    return _SVG.match(content, 0, _LONGEST_PROLOGUE) is not None
