"""The errors of a journal: what failed, what is safe, and what to do next (pure)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from asyncsdk.errors import JournalError, JournalVersionError, UploadBusyError
from asyncsdk.postgres import DatabaseFault
from asyncsdk.wal import ClosedError, DisplacedError, Owner, name_of
from asyncsdk.wal.line import VERSION

_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})

NOT_RESUMED = "if this stops, it starts from zero. Set ASYNCSDK_JOURNAL to a directory that can be written"
_ELSEWHERE = "Name a directory that can be written (journal=, --journal, ASYNCSDK_JOURNAL), or memory to go without."


def not_made(path: Path, reason: str) -> str:
    return f"can't create the journal in {path} ({reason}). Nothing was sent.\n  {_ELSEWHERE}"


def full(path: Path, reason: str) -> str:
    return (
        f"can't create the journal in {path} ({reason}). Nothing was sent.\n"
        "  Make room, then the same call goes on; or name another directory (journal=, --journal, ASYNCSDK_JOURNAL)."
    )


def kept_in_memory(path: Path) -> str:
    return f"no journal can be kept in {path}: {NOT_RESUMED}"


def not_read(path: Path, reason: str) -> str:
    return (
        f"can't read the journal in {path} ({reason}). Nothing was sent.\n"
        f"  Make it readable, or keep another journal. {_ELSEWHERE}"
    )


def not_written(path: Path, reason: str) -> str:
    return (
        f"can't write the journal in {path} ({reason}). What it held before and what the server holds is safe.\n"
        "  Make room or mend the disk, then the same call goes on; "
        "or name another directory (journal=, --journal, ASYNCSDK_JOURNAL), and it starts again."
    )


def displaced(path: Path, reason: str) -> str:
    return (
        f"the journal in {path} is not where it was: {reason}. The upload was stopped; what was sent just now is "
        "remembered nowhere.\n"
        "  Put the journal back, and the same call goes on from what it holds. Without it, the same call sends "
        "everything again."
    )


def not_locked(path: Path, reason: str) -> str:
    return (
        f"the file system of {path} has no locks ({reason}), so two processes could send one file at once. "
        "Nothing was sent.\n"
        "  If only one will: --no-lock, or FileJournal(..., lock=False). "
        "Or keep the journal on a local disk: ASYNCSDK_JOURNAL=/var/tmp/asyncsdk"
    )


def newer(path: Path, version: int) -> str:
    return (
        f"{path}: version {version} of the journal was written by a newer asyncsdk; this one reads up to {VERSION}. "
        "Nothing was sent.\n  Upgrade asyncsdk, or keep another journal: ASYNCSDK_JOURNAL=~/asyncsdk-journal"
    )


def not_opened(place: str, fault: DatabaseFault) -> JournalError:
    """The error for a database that can't be used as a journal, before anything was sent."""
    kind = JournalVersionError if fault.is_newer else JournalError
    return kind(f"can't use the journal at {place}: {fault.reason}. Nothing was sent.\n  {fault.advice}")


def not_listed(place: str, fault: DatabaseFault) -> JournalError:
    """The error for a database that can't be read, for what only looks."""
    kind = JournalVersionError if fault.is_newer else JournalError
    return kind(f"can't read the journal at {place}: {fault.reason}.\n  {fault.advice}")


def not_appended(place: str, fault: DatabaseFault) -> JournalError:
    """The error for a record that could not be written to a database."""
    safe = "What it held before and what the server holds is safe"
    return JournalError(f"can't write the journal at {place}: {fault.reason}. {safe}.\n  {fault.advice}")


def not_in_order(key: str) -> JournalError:
    """The error for a record in whose place another one is."""
    return JournalError(
        f"the journal of {key} has another record in the place of the next one, as where tables were restored while an "
        "upload ran. It was not written; what the server holds is safe.\n  The same call goes on."
    )


def taken_over(key: str) -> JournalError:
    """The error for a record of a claim that another process has taken."""
    error = JournalError(
        f"another process has taken over this upload ({key}): this one was paused, or cut off from the database, for "
        "longer than its lease. What it sent since then is not used, and it completes nothing.\n"
        "  The same call waits for the other process, and returns its result."
    )
    error.is_taken_over = True
    return error


@contextmanager
def worded(say: Callable[[Path, str], str], path: Path) -> Iterator[None]:
    """Raise any OSError of the block as JournalError, in the words of `say(path, reason)`."""
    try:
        yield
    except OSError as error:
        raise journal_error(say, path, error) from error


@contextmanager
def worded_lock(path: Path) -> Iterator[None]:
    """The same for a lock in the directory `path`."""
    try:
        yield
    except OSError as error:
        raise locking_failed(path, error) from error


def locking_failed(path: Path, error: OSError) -> JournalError:
    """Return the JournalError for a lock in the directory `path` that could not be tried."""
    return journal_error(not_locked if error.errno in _NO_LOCKS else not_made, path, error)


@contextmanager
def worded_write(folder: Path) -> Iterator[None]:
    """The same for a record that is appended to the log in `folder`."""
    try:
        yield
    except ClosedError as error:
        raise JournalError(f"{folder}: {error.strerror}") from error
    except OSError as error:
        raise journal_error(displaced if isinstance(error, DisplacedError) else not_written, folder, error) from error


def journal_error(say: Callable[[Path, str], str], path: Path, error: OSError) -> JournalError:
    """Return the JournalError for `error`."""
    if say is not_made and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        say = full
    return JournalError(say(path, _reason(error)))


def report_busy(owner: Owner | None, *, wait: bool, on_busy: Callable[[Owner | None], None] | None) -> None:
    """Call `on_busy` with the process that has the key, where the caller waits; else raise UploadBusyError."""
    if not wait:
        raise _busy_error(owner)
    if on_busy is not None:
        on_busy(owner)


def _busy_error(owner: Owner | None) -> UploadBusyError:
    error = UploadBusyError(
        f"{name_of(owner)} is sending this file. Nothing was sent by this call.\n"
        '  Stop it first, or call again later. upload(…, on_busy="wait") waits for its result.'
    )
    if owner:
        error.pid, error.host = owner.pid, owner.host
    return error


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return f"{error.filename} is a symbolic link; the journal follows none"
    return error.strerror or os.strerror(error.errno or errno.EIO)
