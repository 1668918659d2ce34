"""Exit codes: scripts rely on them."""

from __future__ import annotations

import errno

import pytest

from asyncsdk import errors
from asyncsdk.cli.exits import Exit, exit_code, exit_code_of_all
from asyncsdk.events import Progress, UploadPhase
from asyncsdk.http.decode import STATUS_ERRORS


def status(code: int) -> errors.APIStatusError:
    return STATUS_ERRORS.get(code, errors.InternalServerError)("no", status_code=code)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("bad"), 2),
        (errors.SourceError("empty"), 2),
        (errors.JournalError("can't be made"), 2),
        (errors.JournalVersionError("newer"), 2),
        (status(400), 1),
        (status(401), 1),
        (status(403), 1),
        (status(404), 1),
        (status(429), 75),
        (status(503), 75),
        (errors.QuotaExceededError("out of money", status_code=429), 1),
        (errors.APIConnectionError("refused"), 75),
        (errors.APITimeoutError("slow"), 75),
        (errors.CertificateError("who are you"), 1),
        (errors.RedirectError("elsewhere"), 1),
        (errors.SourceChangedError("changed"), 75),
        (errors.UploadBusyError("busy"), 75),
        (errors.UploadTooSlowError("too slow"), 1),
        (errors.CompletionUnknownError("who knows"), 75),
        (errors.InvalidEditError("bad"), 2),
        (errors.ModerationBlockedError("no", status_code=400), 1),
        (errors.ChargeUnknownError("lost"), 3),
        (errors.SaveError("full"), 3),
        (errors.LimitReachedError("enough"), 4),
        (errors.LedgerError("can't be made"), 2),
        (errors.LedgerBusyError("busy"), 75),
        (RuntimeError("a bug"), 1),
        (OSError("a disk"), 1),
    ],
)
def test_each_failure_has_its_exit_code(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def test_a_journal_that_fails_half_way_can_be_tried_again() -> None:
    error = errors.JournalError("no room")
    error.progress = Progress(state=UploadPhase.SENDING, source="a", bytes_total=2, upload_id="upload_1")
    assert exit_code(error) == Exit.TRY_AGAIN


def test_a_full_disk_can_be_tried_again_and_one_that_cant_be_written_is_a_setting() -> None:
    for number, code in ((errno.ENOSPC, Exit.TRY_AGAIN), (errno.EDQUOT, Exit.TRY_AGAIN), (errno.EROFS, Exit.USAGE)):
        error = errors.JournalError("can't be made")
        error.__cause__ = OSError(number, "")
        assert exit_code(error) == code


def test_what_ends_a_run_half_way_is_no_wrong_usage() -> None:
    assert exit_code(errors.LedgerError("no room"), sent=True) == Exit.TRY_AGAIN
    assert exit_code(errors.ConfigurationError("a key that can't be had"), sent=True) == Exit.FAILED
    assert exit_code(status(401), sent=True) == Exit.FAILED
    assert exit_code(errors.LimitReachedError("enough"), sent=True) == Exit.LIMIT


def test_several_items_that_end_alike_have_one_code_and_else_some_failed() -> None:
    lost, refused = errors.APIConnectionError("lost"), status(401)
    assert exit_code_of_all([]) == Exit.DONE
    assert exit_code_of_all([None, None]) == Exit.DONE
    assert exit_code_of_all([lost, lost]) == Exit.TRY_AGAIN
    assert exit_code_of_all([refused]) == Exit.FAILED
    assert exit_code_of_all([None, refused]) == Exit.SOME_FAILED
    assert exit_code_of_all([lost, refused]) == Exit.SOME_FAILED


def test_the_codes_of_signals_are_those_of_the_shell() -> None:
    assert (Exit.INTERRUPTED, Exit.TERMINATED) == (130, 143)
