"""The program: its commands, and the message and exit code for everything they raise."""

from __future__ import annotations

import inspect
import logging
import sys
import traceback
from collections.abc import Awaitable, Sequence
from itertools import pairwise
from typing import Any

from cyclopts import App, CycloptsError, Parameter
from cyclopts.exceptions import MissingArgumentError, UnknownOptionError, UnusedCliTokensError

from asyncsdk.cli.exits import Exit, exit_code
from asyncsdk.cli.options import Output
from asyncsdk.cli.output import complain, never_fail_to_encode, printable
from asyncsdk.cli.signals import Interrupted, Stop
from asyncsdk.cli.unread import STANDARD_INPUT
from asyncsdk.cli.uploads import messages as words
from asyncsdk.cli.uploads.messages import error_text
from asyncsdk.errors import APIError, AsyncSDKError
from asyncsdk.version import __version__

EPILOGUE = """\
Keys come from the environment: OPENAI_API_KEY (OPENAI_BASE_URL, OPENAI_ORG_ID, OPENAI_PROJECT_ID), or AZURE_OPENAI_*.

Exit codes: 0 done; 1 failed, repeating won't help; 2 wrong usage or refused, nothing was sent; 3 some of several \
failed or are uncertain; 4 stopped at a limit you set; 75 failed for now, 129, 130, 143 \
interrupted: run the same command again, and it goes on."""

EDIT_EPILOGUE = """\
Exit codes: 0 done; 1 failed, repeating won't help; 2 wrong usage or refused, nothing was sent; 3 it may have been \
paid, or it is paid and not all of it is saved where you asked; 75 failed and not paid, the same command tries again; \
129, 130, 143 interrupted: it may have been paid.

Only edit-many keeps a ledger of what was paid: running this command again sends, and pays for, the edit again."""


SERVE_EPILOGUE = """\
Exit codes: 1 it can't listen or keep its data; 2 wrong usage, nothing started; 129, 130, 143 stopped by a signal."""


# a command's module is imported when that command is called, so its help is here
COMMANDS: dict[str, dict[str, Any]] = {
    "uploads.upload:upload": {
        "help": "Upload files. After any interruption the same command goes on where it stopped.\n\n"
        "A file that was uploaded before is not sent again. All FILEs are checked before the first is sent.",
        "usage": "Usage: asyncsdk upload --purpose PURPOSE [OPTIONS] FILE...",
    },
    "uploads.uploads:app": {
        "name": "uploads",
        "help": "The uploads in the journal: those that stopped half-way, and those that are done.",
    },
    "files:app": {"name": "files", "help": "The files that are stored on the server."},
    "edits.edit:edit": {
        "help": "Edit one picture. It is checked before anything is sent and paid. The result has the picture's name.",
        "help_epilogue": EDIT_EPILOGUE,
    },
    "edits.edit_many:edit_many": {
        "help": "Edit many pictures, each once. After an interruption the same command goes on: what was paid is not "
        "sent again."
    },
    "serve:serve": {
        "help": "Run a server that behaves like OpenAI's API for uploads, files and image edits.\n\n"
        'The first line on standard output is its address: {"url": "http://127.0.0.1:8787/v1", "port": 8787}',
        "help_epilogue": SERVE_EPILOGUE,
    },
    "demo.demo:demo": {
        "help": "See an upload killed half-way, the same command finish it, and a picture edited. Needs no account.",
        "usage": "Usage: asyncsdk demo [FILE]",
    },
}


def make_app() -> App:
    """The program with its commands, none of which is loaded yet."""
    app = App(
        name="asyncsdk",
        help="Send large files and edit many images through the OpenAI API: parallel, resumable, nothing paid twice.",
        version=__version__,
        help_format="plaintext",
        help_epilogue=EPILOGUE,
        default_parameter=Parameter(negative=(), show_default=_worth_showing),
    )
    for sort_key, (command, options) in enumerate(COMMANDS.items(), 1):
        app.command(f"asyncsdk.cli.{command}", sort_key=sort_key, **options)
    return app


def run(arguments: Sequence[str], stop: Stop) -> int:
    """Run one command line and return its exit code."""
    never_fail_to_encode()
    try:
        command, bound, injected = make_app().parse_args(list(arguments), exit_on_error=False, print_error=False)
    except (CycloptsError, AsyncSDKError) as error:
        complain(f"error: {usage_message(error)}")
        return Exit.USAGE
    if not inspect.iscoroutinefunction(command):  # --help or --version, or a group of commands without one
        command(*bound.args, **bound.kwargs)
        return Exit.DONE if {"--help", "-h", "--version"} & set(arguments) else Exit.USAGE
    output = bound.arguments.get("output", Output())
    return finish(command(*bound.args, **bound.kwargs, **dict.fromkeys(injected, stop)), stop, verbose=output.verbose)


def finish(work: Awaitable[int], stop: Stop, *, verbose: bool = False) -> int:
    """Run `work` to its end; what it raises becomes a message and an exit code, with a traceback only if `verbose`."""
    import asyncio  # --help does without it

    _log(to_stderr=verbose)
    try:
        return asyncio.run(stop.watch(work))
    except Interrupted:
        stop.say()
        return stop.code
    except Exception as error:  # noqa: BLE001 - nothing reaches a user as a traceback
        return _explain(error, verbose=verbose)


def usage_message(error: Exception) -> str:
    """What is wrong with a command line, and which help to read."""
    chain = getattr(error, "command_chain", None) or ()
    text = _usage_problem(error)
    safe = "" if "Nothing was sent" in text else f"{'' if text.endswith(('.', '?')) else '.'} Nothing was sent."
    return f"{text}{safe}\n  See: {' '.join(['asyncsdk', *chain, '--help'])}"


def _usage_problem(error: Exception) -> str:
    if isinstance(error, MissingArgumentError) and error.argument is not None and not error.argument.tokens:
        name = error.keyword or error.argument.name
        is_dash = (name, "-") in pairwise(error.root_input_tokens or ())
        return f"{name}: a file name is needed, `-` is not taken." if is_dash else f"{name} is missing."
    if isinstance(error, UnknownOptionError) and error.token.value == "-":
        return STANDARD_INPUT[0].upper() + STANDARD_INPUT[1:]
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return (
            f"{', '.join(map(repr, error.unused_tokens))} is too much: what is before it is all that the command takes."
        )
    return str(error)


def failure_message(error: Exception, *, verbose: bool) -> str:
    """What happened, for a person."""
    if isinstance(error, AsyncSDKError):
        from asyncsdk.cli.edits.messages import as_typed  # loads the library, which `--help` does without

        return error_text(error) if isinstance(error, APIError) else as_typed(words.as_typed(error_text(error)))
    if isinstance(error, OSError):
        place = error.filename2 or error.filename
        return f"{f'{place}: ' if place else ''}{error.strerror or error}"
    hint = "" if verbose else " --verbose shows where."
    return f"{type(error).__name__}: {error}. This is a bug in asyncsdk.{hint}"


def _explain(error: Exception, *, verbose: bool) -> int:
    if verbose and not isinstance(error, AsyncSDKError | OSError):
        traceback.print_exception(error)
    advice = error.advice if isinstance(error, AsyncSDKError) else ""
    complain("\n  ".join(filter(None, [f"error: {failure_message(error, verbose=verbose)}", advice])))
    return exit_code(error)


def _worth_showing(value: object) -> str | None:
    return None if value in (None, False, ()) else str(value)


class _Printable(logging.Formatter):
    """Shows control characters as escapes: the log may contain text from a server."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _log(*, to_stderr: bool) -> None:
    """Send the library's log to standard error, or nowhere: without a handler Python writes warnings into the bars."""
    handler = logging.StreamHandler(sys.stderr) if to_stderr else logging.NullHandler()
    handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("asyncsdk")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if to_stderr else logging.WARNING)
