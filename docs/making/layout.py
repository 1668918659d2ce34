"""Which file of the repository is which page, and the order of the pages (pure)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

# headings of the menu, and the pages below each; a page that is in none of them comes last
MENU: Mapping[str, Sequence[str]] = {
    "Guides": (
        "start", "upload", "streams", "edit", "edit-many", "costs", "batches", "many-machines", "fleets", "recipes",
        "frameworks",
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


def page_of(path: str) -> str | None:
    """The page that the file at `path`, of the repository, is on the site; None for what is not on it."""
    if path in FROM_THE_ROOT:
        return FROM_THE_ROOT[path]
    if path.startswith("docs/") and not path.startswith(NOT_PAGES) and not path.endswith(".py"):
        return path.removeprefix("docs/")
    return path if path.startswith(RESULTS) else None


def menu(pages: Collection[str]) -> dict[str, list[str]]:
    """The menu with those of its pages that there are, and the others under "More"; what has a parent is not in it."""
    known = {name for names in MENU.values() for name in names}
    more = sorted(page for page in pages if "/" not in page and page != "index" and page not in known)
    chosen = {heading: [name for name in names if name in pages] for heading, names in MENU.items()}
    return chosen | ({"More": more} if more else {})
