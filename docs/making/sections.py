"""The index that `docs/static/search.js` searches: the text of each section of each page (pure)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from docutils import nodes

Section = tuple[str, str, str, str, str]  # the page, the anchor, the page's title, the heading, and the text below it


def index_of(pages: Iterable[tuple[str, nodes.document]]) -> str:
    """The script that gives the sections of pages, each with its name, to Sphinx's `Search`."""
    sections = [section for name, page in pages for section in sections_of(name, page)]
    return f"Search.setIndex({json.dumps(sections, ensure_ascii=False, separators=(',', ':'))})"


def sections_of(name: str, page: nodes.document) -> Iterator[Section]:
    """The sections of one page; what is below its title alone has neither anchor nor heading."""
    title = ""
    for section in page.findall(nodes.section):
        heading = section.next_node(nodes.title)
        words = heading.astext() if heading is not None else ""
        text = " ".join(" ".join(_texts(section)).split())
        if isinstance(section.parent, nodes.document):
            title = title or words
            yield name, "", title, "", text
        elif text:
            yield name, section["ids"][0], title, words, text


def _texts(node: nodes.Element) -> Iterator[str]:
    """The text of a section, block by block, without its heading and what is below further ones."""
    for child in node.children:
        if isinstance(child, nodes.TextElement):
            if not isinstance(child, (nodes.title, nodes.comment)):
                yield child.astext()
        elif isinstance(child, nodes.Element) and not isinstance(child, (nodes.section, nodes.Invisible)):
            yield from _texts(child)
