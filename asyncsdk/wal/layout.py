"""Where things are in a journal's directory (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import frozen

SEGMENT = ".jsonl"
TEMPORARY = ".tmp"  # behind the name of a segment that is not whole yet

_STAMP = "%Y-%m-%dT%H%M%S.%fZ"
_STAMP_LENGTH = len("2026-11-22T201500.123Z")
_MILLISECOND = timedelta(milliseconds=1)
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def is_key(name: str) -> bool:
    """Tell whether `name` can name a key's folder: short, and nothing that leads elsewhere."""
    return _KEY.fullmatch(name) is not None


def stamp_after(names: Iterable[str], *, now: float) -> str:
    """The UTC time that a new segment's name begins with: `now`, or just behind the newest of `names` if that is later.

    Segments are read in the order of their names, and a clock may be set back between two of them.
    """
    moments = [datetime.fromtimestamp(now, UTC)]
    for name in names:
        with suppress(ValueError, OverflowError):  # a name that somebody else gave
            moments.append(datetime.strptime(name[:_STAMP_LENGTH], _STAMP).replace(tzinfo=UTC) + _MILLISECOND)
    latest = max(moments)
    return f"{latest:%Y-%m-%dT%H%M%S}.{latest.microsecond // 1000:03}Z"


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
