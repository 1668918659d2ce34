"""The pages of the documentation and their blocks of code, for all tests that run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from docs.making.gathering import sources

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *(path for path, page in sources(ROOT) if page.endswith(".md")))

_BLOCK = re.compile(r"(?:^<!-- not run: (.+?) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@frozen
class Block:
    """A block of code.

    Attributes:
        path: The file of its page.
        line: The line where it begins.
        language: As it is written after the fence.
        code: The code.
        not_run: Why it is not run; empty for one that is.
    """

    path: str
    line: int
    language: str
    code: str
    not_run: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def blocks_of(path: str) -> list[Block]:
    """The blocks of a page."""
    text = (ROOT / path).read_text()
    return [
        Block(path, text.count("\n", 0, match.start(2)) + 1, match[2], match[3], match[1] or "")
        for match in _BLOCK.finditer(text)
    ]


def all_blocks(language: str) -> Iterator[Block]:
    """The blocks of a language, on all pages."""
    for path in PAGES:
        yield from (block for block in blocks_of(path) if block.language == language)
