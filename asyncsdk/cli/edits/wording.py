"""The library's words as the command line's own: `max_edits=5` is `--max-edits 5`, and nobody can call it (pure)."""

from __future__ import annotations

import re

from attrs import fields

from asyncsdk.cli.edits.edit_many import RunOptions
from asyncsdk.cli.edits.options import EditOptions

_OPTIONS = frozenset(attribute.name for kind in (RunOptions, EditOptions) for attribute in fields(kind))
_CALLS = re.compile(
    r"(They|The others) are in memory as long as the program runs: error\.result\.save\(…\) saves them elsewhere\. "
    r"|, or call error\.result\.save\(…\) again|; it is in error\.raw"
)
_ARGUMENT = re.compile(r"(?<![\w?&-])([a-z][a-z_]*)=('[^']*'|[\w-][^\s,;:()]*(?<!\.))")


def as_typed(message: str) -> str:
    """`message` with the names of options, as they were or would be typed."""
    return without_calls(_ARGUMENT.sub(_option, message)).replace("the same call", "the same command")


def without_calls(message: str) -> str:
    """`message` without what only a program can do about an edit that is paid: a command has done it by then."""
    return _CALLS.sub("", message)


def _option(found: re.Match[str]) -> str:
    name, value = found.groups()
    if name not in _OPTIONS:
        return found[0]
    option = f"--{name.replace('_', '-')}"
    return option if value == "True" else f"{option} {value.strip(chr(39))}"
