"""The exit codes, and which error gives which; scripts rely on them (pure)."""

from __future__ import annotations

import errno
import signal
from collections.abc import Sequence
from enum import IntEnum

from asyncsdk.errors import (
    AsyncSDKError,
    ChargeUnknownError,
    ConfigurationError,
    InvalidRequestError,
    LedgerBusyError,
    LimitReachedError,
    SaveError,
    StorageError,
)
from asyncsdk.postgres import DatabaseFault


class Exit(IntEnum):
    """The codes that are documented; 128 + signal if one ended the run."""

    DONE = 0
    FAILED = 1  # repeating won't help
    USAGE = 2  # wrong usage or refused; nothing was sent
    SOME_FAILED = 3  # some of several, or uncertain: perhaps done and paid
    LIMIT = 4  # stopped at a limit that was set
    TRY_AGAIN = 75  # the same command goes on (EX_TEMPFAIL of sysexits.h)
    INTERRUPTED = 128 + signal.SIGINT
    TERMINATED = 128 + signal.SIGTERM


def exit_code(error: BaseException, *, sent: bool = False) -> Exit:
    """The code for one failure. What may be paid is SOME_FAILED: the user decides whether to repeat it.

    `sent`: it ended a run that had sent something before, so its cause is not wrong usage.
    """
    if isinstance(error, LimitReachedError):
        return Exit.LIMIT
    if isinstance(error, ChargeUnknownError | SaveError):
        return Exit.SOME_FAILED
    if not sent and (isinstance(error, ConfigurationError | InvalidRequestError) or _has_no_journal(error)):
        return Exit.USAGE
    return Exit.TRY_AGAIN if isinstance(error, AsyncSDKError) and error.resumable else Exit.FAILED


def exit_code_of_all(errors: Sequence[BaseException | None]) -> Exit:
    """The code for several items, None for each that went well: one code if all ended alike, else SOME_FAILED."""
    codes = {Exit.DONE if error is None else exit_code(error) for error in errors}
    return Exit.SOME_FAILED if len(codes) > 1 else next(iter(codes), Exit.DONE)


def _has_no_journal(error: BaseException) -> bool:
    """Whether the journal failed before anything was sent: where it is kept is a setting.

    Not so one that is busy, which will be free, a disk that is full, which may have room again, and a database that
    may be back.
    """
    if isinstance(error, LedgerBusyError) or not isinstance(error, StorageError):
        return False
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in {errno.ENOSPC, errno.EDQUOT}:
        return False
    if isinstance(error.__cause__, DatabaseFault) and error.__cause__.passes:
        return False
    return error.progress is None or error.progress.upload_id is None
