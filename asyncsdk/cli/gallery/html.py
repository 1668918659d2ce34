"""Text, tags and links as HTML; what a user gave stays text (pure)."""

from __future__ import annotations

import os
from html import escape
from pathlib import PurePath
from typing import Literal
from urllib.parse import quote

# HTML can't contain most control characters: the symbols for them are shown
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {0x7F: 0x2421}


def visible(text: str) -> str:
    """`text` in characters that a page can contain: control characters as symbols, broken ones as U+FFFD."""
    whole = text.replace("\r\n", "\n").translate(_VISIBLE)
    return whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def text(value: str) -> str:
    """`value` as HTML text or as the inside of a quoted attribute."""
    return escape(visible(value))


def isolated(value: str) -> str:
    """`value` as HTML whose writing direction does not affect what follows."""
    return tag("bdi", text(value))


def tag(name: str, *content: str, **attributes: str | bool) -> str:
    """An element around HTML: `class_` is class, `data_x` is data-x, True an attribute without value, False none."""
    opened = "".join(_attribute(key, value) for key, value in attributes.items() if value is not False)
    return f"<{name}{opened}>{''.join(content)}</{name}>"


def image(**attributes: str | bool) -> str:
    """A picture that is loaded when it comes into view, and decoded without blocking the page."""
    return tag("img", loading="lazy", decoding="async", **attributes).removesuffix("</img>")


def link(picture: PurePath, base: PurePath) -> str:
    """The URL of `picture` seen from a page in `base`; both are absolute and without `..`.

    Relative, so that page and pictures can be moved together; a file: URL if there is no relative one.
    """
    for up, folder in enumerate((base, *base.parents)):
        if picture.is_relative_to(folder):
            return "../" * up + quote(os.fsencode(picture.relative_to(folder).as_posix()))
    place = picture.as_posix()  # on Windows, of another drive or of a share
    return ("file:" if place.startswith("//") else "file:///") + quote(os.fsencode(place), safe="/:")


def _attribute(key: str, value: str | Literal[True]) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{text(str(value))}"'
