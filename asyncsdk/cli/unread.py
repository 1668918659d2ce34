"""What is given as a SOURCE and can't be read yet: standard input and URLs; which words say so (pure)."""

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
    if shown.lower().startswith("file://"):
        return f"{source} is a URL: give the path alone. Nothing was sent."
    return (
        f"{shown} is a URL, and URLs can't be read yet: download it first, and give the path of the file. Nothing was "
        "sent."
    )
