"""Links between pages in Markdown: found, moved to where the pages are on the site, and checked (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from posixpath import basename, dirname, join, normpath, relpath

_CODE = re.compile(r"^(```+|~~~+).*?^\1[ \t]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))|(?<=src=\")([^\"]+)(?=\")|(?<=srcset=\")([^\"]+)(?=\")")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_ABROAD = re.compile(r"[a-z][a-z0-9+.-]*:")


def slug(heading: str) -> str:
    """The anchor of a heading, as forges make it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """The anchors of a page."""
    return {slug(heading) for heading in _HEADING.findall(without_blocks(text))}


def without_blocks(text: str) -> str:
    """A page without its blocks of code."""
    return _CODE.sub(lambda match: match[0] if match[0].startswith("`") and match[1] is None else "", text)


def links(text: str) -> Iterator[str]:
    """The targets of a page's links and pictures, less those on other sites."""
    for match in _LINK.finditer(_CODE.sub("", text)):
        if not _ABROAD.match(match[0]):
            yield match[0]


def moved(text: str, *, path: str, page: str, page_of: Callable[[str], str | None]) -> str:
    """The page of the file at `path` with its links as they are on the site, where it is `page`."""

    def target(match: re.Match[str]) -> str:
        link, hash_, anchor = match[0].partition("#")
        if not link or _ABROAD.match(link):
            return match[0]
        there = normpath(join(dirname(path), link))
        on_site = page_of(there if "." in basename(there) else f"{there}/README.md")
        return match[0] if on_site is None else relpath(on_site, dirname(page) or ".") + hash_ + anchor

    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"\0{len(kept) - 1}\0"

    rest = _LINK.sub(target, _CODE.sub(keep, text))
    return re.sub(r"\0(\d+)\0", lambda match: kept[int(match[1])], rest)
