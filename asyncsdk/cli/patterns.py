"""Expands `photos/*.jpg` where the shell did not: it was quoted, or the shell is one of Windows."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from asyncsdk.cli.unread import unread_source
from asyncsdk.cli.walk import is_passed_over, within
from asyncsdk.errors import ConfigurationError

_LETTER = re.compile(r"[^\W\d_]")
_SPECIAL = frozenset("*?[")


def expand(names: Sequence[str], *, apart_from: Path | None = None, known: Container[str] = ()) -> list[str]:
    """The names, each pattern replaced by what matches it, in order.

    What exists as it is written is not a pattern, nor is a URL or what is `known`.

    `**` is any number of folders, of which linked ones are not followed. As in a directory, what is hidden, what a
    system keeps for itself and what is in `apart_from` does not match, unless the pattern names it.

    Raises ConfigurationError if nothing matches.
    """
    return [match for name in names for match in ([name] if name in known else _expanded(name, apart_from))]


def _expanded(name: str, apart_from: Path | None) -> list[str]:
    if not _SPECIAL.intersection(name) or os.path.lexists(name) or unread_source(name):
        return [name]
    try:
        matches = sorted(_matches(Path(name), apart_from))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{name} is not a pattern that can be read: {error}. Nothing was sent.") from error
    if not matches:
        root, rest = _split(Path(name))
        other = min(_matches(root.joinpath(*map(_in_any_case, rest)), apart_from), default=None)
        hint = "" if other is None else f" Upper and lower case count: {other} is there."
        raise ConfigurationError(f"nothing matches {name}.{hint} Nothing was sent.")
    return [str(match) for match in matches]


def _in_any_case(pattern: str) -> str:
    """The pattern with letters that match in either case; those within brackets stay as they are."""
    pieces = re.split(r"(\[[^\]]*\])", pattern)
    return "".join(piece if number % 2 else _LETTER.sub(_either, piece) for number, piece in enumerate(pieces))


def _either(letter: re.Match[str]) -> str:
    return f"[{letter[0].lower()}{letter[0].upper()}]"


def _matches(pattern: Path, apart_from: Path | None) -> Iterator[Path]:
    root, rest = _split(pattern)
    left_out = None if apart_from is None else within(root, apart_from)
    is_deep = "**" in rest
    for path in dict.fromkeys(root.glob(os.path.join(*rest))):  # noqa: PTH118 - a pattern is not a path
        below = path.relative_to(root).parts
        if any(is_passed_over(part) and part not in rest for part in below):
            continue
        if left_out is not None and path.is_relative_to(left_out):
            continue
        if not (is_deep and path.is_dir()):  # whose files match by themselves
            yield path


def _split(pattern: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder to look in, and the parts below it from the first that is special."""
    parts = pattern.parts
    first = next(number for number, part in enumerate(parts) if _SPECIAL.intersection(part))
    rest = parts[first:]
    return Path(*parts[:first]), (*rest, "*") if rest[-1] == "**" else rest
