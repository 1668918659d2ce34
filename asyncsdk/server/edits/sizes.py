"""Reads and checks the size of a result picture (pure); error messages are the real server's."""

from __future__ import annotations

import math
import re

from asyncsdk.server.errors import invalid, refuse

Size = tuple[int, int]

OLD_SIZES = ("256x256", "512x512", "1024x1024")
OLD_DEFAULT = (1024, 1024)
STEP = 16
EDGE_MOST = 3840
PIXELS_LEAST, PIXELS_MOST = 655_360, 8_294_400
RATIO_MOST = 3
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})", re.ASCII)


def read_size(text: str | None) -> Size | None:
    """Return width and height; None for "auto", where the model chooses. Raises ApiError."""
    if text in {None, "auto"}:
        return None
    size = _parsed(text or "")
    if problem := _problem(*size):
        raise refuse(f"Invalid size '{text}'. {problem}", "size", "invalid_value")
    return size


def read_old_size(text: str | None) -> Size:
    """Return width and height, by the older model's rules. Raises ApiError."""
    if text is None:
        return OLD_DEFAULT
    if text not in OLD_SIZES:
        raise invalid("size", f"'{text}' is not one of {list(OLD_SIZES)}")
    return _parsed(text)


def fitting(size: Size) -> Size:
    """Return `size`, or the largest of the same shape that has no more pixels than allowed."""
    pixels = size[0] * size[1]
    if pixels <= PIXELS_MOST:
        return size
    scale = math.sqrt(PIXELS_MOST / pixels)
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))


def shown(size: Size) -> str:
    return "x".join(map(str, size))


def _parsed(text: str) -> Size:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise invalid("size", f"'{text}' is neither 'auto' nor WIDTHxHEIGHT")
    return int(match[1]), int(match[2])


def _problem(width: int, height: int) -> str | None:
    short, long = sorted((width, height))
    if width % STEP or height % STEP:
        return f"Width and height must both be divisible by {STEP}."
    if long > EDGE_MOST:
        return f"The longest edge must be less than or equal to {EDGE_MOST}."
    if long > RATIO_MOST * short:
        return f"The aspect ratio must be between 1:{RATIO_MOST} and {RATIO_MOST}:1."
    if width * height < PIXELS_LEAST:
        return "Requested resolution is below the current minimum pixel budget."
    if width * height > PIXELS_MOST:
        return "Requested resolution exceeds the current pixel budget."
    return None
