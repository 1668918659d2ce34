"""The site: its pages are gathered without a dead link, and it is built without a warning and without a network."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote

import pytest

from docs.making.forms import llms_txt, plain_forms
from docs.making.gathering import DeadLinkError, gather
from tests.pages import ROOT


def test_all_pages_are_gathered_with_no_dead_link(tmp_path: Path) -> None:
    gather(ROOT, tmp_path)
    pages = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.md")}
    assert {
        "index.md",
        "start.md",
        "api/uploads.md",
        "commands.md",
        "errors.md",
        "changelog.md",
        "security.md",
    } <= pages
    assert "### RateLimitError" in (tmp_path / "errors.md").read_text()
    assert "### asyncsdk uploads resume" in (tmp_path / "commands.md").read_text()


def test_a_dead_link_is_named_with_its_page(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    (copy / "docs").mkdir(parents=True)
    for name in ("index", "commands", "errors", "performance", "configuration", "many-machines"):
        (copy / "docs" / f"{name}.md").write_text("# A\n")
    (copy / "docs" / "news.md").write_text("# News\n\n[a](gone.md) [b](errors.md#gone) [c](errors.md#a)\n")
    with pytest.raises(DeadLinkError) as dead:
        gather(copy, tmp_path / "pages")
    named = str(dead.value).splitlines()
    assert "news.md: gone.md leads to no page" in named
    assert "news.md: errors.md#gone leads to no heading" in named
    assert not any("errors.md#a " in line for line in named)


def test_each_page_is_there_as_markdown_and_llms_txt_lists_it(tmp_path: Path) -> None:
    gather(ROOT, tmp_path)
    forms = plain_forms(tmp_path)
    listed = llms_txt(tmp_path)
    assert listed.startswith("# asyncsdk\n\n> Sends large files")
    for page in ("start.md", "edit-many.md", "api/edits.md", "errors.md"):
        assert f"]({page}): " in listed
        assert "{toctree}" not in forms[page]
        assert "<!--" not in forms[page]


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sphinx", "furo", "myst_parser")),
    reason="what makes the site is not installed: .ci/run does it",
)
def test_the_site_is_built_without_a_warning_and_needs_no_network(tmp_path: Path) -> None:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "docs", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    html = tmp_path / "site" / "html"
    assert (html / "searchindex.js").stat().st_size > 100_000
    assert (html / "llms.txt").exists()
    assert (html / "start.md").exists()
    broken = [f"{page.relative_to(html)}: {link}" for page in html.rglob("*.html") for link in dead_in(page, html)]
    assert broken == []


def dead_in(page: Path, html: Path) -> list[str]:
    """The links of a page to what is not there, and what it would load from elsewhere."""
    parser = Links()
    parser.feed(page.read_text())
    where = dirname(page.relative_to(html).as_posix())
    inside = [link.partition("#")[0].partition("?")[0] for link in parser.links if "//" not in link]
    dead = [link for link in inside if link and not (html / normpath(join(where, unquote(link)))).exists()]
    return dead + [link for link in parser.loaded if "//" in link]


class Links(HTMLParser):
    """Collects what a page links to, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "src" or (name == "href" and tag == "link")):
                self.loaded.append(value)
            if value and name in {"href", "src"} and not value.startswith(("mailto:", "data:")):
                self.links.append(value)
