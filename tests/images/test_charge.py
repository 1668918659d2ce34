"""What an error means for money."""

from __future__ import annotations

import pytest

from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    CertificateError,
    ChargeUnknownError,
    InvalidEditError,
    NotTheAPIError,
    RedirectError,
    SaveError,
)
from asyncsdk.http.decode import status_error
from asyncsdk.images.billing import (
    is_fatal_for_run,
    is_permanent_refusal,
    is_safe_to_repeat,
    may_be_charged,
    problem_of,
    status_of,
)
from asyncsdk.images.outcome import Problem

OWN = b'{"error": {"message": "busy", "type": "server_error"}}'
QUOTA = b'{"error": {"message": "no", "code": "insufficient_quota"}}'
GONE = b'{"error": {"message": "no", "code": "model_not_found"}}'
WHY = b'{"moderation_stage": "output", "categories": ["x"]}'
BLOCKED = b'{"error": {"code": "moderation_blocked", "moderation_details": %b}}' % WHY


def answered(status: int, body: bytes = b"<html>", **headers: str) -> APIError:
    found = {name.replace("_", "-"): value for name, value in headers.items()}
    return status_error(status, found, body, request="POST /images/edits")


@pytest.mark.parametrize("status", [401, 403])
def test_what_every_other_would_meet_stops_all(status: int) -> None:
    assert is_fatal_for_run(answered(status))
    assert is_fatal_for_run(answered(429, QUOTA))
    assert is_fatal_for_run(answered(400, QUOTA))
    assert is_fatal_for_run(CertificateError("x", sent=False))
    assert is_fatal_for_run(RedirectError("x"))
    assert is_fatal_for_run(answered(402))
    assert all(is_fatal_for_run(answered(status_, GONE)) for status_ in (400, 404))
    assert not is_fatal_for_run(answered(400))
    assert not is_fatal_for_run(answered(429))


def test_a_refusal_is_one_that_stays() -> None:
    assert all(is_permanent_refusal(answered(status, OWN)) for status in (400, 413, 415, 422))
    assert not any(is_permanent_refusal(answered(status)) for status in (401, 404, 405, 429, 500))
    assert not is_permanent_refusal(answered(400, QUOTA))
    assert not is_permanent_refusal(answered(400, GONE))
    assert is_permanent_refusal(InvalidEditError("x"))
    assert is_permanent_refusal(answered(403, BLOCKED))
    assert not is_permanent_refusal(APIConnectionError("x"))


@pytest.mark.parametrize("body", [b"<html>", b"", b"too large", b'{"message": "a gateway\'s"}', b'{"detail": "no"}'])
def test_what_something_before_the_api_refuses_is_not_refused_for_good(body: bytes) -> None:
    for status in (400, 413, 415, 422):
        assert status_of(answered(status, body)) == "failed"
        assert not problem_of(answered(status, body)).retryable  # not before something is changed there


def test_a_page_is_unpaid_and_ends_the_run_unless_the_api_has_answered_there() -> None:
    wrong, hiccup = NotTheAPIError("page"), NotTheAPIError("page")
    wrong.may_have_acted = False
    assert (may_be_charged(wrong), is_fatal_for_run(wrong), is_safe_to_repeat(wrong), status_of(wrong)) == (
        False,
        True,
        False,
        "failed",
    )
    assert (may_be_charged(hiccup), is_fatal_for_run(hiccup)) == (True, False)


def test_a_problem_holds_what_a_caller_needs() -> None:
    problem = problem_of(answered(400, BLOCKED, x_request_id="req_1"))
    assert (problem.type, problem.code, problem.request_id) == ("ModerationBlockedError", "moderation_blocked", "req_1")
    assert problem.moderation == {"stage": "output", "categories": ["x"]}
    assert not problem.retryable
    assert problem_of(answered(429)).retryable
    assert not problem_of(SaveError("x")).retryable
    assert not problem_of(ChargeUnknownError("x")).retryable
    assert problem_of(OSError("disk")) == Problem(type="OSError", message="disk", retryable=False)
