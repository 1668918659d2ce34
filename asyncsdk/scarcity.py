"""Failures of the system that pass: too few descriptors, too little memory, a disk that is full for a moment (pure)."""

from __future__ import annotations

import errno

SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS, errno.EINTR})
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
SCARCE_SECONDS, FULL_SECONDS = 30.0, 5.0  # how long they are waited for: others give descriptors back, seldom room
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0


def is_scarce(error: BaseException) -> bool:
    """Whether `error`, or what caused it, is a lack of descriptors or memory, of which others give some back."""
    return code_of(error) in SCARCE


def pause_after(error: BaseException, waited: float) -> float | None:
    """How many seconds to wait before the next try, after `waited` seconds; None where waiting does not help, or not
    any more.
    """
    code = code_of(error)
    limit = SCARCE_SECONDS if code in SCARCE else FULL_SECONDS if code in FULL else 0.0
    return min(max(waited, FIRST_PAUSE), LONGEST_PAUSE) if waited < limit else None


def code_of(error: BaseException | None) -> int | None:
    """The system's code for what went wrong: that of `error`, or of what caused it."""
    while error is not None and getattr(error, "errno", None) is None:
        error = error.__cause__
    return None if error is None else error.errno  # type: ignore[attr-defined]  # seen above
