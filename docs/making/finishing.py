"""Finishes what Sphinx made: adds each page as Markdown and `llms.txt` (https://llmstxt.org), and looks it over."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote

from docs.making.gathering import menu

_SPHINX_ONLY = re.compile(r"\n*^```\{toctree\}.*?^```\n", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^<!--.*?-->\n", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_PARAGRAPH = re.compile(r"\A(?!```)[\w`*\[].*", re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
# what programs that read pages aloud miss in those of the theme, and of MyST
_FOR_READERS = {
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<aside class="toc-drawer': '<aside aria-label="This page" class="toc-drawer',
    '<div class="content-icon-container">': '<div class="content-icon-container" role="region" aria-label="Forms">',
    '<th class="head"><p></p></th>': '<td class="head"></td>',
}


def finish(markdown: Path, html: Path) -> None:
    """Put into `html` what is not Sphinx's to make: the pages as Markdown, and the files that they lead to."""
    for path in html.rglob("*.html"):
        path.write_text(for_readers(path.read_text()))
    for page, text in plain_forms(markdown).items():
        (html / page).write_text(text)
    (html / "llms.txt").write_text(llms_txt(markdown))
    for file in markdown.rglob("*.*"):
        if file.suffix != ".md" and file.is_file():
            (html / file.relative_to(markdown)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, html / file.relative_to(markdown))


def for_readers(page: str) -> str:
    """A page with what programs need that read it aloud."""
    for part, mended in _FOR_READERS.items():
        page = page.replace(part, mended)
    return page


def plain_forms(folder: Path) -> dict[str, str]:
    """The pages in `folder` as they are read without a browser, by name."""
    return {
        path.relative_to(folder).as_posix(): _COMMENT.sub("", _SPHINX_ONLY.sub("\n", path.read_text())).rstrip() + "\n"
        for path in sorted(folder.rglob("*.md"))
    }


def llms_txt(folder: Path) -> str:
    """What there is to read, each with its first sentence."""
    forms = {page.removesuffix(".md"): text for page, text in plain_forms(folder).items()}
    names = menu(forms)
    names["Reference"] += sorted(page for page in forms if page.startswith("api/") and page != "api/index")
    index = forms["index"]
    lines = [f"# {_title(index)}", "", f"> {_first_paragraph(index)}"]
    for heading, pages in names.items():
        lines += ["", f"## {heading}", ""]
        lines += [f"- [{_title(forms[page])}]({page}.md): {_first_sentence(forms[page])}" for page in pages]
    return "\n".join(lines) + "\n"


def _title(text: str) -> str:
    match = _TITLE.search(text)
    return match[1] if match else ""


def _first_paragraph(text: str) -> str:
    paragraphs = (part for part in text.split("\n\n") if _PARAGRAPH.match(part))
    return _LINK.sub(r"\1", " ".join(next(paragraphs, "").split()))


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?]) ", _first_paragraph(text), maxsplit=1)[0].rstrip(":")


def problems_of(html: Path) -> Iterator[str]:
    """What a page in `html` may not have, in words: links to what is not there, and what is loaded from elsewhere."""
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
