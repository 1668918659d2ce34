"""Files to upload: random bytes, so that nothing on the way can make less of them."""

from __future__ import annotations

import os
from pathlib import Path

PIECE = 1 << 20
CURLS_PART = 32 << 20


def random_file(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        for start in range(0, size, PIECE):
            file.write(os.urandom(min(PIECE, size - start)))
    return path


def cut(path: Path) -> Path:
    """Cut `path` beforehand into `path`.parts/, for curl, which can't send a range of a file as a form field."""
    parts = path.with_name(path.name + ".parts")
    parts.mkdir()
    with path.open("rb") as whole:
        for number in range(-(-path.stat().st_size // CURLS_PART)):
            with (parts / f"{number:04}").open("wb") as part:
                for _ in range(CURLS_PART // PIECE):  # small pieces: our memory would be counted to the contenders
                    part.write(whole.read(PIECE))
    return path
