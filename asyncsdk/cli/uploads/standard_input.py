"""Standard input as the SOURCE `-` of `upload`: a file by its path, a pipe as a stream; a terminal is refused."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from asyncsdk.errors import ConfigurationError

if TYPE_CHECKING:
    from asyncsdk.given import Readable, SourceGiven

DASH = "-"
WORD = "\0"  # for `-` among the words of a command line, where it would be an option: no user can type this
_TAKE_A_NAME = {"--files-from", "--filename", "--key", "--journal"}
_PLACE = "/proc/self/fd/0"


@frozen
class _RestOfFile:
    """What is left of a file of which some was read: it is not to be sent from its first byte."""

    _file: Readable

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


def with_dash_as_source(words: Sequence[str]) -> list[str]:
    """The command line with `WORD` for each `-` that is a SOURCE."""
    before = ["", *words]
    return [WORD if word == DASH and before[index] not in _TAKE_A_NAME else word for index, word in enumerate(words)]


def standard_input(filename: str | None) -> SourceGiven:
    """What `-` is. Raises ConfigurationError where that can't be sent."""
    if sys.stdin is None:
        raise ConfigurationError("-: standard input is closed. Nothing was sent.")
    status = os.fstat(0)
    if sys.stdin.isatty():
        raise ConfigurationError(
            "-: standard input is a terminal: pipe the content into it, or give a file. Nothing was sent."
        )
    is_begun = stat.S_ISREG(status.st_mode) and os.lseek(0, 0, os.SEEK_CUR) > 0
    if stat.S_ISREG(status.st_mode) and not is_begun and (path := _path_of(status)) is not None:
        return path
    if not (filename or "").strip():
        raise ConfigurationError("-: standard input has no name: give --filename NAME. Nothing was sent.")
    file = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - a descriptor, which stays open
    return (filename, _RestOfFile(file) if is_begun else file)


def _path_of(status: os.stat_result) -> Path | None:
    """The path of the file that standard input is, where the system knows it."""
    try:
        path = Path(_PLACE).readlink()
        return path if os.path.samestat(status, path.stat()) else None
    except OSError:
        return None
