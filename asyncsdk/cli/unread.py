"""What is given as a SOURCE and can't be read: `data:` URLs, and mostly standard input; the words for it (pure)."""

from __future__ import annotations

from asyncsdk.given import shown_as_url

STANDARD_INPUT = "standard input can't be read yet; write it to a file first."


def unread_source(source: str) -> str | None:
    """Why `source` can't be read, and what to do instead; None for what may be a path."""
    if source == "-":
        return f"{STANDARD_INPUT} Nothing was sent."
    shown = shown_as_url(source)
    if shown is None:
        return None
    return f"{shown} is not a file: write what it holds to one, and give its path. Nothing was sent."
