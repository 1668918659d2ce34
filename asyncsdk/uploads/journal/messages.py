"""What goes wrong with a journal, in words a caller can act on (pure)."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from asyncsdk.errors import JournalError, UploadBusyError
from asyncsdk.uploads.journal import Owner


class DisplacedError(OSError):
    """A file that is written does not lie at its path any more: it was removed, renamed or replaced meanwhile."""


NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})

_ELSEWHERE = "Set ASYNCSDK_JOURNAL=/data/private/asyncsdk (a volume), or ASYNCSDK_JOURNAL=memory to go without."


def not_made(path: Path, reason: str) -> str:
    return (
        f"can't create the journal in {path} ({reason}); a restart could not resume. Nothing was sent.\n  {_ELSEWHERE}"
    )


def not_read(path: Path, reason: str) -> str:
    return (
        f"can't read the journal in {path} ({reason}). Nothing was sent.\n"
        f"  Make it readable, or keep another: {_ELSEWHERE}"
    )


def not_written(path: Path, reason: str) -> str:
    return (
        f"can't write the journal in {path} ({reason}). What it held before and what the server holds is safe.\n"
        f"  Make room or mend the disk: the same call goes on. Or begin another: {_ELSEWHERE}"
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
        "Or keep the journal on a local disk: ASYNCSDK_JOURNAL=/data/private/asyncsdk"
    )


@contextmanager
def worded(say: Callable[[Path, str], str], path: Path) -> Iterator[None]:
    """Raise any OSError of the block as JournalError, in the words of `say(path, reason)`."""
    try:
        yield
    except OSError as error:
        raise journal_error(say, path, error) from error


def journal_error(say: Callable[[Path, str], str], path: Path, error: OSError) -> JournalError:
    """Return the JournalError for `error`, with its cause set."""
    failure = JournalError(say(path, _reason(error)))
    failure.__cause__ = error
    return failure


def tell_busy(owner: Owner | None, *, wait: bool, on_busy: Callable[[Owner | None], None] | None) -> None:
    """Tell `on_busy` who holds the key, where the caller waits; else raise UploadBusyError."""
    if not wait:
        raise _busy_error(owner)
    if on_busy is not None:
        on_busy(owner)


def _busy_error(owner: Owner | None) -> UploadBusyError:
    who = f"process {owner.pid} on {owner.host}" if owner else "another process"
    error = UploadBusyError(
        f"{who} is sending this very file. Nothing was sent by this call.\n"
        '  Wait for it and take its result: on_busy="wait" (--on-busy wait); or call again later.'
    )
    if owner:
        error.pid, error.host = owner.pid, owner.host
    return error


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return f"{error.filename} is a symbolic link; the journal follows none"
    return error.strerror or os.strerror(error.errno or errno.EIO)
