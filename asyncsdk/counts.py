"""How many of a thing, in words (pure)."""

from __future__ import annotations


def counted(count: int, thing: str) -> str:
    """`1 file`, `2 files`, `1 batch`, `2 batches`."""
    if count == 1:
        return f"1 {thing}"
    return f"{count:,} {thing}{'es' if thing.endswith('ch') else 's'}"


def are(count: int) -> str:
    """`is` of one, else `are`."""
    return "is" if count == 1 else "are"


def were(count: int) -> str:
    """`was` of one, else `were`."""
    return "was" if count == 1 else "were"


def them(count: int) -> str:
    """`it` for one, else `them`."""
    return "it" if count == 1 else "them"
