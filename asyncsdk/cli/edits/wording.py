"""The library's words for its arguments as the command line's own: `max_edits=5` is `--max-edits 5` there (pure)."""

from __future__ import annotations

import re

from attrs import fields

from asyncsdk.cli.edits.edit_many import RunOptions
from asyncsdk.cli.edits.options import EditOptions

_OPTIONS = frozenset(attribute.name for kind in (RunOptions, EditOptions) for attribute in fields(kind))
_ARGUMENT = re.compile(r"(?<![\w?&-])([a-z][a-z_]*)=('[^']*'|[\w-][^\s,;:()]*(?<!\.))")


def as_typed(message: str) -> str:
    """`message` with the names of options, as they were or would be typed."""
    return _ARGUMENT.sub(_option, message).replace("the same call", "the same command")


def _option(found: re.Match[str]) -> str:
    name, value = found.groups()
    if name not in _OPTIONS:
        return found[0]
    option = f"--{name.replace('_', '-')}"
    return option if value == "True" else f"{option} {value.strip(chr(39))}"
