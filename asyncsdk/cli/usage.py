"""What is wrong with a command line, in its own words: the option, what was typed, and what may be meant."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

from cyclopts import App
from cyclopts.exceptions import MissingArgumentError, UnknownOptionError, UnusedCliTokensError

from asyncsdk.cli.help import EXAMPLES, near, typed_value
from asyncsdk.cli.unread import STANDARD_INPUT

# how the library speaks of a value: "limit_rate must be … above 0, not 0. Nothing …", "the part size must be …"
_ARGUMENT = re.compile(r"(the [a-z ]+|[a-z_0-9]+) must (.*?), not [^\s.]+(?:\.\d+)?(?=\.)")

_MAY_BE_SECRET = {"--api-key", "--header", "--query"}


def usage_message(error: Exception, app: App, words: Sequence[str]) -> str:
    """What is wrong with a command line, and which help to read."""
    text, chain = problem(error, app, words), chain_of(app, words)
    nothing = "Nothing was started." if chain == ["serve"] else "Nothing was sent."
    safe = "" if "Nothing was" in text else f"{'' if text.endswith(('.', '?')) else '.'} {nothing}"
    return f"{text}{safe}\n  See: {' '.join(['asyncsdk', *chain, '--help'])}"


def problem(error: Exception, app: App, words: Sequence[str]) -> str:
    """What is wrong with a command line."""
    if isinstance(error, MissingArgumentError) and error.argument is not None and not error.argument.tokens:
        return missing(error.keyword or error.argument.name, words)
    if isinstance(error, UnknownOptionError):
        is_dash = error.token.value == "-"
        return STANDARD_INPUT[0].upper() + STANDARD_INPUT[1:] if is_dash else unknown_option(error, app)
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        extra = ", ".join(map(repr, error.unused_tokens))
        return f"{extra} is too much: what is before it is all that the command takes."
    return str(error)


def missing(name: str, words: Sequence[str]) -> str:
    """What is wrong where `name` has no value."""
    value = typed_value(name, words)
    if value is None:
        return f"{name} is missing."
    if value == "-":
        return f"{name}: a file name is needed, `-` is not taken."
    if not value.startswith("-") or name in _MAY_BE_SECRET:
        return f"{name} needs a value."
    return f"{name} needs a value. If {value!r} is the value, write {name}={shlex.quote(value)}"


def unknown_option(error: UnknownOptionError, app: App) -> str:
    """What is wrong with an option: nearly one, one of another command, or the name of a file."""
    typed = (error.token.keyword or error.token.value).partition("=")[0]
    text = f"Unknown option: {typed}."
    if os.path.lexists(typed):
        return f"{text} The file of that name is ./{typed}"
    names = {name.strip("-"): name for argument in error.argument_collection for name in argument.names}
    if guess := near(typed.strip("-"), names):
        return f"{text} Did you mean {names[guess]}?"
    commands = [name for name in EXAMPLES if name and typed in options_of(app, name.split())]
    return f"{text} It is an option of {' and '.join(commands)}." if commands else text


def options_of(app: App, chain: Sequence[str]) -> set[str]:
    """The names of all options of a command; none if it is a group of commands."""
    command = app.parse_commands(chain)[1][-1]
    arguments = command.assemble_argument_collection() if command.default_command else ()
    return {name for argument in arguments for name in argument.names}


def chain_of(app: App, words: Sequence[str]) -> list[str]:
    """The command that a command line calls: `uploads list`."""
    return [name for name in app.parse_commands(list(words))[0] if not name.startswith("-")]


def in_words_of(message: str, words: Sequence[str]) -> str:
    """A message about an argument of the library, with the option in its place and what was typed for it."""
    match = _ARGUMENT.match(message)
    option = match and f"--{match[1].removeprefix('the ').replace('_', '-').replace(' ', '-')}"
    value = option and typed_value(option, words)
    if match is None or not (value or "").strip() or option in _MAY_BE_SECRET:
        return message
    return f"{option} {value}: it must {match[2]}{message[match.end() :]}"
