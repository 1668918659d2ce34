"""What is said where the ledger in files can't be used: what happened, what is safe, what to do next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asyncsdk.error_details import LedgerDamage
from asyncsdk.errors import LedgerBusyError, LedgerDamagedError, LedgerError
from asyncsdk.wal import DisplacedError, name_of
from asyncsdk.wal.lock import owner
from asyncsdk.wal.permissions import NotPrivateError

_NAME_ANOTHER = "The ledger is kept beside the pictures: name a directory that can be written."
_GO_ON = (
    "It remembers what was paid. Make room or mend the disk, and the same call goes on; another directory starts "
    "again, and pays again."
)
_MADE_PRIVATE = (
    "It remembers what was paid. Change that where it is, and the same call goes on; another directory starts again, "
    "and pays again."
)
_PUT_BACK = (
    "It remembers what was paid. Put the directory back where it was: the same call goes on and pays nothing twice. "
    "Without it nothing is remembered, and the same call would pay again for all."
)
NEWER = (
    "{}: version {} of the ledger was written by a newer asyncsdk; this one reads up to {}. Nothing was sent.\n"
    "  Upgrade asyncsdk: the same call then goes on, and pays nothing twice."
)


@contextmanager
def worded(directory: Path, *, sent: bool = False) -> Iterator[None]:
    """Raise any OSError of the block as LedgerError; `sent`: some edits may be on their way already."""
    try:
        yield
    except DisplacedError as error:
        raise displaced(error) from error
    except OSError as error:
        reason = error.strerror or str(error)
        if isinstance(error, NotADirectoryError):
            reason = "a file is where a directory should be"
        safe = "Nothing more was sent; saved pictures are safe." if sent else "Nothing was sent."
        advice = _GO_ON if sent or os.path.lexists(directory) else _NAME_ANOTHER
        if isinstance(error, NotPrivateError) and advice == _GO_ON:
            advice = _MADE_PRIVATE
        raise LedgerError(f"can't keep the ledger in {directory} ({reason}). {safe}\n  {advice}") from error


def displaced(cause: DisplacedError) -> LedgerError:
    """Repeating the call does not resume by itself: it would make another ledger, and pay again for all."""
    error = LedgerError(
        f"{cause.filename} is not where it was when the run began: {cause.strerror}. Nothing more was sent; what was "
        f"under way is in memory, or on disk where it is named.\n  {_PUT_BACK}"
    )
    error.resumable = False
    return error


def moved(place: Path | str, to: str, by: str | None) -> LedgerError:
    """The error of a run over a ledger that was copied, and sealed `by` an attempt to copy it."""
    error = LedgerError(
        f"the ledger in {place} was moved to {to}, which knows what was paid since. Nothing was sent.\n"
        f"  Use that one: --ledger {to}"
    )
    error.moved_to, error.copied_by = to, by
    return error


def damaged(directory: Path, damage: tuple[LedgerDamage, ...]) -> LedgerDamagedError:
    """The error of a run that may not begin without the caller's consent."""
    error = LedgerDamagedError(
        f"the ledger in {directory} is damaged: {'; '.join(map(str, damage))}. Edits recorded there may have been "
        "paid, and would be paid again. Nothing was sent.\n"
        "  Put a good copy of the file in its place if there is one. Else the same call with accept_damage=True goes "
        "on with what is intact; the damaged file is kept beside it."
    )
    error.damage = damage
    return error


def busy(directory: Path, lock: Path) -> LedgerBusyError:
    process = owner(lock)
    error = LedgerBusyError(
        f"{name_of(process)} is editing into {directory.parent} right now. Nothing was sent by this call.\n"
        "  Wait for it, or edit into another directory."
    )
    if process:
        error.pid, error.host = process.pid, process.host
    return error


def in_batches(place: Path | str) -> LedgerBusyError:
    """The error of a copy of a ledger that has edits in batches: where these are is not copied."""
    return LedgerBusyError(
        f"the ledger in {place} has edits in batches that have not ended. Nothing was changed.\n  Collect them first: "
        "the same edit-many --batch; then copy the ledger."
    )
