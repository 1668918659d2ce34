"""Docstrings in Google's form, taken apart (pure)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

from attrs import field, frozen

_HEADING = re.compile(r"(Args|Attributes|Returns|Yields|Raises):")
_ENTRY = re.compile(r"    (\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)")


@frozen
class Docstring:
    """What a docstring says.

    Attributes:
        text: All but its sections.
        entries: Of each section that has them, such as "Args", what each name means.
        results: What comes of a call: of "Returns" or "Yields", as a text.
    """

    text: str
    entries: Mapping[str, Mapping[str, str]] = field(factory=dict)
    results: Mapping[str, str] = field(factory=dict)

    @property
    def parameters(self) -> Mapping[str, str]:
        """What each argument or attribute is, by its name without stars."""
        return {**self.entries.get("Attributes", {}), **self.entries.get("Args", {})}


def grouped(entries: Mapping[str, str]) -> list[tuple[tuple[str, ...], str]]:
    """Entries with those that are described together as one."""
    groups: list[tuple[tuple[str, ...], str]] = []
    for name, text in entries.items():
        if groups and groups[-1][1] == text:
            groups[-1] = ((*groups[-1][0], name), text)
        else:
            groups.append(((name,), text))
    return groups


def docstring_of(subject: object) -> Docstring:
    """The docstring of a class, of which that of `__init__` is a part, or of a function."""
    own = parsed(vars(subject).get("__doc__") or "" if isinstance(subject, type) else inspect.getdoc(subject) or "")
    init = vars(subject).get("__init__") if isinstance(subject, type) else None
    more = parsed(getattr(init, "__doc__", None) or "")
    if not more.entries:
        return own
    return Docstring(own.text, {**own.entries, **more.entries}, own.results)


def parsed(text: str) -> Docstring:
    """A docstring taken apart."""
    parts: dict[str, list[str]] = {"": []}
    heading = ""
    for line in inspect.cleandoc(text).splitlines():
        match = _HEADING.fullmatch(line)
        if match:
            heading = match[1]
        elif line and not line.startswith(" "):
            heading = ""
        if not match:
            parts.setdefault(heading, []).append(line)
    entries = {name: _entries(lines) for name, lines in parts.items() if name in {"Args", "Attributes", "Raises"}}
    results = {name: _joined(lines) for name, lines in parts.items() if name in {"Returns", "Yields"}}
    return Docstring("\n".join(parts[""]).strip(), entries, results)


def _entries(lines: list[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        match = _ENTRY.fullmatch(line)
        if match:
            current = [match[2]]
            found |= dict.fromkeys((name.lstrip("*") for name in match[1].split(", ")), current)
        else:
            current.append(line)
    return {name: _joined(text) for name, text in found.items()}


def _joined(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())
