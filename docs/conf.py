"""Sphinx's settings: MyST reads the Markdown, furo shows it. See `docs/decisions/057`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asyncsdk import __version__
from docs.making.sections import index_of

project = "asyncsdk"
release = version = __version__
copyright = "the maintainers of asyncsdk"  # noqa: A001 - Sphinx's name
extensions = ["myst_parser"]
html_theme = "furo"
html_title = f"asyncsdk {__version__}"
html_static_path = [str(Path(__file__).parent / "static")]
html_css_files = ["site.css"]
html_js_files = [(name, {"defer": "defer"}) for name in ("search.js", "scrolling.js")]  # after Sphinx's own
html_copy_source = html_show_sphinx = html_use_index = False
myst_heading_anchors = 4
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "github-dark"
toc_object_entries = False


def setup(app: Any) -> None:
    """Link each page to its Markdown, for those that read without a browser; let sections be searched."""
    app.connect("html-page-context", _with_markdown)
    app.connect("build-finished", _let_sections_be_searched)


def _let_sections_be_searched(app: Any, error: Exception | None) -> None:
    if error is None:
        pages = ((name, app.env.get_doctree(name)) for name in sorted(app.env.found_docs))
        (Path(app.outdir) / "searchindex.js").write_text(index_of(pages))


def _with_markdown(_: Any, page: str, __: str, context: dict[str, Any], doctree: Any) -> None:
    if doctree is not None:
        name = page.rpartition("/")[2]
        context["theme_source_view_link"] = f"{name}.md"
        context["metatags"] += f'\n<link rel="alternate" type="text/markdown" href="{name}.md">'
