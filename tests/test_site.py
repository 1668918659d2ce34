"""The site: it is built without a warning or a dead link, and each page is there as Markdown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncsdk.cli.help import TOPICS
from docs.__main__ import PARTS, build, make_room
from docs.making.finishing import llms_txt, plain_forms, problems_of
from docs.making.gathering import DeadLinkError, gather, sources
from docs.making.links import anchors, links
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
    commands = (tmp_path / "commands.md").read_text()
    assert "### asyncsdk uploads resume" in commands
    for topic in TOPICS.values():
        title, _, body = topic.partition("\n\n")
        assert f"## {title}\n\n```text\n{body}\n```" in commands
    assert "made of the code" not in commands + (tmp_path / "api" / "index.md").read_text()


@pytest.mark.parametrize("page", [path for path, page in sources(ROOT) if page.endswith(".md")] + ["README.md"])
def test_in_a_clone_too_each_link_leads_to_a_file_and_a_heading(page: str) -> None:
    for link in links((ROOT / page).read_text()):
        path, _, anchor = link.partition("#")
        there = (ROOT / page).parent / path if path else ROOT / page
        assert there.exists(), link
        assert not anchor or anchor in anchors(there.read_text()), link


def test_it_is_built_without_a_warning(site: Path) -> None:
    assert "asyncsdk" in (site / "index.html").read_text()
    assert (site / "start.md").read_text().startswith("# ")


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


def test_a_page_with_a_link_to_nothing_or_with_what_is_elsewhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "a.html").write_text(
        '<a href="../b.html#x">b</a><a href="https://x.example/">x</a><a href="#here">h</a><img src="gone.png">'
    )
    (tmp_path / "b.html").write_text('<script src="https://x.example/x.js"></script><a href="/api/a.html">a</a>')
    assert list(problems_of(tmp_path)) == [
        "api/a.html: gone.png is not there",
        "b.html: /api/a.html is not there",
        "b.html: https://x.example/x.js is loaded from elsewhere",
    ]


def test_a_directory_with_anything_that_no_build_made_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    for name in ("html/index.html", "thesis/chapter.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("mine")
    with pytest.raises(SystemExit, match="'thesis', which no build made"):
        build(tmp_path)
    assert {path.read_text() for path in tmp_path.rglob("*.*")} == {"mine"}
    assert len(list(tmp_path.rglob("*.*"))) == 2


def test_what_an_earlier_build_left_is_removed(tmp_path: Path) -> None:
    for part in PARTS:
        (tmp_path / part).mkdir()
        (tmp_path / part / "old.html").touch()
    make_room(tmp_path)
    assert not list(tmp_path.iterdir())
    make_room(tmp_path / "not there yet")


def test_sections_are_searched_each_with_its_page_heading_and_text() -> None:
    pytest.importorskip("docutils", reason="the extra `docs` is not installed")
    from docutils.core import publish_doctree

    from docs.making.sections import index_of

    page = publish_doctree(
        """
Pictures
========

.. not shown

First of all, *one* paragraph.

A 429
-----

* an item

  another paragraph

Deeper
~~~~~~

::

    client.upload("a")

Only a heading
--------------
""",
        settings_overrides={"doctitle_xform": False},
    )
    script = index_of([("guide", page)])
    assert json.loads(script.removeprefix("Search.setIndex(").removesuffix(")")) == [
        ["guide", "", "Pictures", "", "First of all, one paragraph."],
        ["guide", "a-429", "Pictures", "A 429", "an item another paragraph"],
        ["guide", "deeper", "Pictures", "Deeper", 'client.upload("a")'],
    ]
