"""Gathers the pages of the site in one folder: those that are written and those made of the code; and their menu."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from posixpath import dirname, join, normpath

from docs.making.commands import commands_page, topics
from docs.making.errors import errors_part
from docs.making.links import anchors, links, moved
from docs.making.reference import reference_pages

# headings of the menu, and the pages below each; a page that is in none of them comes last
MENU: Mapping[str, Sequence[str]] = {
    "Guides": (
        "start", "questions", "upload", "streams", "edit", "edit-many", "costs", "a-hundred-thousand-pictures",
        "batches", "many-machines", "fleets", "recipes", "frameworks",
    ),
    "Test your code": ("testing-with-asyncsdk", "faults"),
    "Reference": ("commands", "api/index", "errors", "configuration", "servers"),
    "Background": (
        "reliability", "performance", "comparisons", "coming-from-openai", "security", "architecture",
        "decisions/README", "contributing", "changelog",
    ),
}  # fmt: skip
FROM_THE_ROOT = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "README.md": "index.md",  # a link to it means the page that leads to all others
    "benchmarks/README.md": "benchmarks/index.md",
}
RESULTS = "benchmarks/results/"
NOT_PAGES = ("docs/making/", "docs/static/")
MADE = re.compile(r"^\*.*made of the code.*\*$", re.MULTILINE)  # where in a written page that part is put
_SOURCES = ("*.md", "docs/**/*.*", "benchmarks/*.md", f"{RESULTS}*")


class DeadLinkError(Exception):
    """A link leads to a page or an anchor that is not there."""


def gather(root: Path, folder: Path) -> None:
    """Write all pages into `folder`. Raises DeadLinkError."""
    pages = dict(written(root))
    pages |= reference_pages()
    parts = iter([commands_page(), *topics()])
    pages["commands.md"] = MADE.sub(lambda _: next(parts), pages["commands.md"])
    pages["errors.md"] = MADE.sub(lambda _: errors_part(), pages["errors.md"])
    files = {page: path for path, page in sources(root) if not page.endswith(".md")}
    dead = list(dead_links(pages, set(files)))
    if dead:
        raise DeadLinkError("\n".join(dead))
    pages["index.md"] += contents({page.removesuffix(".md") for page in pages})
    pages["decisions/README.md"] += _tree("*", glob=True)
    pages["performance.md"] += _tree("benchmarks/index")
    pages["benchmarks/index.md"] += _tree("results/*", glob=True)
    pages["api/index.md"] += _tree(
        *sorted(page[4:-3] for page in pages if page.startswith("api/") and "index" not in page)
    )
    for page, text in pages.items():
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        (folder / page).write_text(text)
    for page, path in files.items():
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, folder / page)


def page_of(path: str) -> str | None:
    """The page that the file at `path`, of the repository, is on the site; None for what is not on it."""
    if path in FROM_THE_ROOT:
        return FROM_THE_ROOT[path]
    if path.startswith("docs/") and not path.startswith(NOT_PAGES) and not path.endswith(".py"):
        return path.removeprefix("docs/")
    return path if path.startswith(RESULTS) else None


def sources(root: Path) -> Iterator[tuple[str, str]]:
    """The files of the repository that are on the site, each with its page there."""
    paths = {path.relative_to(root).as_posix() for pattern in _SOURCES for path in root.glob(pattern)}
    for path in sorted(paths):
        page = page_of(path)
        if page is not None and path != "README.md" and (root / path).is_file() and "__pycache__" not in path:
            yield path, page


def written(root: Path) -> Iterator[tuple[str, str]]:
    """The pages that are written, by their names on the site, with links that lead to each other there."""
    for path, page in sources(root):
        if page.endswith(".md"):
            yield page, moved((root / path).read_text(), path=path, page=page, page_of=page_of)


def dead_links(pages: Mapping[str, str], files: set[str]) -> Iterator[str]:
    """What is wrong with the links of pages, in words."""
    known = {page: anchors(text) for page, text in pages.items()}
    for page, text in pages.items():
        for link in links(text):
            target, _, anchor = link.partition("#")
            there = normpath(join(dirname(page), target)) if target else page
            if there not in known and there not in files:
                yield f"{page}: {link} leads to no page"
            elif anchor and anchor not in known.get(there, ()):
                yield f"{page}: {link} leads to no heading"


def menu(pages: Collection[str]) -> dict[str, list[str]]:
    """The menu with those of its pages that there are, and the others under "More"; what has a parent is not in it."""
    known = {name for names in MENU.values() for name in names}
    more = sorted(page for page in pages if "/" not in page and page != "index" and page not in known)
    chosen = {heading: [name for name in names if name in pages] for heading, names in MENU.items()}
    return chosen | ({"More": more} if more else {})


def contents(pages: set[str]) -> str:
    """The menu, as Sphinx reads it."""
    return "".join(_tree(*names, caption=heading) for heading, names in menu(pages).items())


def _tree(*names: str, caption: str = "", glob: bool = False) -> str:
    options = [":hidden:", *([f":caption: {caption}"] if caption else []), *([":glob:"] if glob else [])]
    return "\n".join(["", "```{toctree}", *options, "", *names, "```", ""])
