"""Where things are in a journal's directory (pure)."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import frozen

SEGMENT = ".jsonl"
TEMPORARY = ".tmp"  # behind the name of a segment that is not whole yet

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def is_key(name: str) -> bool:
    """Tell whether `name` can name a key's folder: short, and nothing that leads elsewhere."""
    return _KEY.fullmatch(name) is not None


@frozen
class Layout:
    """The paths below `root`."""

    root: Path

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def purged(self) -> Path:
        """The file whose age tells when the journal was purged last."""
        return self.root / "purged"

    def folder(self, key: str) -> Path:
        return self.uploads / key

    def lock(self, key: str) -> Path:
        return self.locks / f"{key}.lock"
