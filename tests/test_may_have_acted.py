"""May the server have acted? One table for all who ask: every kind of error, and what it means for money."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from asyncsdk import errors
from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APITimeoutError,
    CertificateError,
    CredentialError,
    NotTheAPIError,
    RedirectError,
    ResponseMismatchError,
)
from asyncsdk.http.decode import status_error
from asyncsdk.images.billing import is_safe_to_repeat, may_be_charged
from asyncsdk.retry import is_unreachable, may_have_acted, redirect_may_have_acted

OWN = b'{"error": {"message": "busy", "type": "server_error"}}'
QUOTA = b'{"error": {"message": "no", "code": "insufficient_quota"}}'
TOO_LARGE = b'{"error": {"message": "Limit 5, Used 0, Requested 10"}}'
BLOCKED = b'{"error": {"code": "moderation_blocked", "moderation_details": {"moderation_stage": "output"}}}'
ACTED, CHARGED, SAFE = "may have acted", "may be charged", "safe to repeat"


def answered(status: int, body: bytes = b"<html>", **headers: str) -> APIError:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return status_error(status, fields, body, request="POST /images/edits")


def page(*, may_have_acted: bool) -> NotTheAPIError:
    error = NotTheAPIError("a page")
    error.may_have_acted = may_have_acted
    return error


TABLE: list[tuple[APIError, set[str]]] = [
    (APIError("something else"), {ACTED, CHARGED}),
    (APIConnectionError("lost", sent=True), {ACTED, CHARGED}),
    (APIConnectionError("not made", sent=False), {SAFE}),
    (APITimeoutError("no answer"), {ACTED, CHARGED}),
    (APITimeoutError("no connection in time", sent=False), {SAFE}),
    (CertificateError("not trusted", sent=False), set()),
    (CredentialError("the key function failed", sent=False), {SAFE}),
    (RedirectError("https instead"), set()),
    (RedirectError("see other", may_have_acted=True), {ACTED, CHARGED}),
    (APIResponseValidationError("cut JSON"), {ACTED, CHARGED}),
    (APIResponseValidationError("a redirect to nowhere", status_code=307), {ACTED, CHARGED}),
    (ResponseMismatchError("another's"), {ACTED, CHARGED}),
    (page(may_have_acted=True), {ACTED, CHARGED}),
    (page(may_have_acted=False), set()),
    *((answered(status), set()) for status in (400, 401, 402, 403, 404, 405, 413, 415, 418, 422)),
    (answered(400, BLOCKED), set()),
    (answered(400, QUOTA), set()),
    (answered(429), {SAFE}),
    (answered(429, QUOTA), set()),
    (answered(429, TOO_LARGE), set()),
    *((answered(status), {ACTED, CHARGED}) for status in (408, 409, 500, 502, 503, 504, 520, 524, 529)),
    (answered(500, OWN), {ACTED, CHARGED}),
    (answered(503, b'{"message": "a gateway\'s"}'), {ACTED, CHARGED}),
    (answered(503, b'["busy"]'), {ACTED, CHARGED}),
    (answered(503, OWN), {ACTED, SAFE}),  # the API's own front door: turned away, as far as an edit's money goes
    (answered(503, retry_after="1"), {ACTED, SAFE}),
]


@pytest.mark.parametrize(("error", "meaning"), TABLE, ids=lambda value: value if isinstance(value, str) else None)
def test_what_each_error_means(error: APIError, meaning: set[str]) -> None:
    facts = {ACTED: may_have_acted(error), CHARGED: may_be_charged(error), SAFE: is_safe_to_repeat(error)}
    assert {fact for fact, is_true in facts.items() if is_true} == meaning
    assert not is_unreachable(error) or not facts[ACTED]


def test_what_may_be_charged_may_have_been_done_and_is_never_safe_to_repeat() -> None:
    for _, meaning in TABLE:
        assert CHARGED not in meaning or (ACTED in meaning and SAFE not in meaning)


def test_every_kind_of_error_is_in_the_table() -> None:
    assert set(kinds(APIError)) == {type(error) for error, _ in TABLE}


def kinds(kind: type[APIError]) -> Iterator[type[APIError]]:
    if kind.__module__ == errors.__name__:
        yield kind
    for inner in kind.__subclasses__():
        yield from kinds(inner)


@pytest.mark.parametrize(
    ("status", "elsewhere", "acted"),
    [
        (303, False, True),
        (303, True, True),
        (302, False, True),
        (302, True, False),
        (301, False, True),
        (301, True, False),
        (307, False, False),
        (307, True, False),
        (308, False, False),
        (308, True, False),
    ],
)
def test_what_a_redirect_means(status: int, *, elsewhere: bool, acted: bool) -> None:
    for method in ("POST", "DELETE"):
        assert redirect_may_have_acted(method, status, elsewhere=elsewhere) is acted
    assert redirect_may_have_acted("GET", status, elsewhere=elsewhere) is False
