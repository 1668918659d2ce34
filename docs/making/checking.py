"""What a page of the finished site may not have: links to what is not there, and what is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in {"href", "src"}:
                self.links.append(value)
                if name == "src" or tag == "link":
                    self.loaded.append(value)


def problems_of(html: Path) -> Iterator[str]:
    """What is wrong with the pages in `html`, in words."""
    for path in sorted(html.rglob("*.html")):
        page = _Page()
        page.feed(path.read_text())
        name = path.relative_to(html).as_posix()
        inside = (link.partition("#")[0].partition("?")[0] for link in page.links if ":" not in link.partition("/")[0])
        for link in sorted({link for link in inside if link}):
            if link.startswith("/") or not (html / normpath(join(dirname(name), unquote(link)))).exists():
                yield f"{name}: {link} is not there"
        for link in page.loaded:
            if link.startswith(("http:", "https:", "//")):
                yield f"{name}: {link} is loaded from elsewhere"
