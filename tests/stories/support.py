"""Small words that the stories share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

MIB = 1 << 20
MakeFile = Callable[..., Path]


def md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()
