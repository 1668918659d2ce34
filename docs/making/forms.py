"""Each page as plain Markdown, and `llms.txt`, which lists them (https://llmstxt.org)."""

from __future__ import annotations

import re
from pathlib import Path

from docs.making.layout import menu

_SPHINX_ONLY = re.compile(r"\n*^```\{toctree\}.*?^```\n", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^<!--.*?-->\n", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
_PARAGRAPH = re.compile(r"\A(?!```)[\w`*\[].*", re.DOTALL)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


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
