"""No pattern takes the square of the time: a server's text could hold the event loop for seconds or hours."""

from __future__ import annotations

import ast
import importlib
import re
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import field, frozen

from tests.test_layers import MODULES, ROOT, calls, tree

SIZES = (16 << 10, 64 << 10, 256 << 10, 1 << 20)  # four times as much each time
GROWTH = 9.0  # a linear pattern takes four times as long for that, a quadratic one sixteen times
SQUARE = 20.0  # what a quadratic pattern takes of the next size, and a margin
LARGER = range(len(SIZES) - 1, -1, -1)  # how many sizes follow
EVEN = 4.7  # an + bn² grows by more than that to the last size but one if it grows by GROWTH to the last
HEADS = ("A" * 1000, "https://x", '{"a":')  # of what ends otherwise than it should, behind many blanks
BLANKS = (" ", "\n", "\x0b")
UNMEASURABLE = 0.01  # seconds: shorter times are noise
WAYS = {"search", "match", "fullmatch", "sub", "finditer", "findall", "split"}


@frozen
class Use:
    """A pattern of the package, and the ways in which its module looks for it."""

    module: str
    pattern: re.Pattern[Any] = field(eq=str)
    ways: frozenset[str]

    @property
    def source(self) -> str:
        source: str | bytes = self.pattern.pattern
        return source if isinstance(source, str) else source.decode("latin-1")

    def seconds(self, text: str) -> float:
        data = text.encode("latin-1", "replace") if isinstance(self.pattern.pattern, bytes) else text
        began = time.thread_time()
        for way in self.ways:
            if way == "sub":
                self.pattern.sub(lambda found: found[0], data)
            elif way == "finditer":
                deque(self.pattern.finditer(data), maxlen=0)
            else:
                getattr(self.pattern, way)(data)
        return time.thread_time() - began

    def slow_text(self) -> str | None:
        """What it takes more than linear time for. Sizes grow step by step: 1 MiB of it might take an hour."""
        shapes = [("", unit, "") for unit in sorted(nasty(self.source))]
        shapes += [(head, blank, "!") for head in HEADS for blank in BLANKS]
        for head, unit, end in shapes:
            before, last = UNMEASURABLE, 0.0
            for larger, size in zip(LARGER, SIZES, strict=True):
                text = head + unit * (size // len(unit)) + end
                needed = self.seconds(text)
                if needed > GROWTH * before:
                    needed = min(needed, self.seconds(text))
                if needed > GROWTH * before:
                    return head + unit + end
                if needed * SQUARE**larger < GROWTH * UNMEASURABLE:
                    break  # with the square of its time, too, all of the larger ones would be within bounds
                if larger == 1 and last > 0.1 * UNMEASURABLE and needed < EVEN * last:
                    break
                before, last = max(needed, UNMEASURABLE), needed
        return None


def uses(module: str) -> Iterator[Use]:
    """Each pattern of `module`: compiled and kept under a name, or written where it is needed."""
    dotted = f"asyncsdk.{module}".removesuffix(".py").removesuffix("__init__").replace("/", ".").rstrip(".")
    for name, pattern in vars(importlib.import_module(dotted)).items():
        if isinstance(pattern, re.Pattern):
            ways = {call.rpartition(".")[2] for call in calls(module) if call.partition(".")[0] == name} & WAYS
            yield Use(module, pattern, frozenset(ways))
    text = (ROOT / module).read_text()
    if "import re" not in text and "from re import" not in text:
        return  # every process that runs tests passes here: few are parsed
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and (way := ast.unparse(node.func).removeprefix("re.")) in WAYS:
            source: Any = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
            yield Use(module, re.compile(source), frozenset({way}))


def nasty(source: str) -> set[str]:
    """What is repeated to bring a pattern into trouble: what it looks for, and what may be between."""
    plain = re.sub(r"\\[A-Za-z]|\{[\d,]+\}|\(\?[a-zA-Z:<!=]+", " ", source)
    words, signs = re.findall(r"[a-zA-Z_]+", plain), re.findall(r"[^\w\s\\()|?*+^$\[\]{}]", plain)
    units = {word + end for word in words for end in ("", ": 1 ", "='", ".")} | set(signs)
    return units | {" ", "1", "a", "a.", "1.", "\t\n", "\u00ff", "".join(f"{word} " for word in words)} - {""}


USES = sorted({use for module in MODULES for use in uses(module)}, key=lambda use: (use.module, use.source))


def test_each_use_of_a_pattern_is_seen() -> None:
    assert {use.module for use in USES} == {
        module for module in MODULES if any(call.startswith("re.") for call in calls(module))
    }
    assert [use for use in USES if not use.ways] == []


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.module}-{use.source}")
def test_a_pattern_takes_linear_time(use: Use) -> None:
    assert use.slow_text() is None


def test_a_pattern_of_square_time_is_found() -> None:
    together = re.compile(r"Limit:? (\d[\d,]{0,20}).*?Requested:? (\d[\d,]{0,20})", re.DOTALL)
    assert Use("", together, frozenset({"search"})).slow_text() == "Limit: 1 "
    assert Use("", re.compile(r"\s+end"), frozenset({"search"})).slow_text() is not None
    overlapping = re.compile(r"([A-Z][A-Z\s]{999,}=?)\s*")
    assert Use("", overlapping, frozenset({"fullmatch"})).slow_text() == f"{HEADS[0]} !"
