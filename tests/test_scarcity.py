"""What passes, and for how long it is waited for."""

from __future__ import annotations

import errno

import pytest

from asyncsdk.errors import APIConnectionError
from asyncsdk.retry import FULL_SECONDS, LONGEST_PAUSE, SCARCE_SECONDS, is_scarce, pause_after


@pytest.mark.parametrize(
    ("code", "seconds"),
    [(errno.EMFILE, SCARCE_SECONDS), (errno.ENOMEM, SCARCE_SECONDS), (errno.ENOSPC, FULL_SECONDS), (errno.EIO, 0.0)],
)
def test_each_kind_is_waited_for_as_long_as_that_may_help(code: int, seconds: float) -> None:
    waited = 0.0
    while (pause := pause_after(OSError(code, "why"), waited)) is not None:
        assert 0 < pause <= LONGEST_PAUSE
        waited += pause
    assert seconds <= waited < seconds + LONGEST_PAUSE or waited == seconds


def test_what_caused_an_error_tells_where_it_does_not_itself() -> None:
    error = APIConnectionError("can't connect", sent=False)
    error.__cause__ = OSError(errno.EMFILE, "Too many open files")
    assert is_scarce(error)
    assert pause_after(error, 0.0) is not None
    assert not is_scarce(ValueError("no"))
    assert pause_after(ValueError("no"), 0.0) is None
