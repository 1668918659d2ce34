"""The program: its commands, and the message and exit code for everything they raise."""

from __future__ import annotations

import inspect
import logging
import sys
import traceback
from collections.abc import Awaitable, Sequence
from typing import Any

from cyclopts import App, CycloptsError, Parameter

from asyncsdk.cli.exits import Exit, exit_code
from asyncsdk.cli.help import HELP, START, VERSION, canonical, epilogue, fitted, topic_of
from asyncsdk.cli.options import Output
from asyncsdk.cli.output import complain, never_fail_to_encode, printable, show_text
from asyncsdk.cli.signals import Interrupted, Stop
from asyncsdk.cli.uploads import messages as uploads
from asyncsdk.cli.uploads.standard_input import with_dash_as_source
from asyncsdk.cli.usage import chain_of, in_words_of, usage_message
from asyncsdk.errors import APIError, AsyncSDKError, ConfigurationError
from asyncsdk.version import __version__

# a command's module is imported when that command is called, so its help is here
COMMANDS: dict[str, dict[str, Any]] = {
    "uploads.upload:upload": {
        "help": "Upload files. After any interruption the same command goes on where it stopped.\n\n"
        "A file that was uploaded before is not sent again. All files are checked before the first is sent.",
        "usage": "Usage: asyncsdk upload --purpose PURPOSE [OPTIONS] SOURCE...",
    },
    "uploads.uploads:app": {
        "name": "uploads",
        "help": "The uploads in the journal: those that stopped half-way, and those that are done.",
    },
    "files:app": {"name": "files", "help": "The files that are stored on the server."},
    "edits.edit:edit": {
        "help": "Edit one picture. It is checked before anything is sent and paid. The result has the picture's name."
        "\n\nOnly edit-many keeps a ledger of what was paid: the same edit again is sent, and paid, again.",
    },
    "edits.edit_many:edit_many": {
        "help": "Edit many pictures, each once. After an interruption the same command goes on: what was paid is not "
        "sent again."
    },
    "edits.ledger:app": {
        "name": "ledger",
        "help": "What edit-many remembers in a ledger: what failed, what is uncertain, and what to do about it.",
    },
    "prices:prices": {
        "help": "What models cost, as edit-many counts it: the table, its sources, and how old it is.",
    },
    "serve:serve": {
        "help": "Run a server that behaves like OpenAI's API for uploads, files, image edits and batches.\n\n"
        'The first line on standard output is its address: {"url": "http://127.0.0.1:8787/v1", "port": 8787}',
    },
    "demo.demo:demo": {
        "help": "See an upload killed half-way, the same command finish it, and a picture edited. Needs no account.",
        "usage": "Usage: asyncsdk demo [FILE]",
    },
    "schema:schema": {
        "help": "Print the JSON Schema of a row of a job file, or of a line that --json writes.",
        "usage": "Usage: asyncsdk schema job|upload|edit",
    },
    "completion:completion": {
        "help": "Print what a shell needs to complete commands and options. To try it in bash or zsh:\n\n"
        "source <(asyncsdk completion bash). In fish: asyncsdk completion fish | source",
        "usage": "Usage: asyncsdk completion bash|zsh|fish",
    },
}


def make_app() -> App:
    """The program with its commands, none of which is loaded yet."""
    app = App(
        name="asyncsdk",
        help="Send large files and edit many images through the OpenAI API: parallel, resumable, nothing paid twice.",
        version=__version__,
        help_format="plaintext",
        version_flags=list(VERSION),
        default_parameter=Parameter(negative=(), show_default=_worth_showing),
    )
    for sort_key, (command, options) in enumerate(COMMANDS.items(), 1):
        app.command(f"asyncsdk.cli.{command}", sort_key=sort_key, **options)
    return app


def run(arguments: Sequence[str], stop: Stop) -> int:
    """Run one command line and return its exit code."""
    never_fail_to_encode()
    if not arguments:
        show_text(START)
        return Exit.USAGE
    if topic := topic_of(arguments):
        from shutil import get_terminal_size  # it brings three kinds of compression

        show_text(fitted(topic, get_terminal_size().columns))
        return Exit.DONE
    words, app = canonical(arguments), make_app()
    if arguments[0] == "help" and not chain_of(app, words):
        words = list(arguments[1:]) or words  # not a command: an older cyclopts would show the help of all of them
    if chain_of(app, words) == ["upload"] and not set(HELP) & set(words):
        words = with_dash_as_source(words)
    try:
        command, bound, injected = app.parse_args(words, exit_on_error=False, print_error=False)
    except (CycloptsError, AsyncSDKError) as error:
        complain(f"error: {usage_message(error, app, words)}")
        return Exit.USAGE
    if not inspect.iscoroutinefunction(command):  # --help or --version, or a group of commands without one
        command(*bound.args, **bound.kwargs)
        if not set(VERSION) & set(words):
            show_text(epilogue(chain_of(app, words)))
        return Exit.DONE if set(HELP + VERSION) & set(words) else Exit.USAGE
    output = bound.arguments.get("output", Output())
    work = command(*bound.args, **bound.kwargs, **dict.fromkeys(injected, stop))
    return finish(work, stop, verbose=output.verbose, words=words)


def finish(work: Awaitable[int], stop: Stop, *, verbose: bool = False, words: Sequence[str] = ()) -> int:
    """Run `work` to its end; what it raises becomes a message and an exit code, with a traceback only if `verbose`.

    `words` are the command line, for messages about what is in it.
    """
    import asyncio  # --help does without it

    _log(to_stderr=verbose)
    try:
        return asyncio.run(stop.watch(work))
    except Interrupted:
        stop.say()
        return stop.code
    except Exception as error:  # noqa: BLE001 - nothing reaches a user as a traceback
        return _explain(error, verbose=verbose, words=words)


def failure_message(error: Exception, words: Sequence[str] = (), *, verbose: bool) -> str:
    """What happened, for a person; `words` are the command line, for messages about what is in it."""
    if isinstance(error, AsyncSDKError):
        from asyncsdk.cli.edits import typed as edits  # loads the library, which `--help` does without

        text = uploads.error_text(error)
        if isinstance(error, ConfigurationError):
            text = in_words_of(text, words)
        return text if isinstance(error, APIError) else uploads.as_typed(edits.as_typed(text))
    if isinstance(error, OSError):
        place = error.filename2 or error.filename
        return f"{f'{place}: ' if place else ''}{error.strerror or error}"
    hint = "" if verbose else " --verbose shows where."
    return f"{type(error).__name__}: {error}. This is a bug in asyncsdk.{hint}"


def _explain(error: Exception, *, verbose: bool, words: Sequence[str] = ()) -> int:
    if verbose and not isinstance(error, AsyncSDKError | OSError):
        traceback.print_exception(error)
    message = failure_message(error, words, verbose=verbose)
    advice = error.advice if isinstance(error, AsyncSDKError) else ""
    complain("\n  ".join(filter(None, [f"error: {message}", advice])))
    return exit_code(error)


def _worth_showing(value: object) -> str | None:
    return None if value in (None, False, ()) else str(value)


class _Printable(logging.Formatter):
    """Shows control characters as escapes: the log may contain text from a server."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Warning(logging.Handler):
    """Shows a warning that concerns the command line as typed, or that a list is not whole."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(f"warning: {record.getMessage()}")


_WARNING = _Warning()


def _log(*, to_stderr: bool) -> None:
    """Send the library's log to standard error, or nowhere: without a handler Python writes warnings into the bars."""
    handler = logging.StreamHandler(sys.stderr) if to_stderr else logging.NullHandler()
    handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("asyncsdk")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if to_stderr else logging.WARNING)
    if not to_stderr:
        for name in (
            "asyncsdk.images.bulk.model_ends",
            "asyncsdk.images.costs.table",
            "asyncsdk.images.dask.driver",
            "asyncsdk.images.ledgers",
            "asyncsdk.images.rate_pool",
            "asyncsdk.postgres.connection",
            "asyncsdk.suggestions",
            "asyncsdk.uploads.journal.small",
        ):
            logging.getLogger(name).addHandler(_WARNING)
