"""Sphinx's settings: MyST reads the Markdown, furo shows it. See `docs/decisions/057`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.search import languages
from sphinx.search.en import SearchEnglish

from asyncsdk import __version__

project = "asyncsdk"
release = version = __version__
copyright = "the maintainers of asyncsdk"  # noqa: A001 - Sphinx's name
extensions = ["myst_parser"]
html_theme = "furo"
html_title = f"asyncsdk {__version__}"
html_static_path = [str(Path(__file__).parent / "static")]
html_css_files = ["site.css"]
html_search_scorer = str(Path(__file__).parent / "static" / "scorer.js")
html_copy_source = html_show_sphinx = html_use_index = False
myst_heading_anchors = 4
pygments_style, pygments_dark_style = "friendly", "github-dark"
toc_object_entries = False


class _WithCodes(SearchEnglish):
    """English with numbers of up to three digits: statuses and exit codes are looked for."""

    def word_filter(self, word: str) -> bool:
        return len(word) <= 3 if word.isdigit() else super().word_filter(word)


languages["en"] = _WithCodes
_IS_SKIPPED = r"queryTerm.match(/^\d+$/)"


def setup(app: Any) -> None:
    """Link each page to its Markdown, for those that read without a browser; let numbers be searched."""
    app.connect("html-page-context", _with_markdown)
    app.connect("build-finished", _let_numbers_be_searched)


def _let_numbers_be_searched(app: Any, _: Exception | None) -> None:
    script = Path(app.outdir) / "_static" / "searchtools.js"
    before, found, after = script.read_text().partition(_IS_SKIPPED)
    if not found:
        raise ValueError(f"{script} has no {_IS_SKIPPED}: does this version of Sphinx search numbers by itself?")
    script.write_text(f"{before}false{after}")


def _with_markdown(_: Any, page: str, __: str, context: dict[str, Any], doctree: Any) -> None:
    if doctree is not None:
        name = page.rpartition("/")[2]
        context["theme_source_view_link"] = f"{name}.md"
        context["metatags"] += f'\n<link rel="alternate" type="text/markdown" href="{name}.md">'
