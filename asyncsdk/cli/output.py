"""Writes results to standard output in the requested shape, and all else to standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from attrs import define, field

from asyncsdk.cli.exits import Exit
from asyncsdk.cli.options import Output


@define
class Out:
    """Writes one result after another. `gone` is set once nobody reads them any more, which is not an error.

    With `goes_on` the work does not stop when standard output takes no more, such as on a full disk: that is
    reported once, and `code` makes it a failure at the end.
    """

    shape: Output
    goes_on: bool = False
    gone: bool = field(default=False, init=False)
    _lost: bool = field(default=False, init=False)

    def code(self, code: int) -> int:
        """The exit code of a run that ended with `code`."""
        return code or (Exit.FAILED if self._lost else Exit.DONE)

    def result(self, line: str, *, record: Mapping[str, Any], name: str | None) -> None:
        """Write a result: `record` with --json, `name` (an id; None for none) with --quiet, else `line`."""
        if self.shape.json:
            self._write(json.dumps(record))
        elif not self.shape.quiet:
            self._write(printable(line))
        elif name is not None:
            self._write(printable(name).replace("\n", "\\n"))  # a server's id stays one line

    def heading(self, line: str) -> None:
        """Write a line that only a person needs."""
        if not (self.shape.json or self.shape.quiet):
            self._write(line)

    def record(self, record: Mapping[str, Any]) -> None:
        """Write a failure with --json; without it, it is on standard error alone."""
        if self.shape.json:
            self._write(json.dumps(record))

    def _write(self, text: str) -> None:
        if self.gone:
            return
        try:
            print(text, flush=True)  # noqa: T201 - standard output is what this is for
        except OSError as error:
            self.gone = True
            mute_stdout()
            self._lost = not isinstance(error, BrokenPipeError)
            if self._lost and not self.goes_on:
                raise
            if self._lost:
                complain(
                    f"error: standard output takes no more ({error.strerror}): later results are missing there. "
                    "The work goes on."
                )


def mute_stdout() -> None:
    """Discard what is still written to standard output: else the interpreter reports an error when it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def show_text(text: str) -> None:
    """Write a page of text that is the same for everybody, such as help, to standard output."""
    with suppress(BrokenPipeError):  # whoever reads it has seen enough
        print(text, flush=True)  # noqa: T201 - it was asked for


def complain(text: str) -> None:
    """Write a line to standard error, if that is open."""
    if sys.stderr is None:  # it was closed from the start; print would take standard output
        return
    with suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)  # noqa: T201 - as above, for people


def printable(text: str) -> str:
    """`text` without what a terminal would obey: control characters, but for line breaks, are shown as escapes."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def is_terminal() -> bool:
    """Whether standard error is a terminal that can move its cursor."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def stdout_is_terminal() -> bool:
    """Whether results and bars may meet on one terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def never_fail_to_encode() -> None:
    """Write an escape for characters that a terminal can't show, such as bytes of a file name that are not text."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


async def copy_to_stdout(chunks: AsyncIterator[bytes]) -> None:
    """Write `chunks` as they come, until they end or nobody reads them any more.

    In a thread that nothing waits for: a slow reader does not stop Ctrl-C from working.
    """
    from asyncsdk.threads import DaemonThreadPool

    writing = DaemonThreadPool("asyncsdk-stdout", limit=1)
    async for chunk in chunks:
        try:
            await writing.run(partial(_write_whole, chunk))
        except BrokenPipeError:
            mute_stdout()
            return


def _write_whole(chunk: bytes) -> None:
    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
