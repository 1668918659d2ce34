"""What is given as a SOURCE and can't be read yet: standard input and URLs; which words say so (pure)."""

from __future__ import annotations

import re

STANDARD_INPUT = "standard input can't be read yet; write it to a file first."
_URL = re.compile(r"([a-z][a-z0-9+.-]+)://|data:", re.IGNORECASE)
_SECRETS = re.compile(r"//[^/?#]*@|[?#].*", re.DOTALL)  # a login, and the signature of a signed URL
_LONGEST = 100


def unread_source(source: str) -> str | None:
    """Why `source` can't be read, and what to do instead; None for what may be a path."""
    if source == "-":
        return f"{STANDARD_INPUT} Nothing was sent."
    if (match := _URL.match(source)) is None:
        return None
    if match[0].lower() == "file://":
        return f"{source} is a URL: give the path alone. Nothing was sent."
    shown = _SECRETS.sub(lambda found: "//" if found[0].startswith("//") else "", source)[:_LONGEST]
    return (
        f"{shown if match[1] else 'data:…'} is a URL, and URLs can't be read yet: download it first, and give the path "
        "of the file. Nothing was sent."
    )
