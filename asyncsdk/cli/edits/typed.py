"""Messages of the library in the words of the command line: options in the place of arguments (pure)."""

from __future__ import annotations

import re

from attrs import fields

from asyncsdk.cli.edits.options import BatchRunOptions, EditOptions, RunOptions

_OPTIONS = frozenset(
    attribute.name for kind in (RunOptions, BatchRunOptions, EditOptions) for attribute in fields(kind)
)
_CALLS = re.compile(
    r"(They|The others) are in memory as long as the program runs: error\.result\.save\(…\) saves them elsewhere\. "
    r"|, or call error\.result\.save\(…\) again|; it is in error\.raw"
)
_COMMANDS = {
    "he same call": "he same command",
    "with only=['refused'] it": "with --only refused it",
    "Give it a `model`.": "Give --model, or its row a `model`.",
    "edit_many sends it.": "The same command without --batch sends it.",
}
_ARGUMENT = re.compile(r"(?<![\w?&-])([a-z][a-z_]*)=('[^']*'|[\w-][^\s,;:()]*(?<!\.))")


def as_typed(message: str) -> str:
    """`message` with options in place of arguments: `--n 99` for `n=99`."""
    return without_calls(_ARGUMENT.sub(_option, message))


def without_calls(message: str) -> str:
    """`message` with commands in place of calls, and without the advice for programs on an edit that is paid."""
    message = _CALLS.sub("", message)
    for call, command in _COMMANDS.items():
        message = message.replace(call, command)
    return message


def _option(match: re.Match[str]) -> str:
    name, value = match.groups()
    if name not in _OPTIONS:
        return match[0]
    option = f"--{name.replace('_', '-')}"
    return option if value == "True" else f"{option} {value.strip(chr(39))}"
