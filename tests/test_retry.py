"""Again, and when: the rules of openai-python, a shared budget, and no waiting that can't help."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    CertificateError,
    RedirectError,
)
from asyncsdk.http.decode import status_error
from asyncsdk.retry import (
    LONGEST_DELAY,
    MAX_ATTEMPTS,
    Attempts,
    Retry,
    backoff,
    exceeds_limit,
    is_worth_retrying,
    retry_after,
)
from asyncsdk.timing import DEFAULT_TIMING

FIRST_DELAY = DEFAULT_TIMING.first_delay
NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT
LOST, UNREACHABLE = APIConnectionError("lost"), APIConnectionError("no network", sent=False)


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> APIStatusError:
    return status_error(code, CIMultiDict(headers or {}), body, request="GET /files")


def delays(attempts: Attempts, error: APIError, *, now: float = NOW, most: int = 100) -> list[float]:
    """What it waits for the same error again and again, until it gives up."""
    waits: list[float] = []
    while len(waits) < most and (delay := attempts.delay_after(error, now=now, jitter=lambda: 1.0)) is not None:
        waits.append(delay)
    return waits


@pytest.mark.parametrize("code", [408, 409, 429, 500, 502, 503, 504, 520, 529])
def test_these_may_pass_later(code: int) -> None:
    assert is_worth_retrying(status(code))
    assert not is_worth_retrying(status(code, {"X-Should-Retry": "false"}))


@pytest.mark.parametrize("code", [400, 401, 402, 403, 404, 405, 410, 413, 415, 422, 451])
def test_these_will_not(code: int) -> None:
    assert not is_worth_retrying(status(code))
    assert is_worth_retrying(status(code, {"X-Should-Retry": "true"}))
    assert not is_worth_retrying(status(code, {"X-Should-Retry": "perhaps"}))


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached", "billing_not_active"])
@pytest.mark.parametrize("field", ["code", "type"])
def test_an_empty_account_is_not_asked_again(code: str, field: str) -> None:
    body = b'{"error": {"message": "no", "%s": "%s"}}' % (field.encode(), code.encode())
    assert not is_worth_retrying(status(429, {"x-should-retry": "true"}, body))


def test_what_was_lost_on_the_way_is_asked_again() -> None:
    assert is_worth_retrying(LOST)
    assert is_worth_retrying(APITimeoutError("slow"))
    assert is_worth_retrying(APIResponseValidationError("cut", status_code=201))
    assert not is_worth_retrying(APIResponseValidationError("a redirect to nowhere", status_code=302))
    assert not is_worth_retrying(CertificateError("who is that?"))
    assert not is_worth_retrying(RedirectError("over there"))
    assert not is_worth_retrying(APIError("something else"))


@pytest.mark.parametrize(
    ("text", "hopeless"),
    [
        ("Limit 5, Requested 10.", True),
        ("Limit: 30,000 / min. Requested: 45,000", True),
        ("Limit 250, Used 250, Requested 1. Please try again in 240ms.", False),
        ("Limit 5, Used 0,\nRequested 5", False),
        ("Limit , Requested ,", False),
        ("slow down", False),
    ],
)
def test_more_than_the_whole_limit_never_passes(text: str, *, hopeless: bool) -> None:
    assert exceeds_limit(text) is hopeless
    body = b'{"error": {"message": "%s"}}' % text.replace("\n", " ").encode()
    assert is_worth_retrying(status(429, {}, body)) is not hopeless


@given(st.text())
def test_no_text_of_a_server_breaks_the_reading(text: str) -> None:
    exceeds_limit(f"Limit {text} Requested {text}")
    delay = retry_after({"retry-after": text, "retry-after-ms": text}, NOW)
    assert delay is None or 0 <= delay < math.inf


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "9"}, 9.0),
        ({"Retry-After": "0.25"}, 0.25),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "9", "Retry-After-Ms": "120"}, 0.12),
        ({"Retry-After": "9", "Retry-After-Ms": "soon"}, 9.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:47 GMT"}, 10.0),
        ({"Retry-After": "Sunday, 06-Nov-94 08:49:47 GMT"}, 10.0),
        ({"Retry-After": "Sun Nov  6 08:49:47 1994"}, 10.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:00:00 GMT"}, 0.0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "later"}, None),
    ],
)
def test_the_server_says_how_long(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(CIMultiDict(headers), NOW) == seconds


@given(st.integers(0, 100_000), st.floats(0, 1))
def test_a_wait_of_our_own_is_anything_up_to_its_bound(failures: int, jitter: float) -> None:
    assert (
        0
        <= backoff(failures, FIRST_DELAY, lambda: jitter)
        <= min(FIRST_DELAY * 2.0 ** min(failures, 10), LONGEST_DELAY)
    )


def test_two_retries_by_default_each_waiting_longer() -> None:
    assert delays(Retry().attempts(), LOST) == [0.5, 1.0]
    assert delays(Retry(0).attempts(), LOST) == []
    assert delays(Retry(6).attempts(), LOST) == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


def test_a_server_that_asks_for_too_long_is_not_waited_for() -> None:
    assert delays(Retry().attempts(), status(429, {"retry-after": "120"})) == [120.0, 120.0]
    assert delays(Retry().attempts(), status(429, {"retry-after": "121"})) == []
    assert delays(Retry(deadline=NOW + 500).attempts(), status(429, {"retry-after": "121"})) == [121.0, 121.0]


def test_what_the_server_keeps_is_waited_for_as_long_as_that_and_ends_nothing_else() -> None:
    asked = status(429, {"retry-after": "300"})
    assert delays(Retry(kept_until=NOW + 301).attempts(), asked) == [300.0, 300.0]
    assert delays(Retry(kept_until=NOW + 300).attempts(), asked) == []
    assert delays(Retry(kept_until=NOW + 301, deadline=NOW + 200).attempts(), asked) == []
    assert delays(Retry(kept_until=NOW - 5).attempts(), status(429, {"retry-after": "120"})) == [120.0, 120.0]
    assert delays(Retry(kept_until=NOW - 5).attempts(), LOST) == [0.5, 1.0]


def test_nothing_waits_beyond_the_deadline() -> None:
    assert delays(Retry(deadline=NOW + 0.5).attempts(), LOST) == []
    assert delays(Retry(deadline=NOW + 0.6).attempts(), LOST) == [0.5]
    assert delays(Retry(deadline=NOW + 9).attempts(), status(503, {"retry-after": "10"})) == []


def test_progress_of_the_whole_makes_a_requests_count_start_anew() -> None:
    shared = Retry(2)
    attempts = shared.attempts()
    assert len(delays(attempts, LOST)) == 2
    shared.progressed()
    assert delays(attempts, LOST) == [0.5, 1.0]


def test_but_one_request_never_goes_out_more_than_twenty_times() -> None:
    shared = Retry(2)
    attempts = shared.attempts()
    while attempts.delay_after(LOST, now=NOW) is not None:
        shared.progressed()
    assert attempts.made == MAX_ATTEMPTS == 20


def test_an_outage_does_not_multiply_requests() -> None:
    shared = Retry(5, budget=10)
    retried = sum(len(delays(shared.attempts(), LOST)) for _ in range(100))
    assert retried == 10
    shared.progressed()
    assert len(delays(shared.attempts(), LOST)) == 5


def test_an_outage_is_waited_out_until_the_deadline_once_the_server_has_answered() -> None:
    shared = Retry(2, wait_out_outages=True, deadline=NOW + 3600)
    assert len(delays(shared.attempts(), UNREACHABLE)) == 2
    shared.answered = True
    assert delays(shared.attempts(), UNREACHABLE)[:6] == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert len(delays(shared.attempts(), UNREACHABLE)) == 100
    assert delays(shared.attempts(), UNREACHABLE, now=NOW + 3600) == []
    assert shared.spent == 2


def test_what_was_sent_and_lost_is_no_outage() -> None:
    shared = Retry(2, wait_out_outages=True, answered=True)
    assert len(delays(shared.attempts(), LOST)) == 2


def test_outages_are_not_waited_out_where_nothing_bounds_them() -> None:
    assert delays(Retry(2, wait_out_outages=True, answered=True).attempts(), UNREACHABLE) == [0.5, 1.0]


def test_outages_do_not_count_among_the_twenty() -> None:
    shared = Retry(2, wait_out_outages=True, answered=True, deadline=1e9)
    attempts = shared.attempts()
    assert len(delays(attempts, UNREACHABLE)) == 100
    shared.progressed()
    assert delays(attempts, LOST) == [0.5, 1.0]
    assert attempts.made == 100 + 3


def test_what_is_worth_another_try_may_be_said_otherwise() -> None:
    shared = Retry(should_retry=lambda error: error is UNREACHABLE)
    assert delays(shared.attempts(), UNREACHABLE) == [0.5, 1.0]
    assert delays(shared.attempts(), LOST) == []
    assert delays(shared.attempts(), status(503, {"x-should-retry": "true"})) == []
