"""What is not looked at in folders and lists, and the words for it (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen


@frozen
class LeftOut:
    """Something that the user may want and that was not looked at."""

    path: Path
    reason: str

    @property
    def message(self) -> str:
        """`photos/linked: a link to a folder, which is not followed. It was left out, and nothing was sent for it.`"""
        return f"{self.path}: {self.reason.removesuffix('.')}. It was left out, and nothing was sent for it."


def ignored(counts: Mapping[str, int]) -> str:
    """`Skipped: 3 hidden, 2 @eaDir, 1 #recycle (folders of the system)`."""
    hidden = [f"{counts['hidden']:,} hidden"] if counts.get("hidden") else []
    kept = [f"{count:,} {name}" for name, count in sorted(counts.items()) if name != "hidden"]
    whose = " (folders of the system)" if kept else ""
    return f"Skipped: {', '.join([*hidden, *kept])}{whose}"
