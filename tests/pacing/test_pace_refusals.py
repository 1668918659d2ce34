"""What a 429 says is read as the server means it: of images a minute, and of nothing else."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from asyncsdk.ratelimit import FILE_REQUESTS, INPUT_IMAGES, LONGEST_DELAY, Refusal, duration, read_refusal

NOW = 1_780_000_000.0
REACHED = "Rate limit reached for gpt-image-2 in organization org-1 on "

# fmt: off
TEXTS: list[tuple[str, float | None, float | None]] = [
    (REACHED + "input-images per min: Limit 250, Used 250, Requested 1. Please try again in 240ms.", 250, 0.24),
    (REACHED + "input-images per min: Limit 5, Used 5, Requested 1. Please try again in 12s. Visit https://", 5, 12),
    (REACHED + "images per min (IPM): Limit 5, Used 5, Requested 1. Please try again in 12s.", 5, 12),
    (REACHED + "input-images per min: Limit 4,000, Used 4,000, Requested 3. Please try again in 1m30s.", 4000, 90),
    ("Rate limit exceeded for images per minute in organization org-1. Limit: 5/1min. Current: 6/1min.", 5, None),
    ("Limit 5, Requested 10 images per min", None, None),
    (REACHED + "tokens per min (TPM): Limit 250000, Used 250000, Requested 1. Please try again in 6m0s.", None, 360),
    (REACHED + "requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.", None, 20),
    (REACHED + "images per day: Limit 50, Used 50, Requested 1. Please try again in 28m48s.", None, 1728),
    ("Requests to the API have exceeded the rate limit. Please retry after 5 seconds.", None, 5),
    ("Requests have exceeded the rate limit. Please retry after 1 second.", None, 1),
    ("on input-images per min: Limit 0, Used 0, Requested 1.", None, None),
    ("Please try again in 1h2m3.5s", None, 3723.5),
    ("Please try again in a while, or in 7s", None, None),
    ("Please try again in 99999999h", None, LONGEST_DELAY),
    ("Too many requests", None, None),
    ("", None, None),
]
HEADERS: list[tuple[Mapping[str, str], float | None, float | None]] = [
    ({"x-ratelimit-limit-input-images": "50000"}, 50_000, None),
    ({"x-ratelimit-limit-images": "5"}, 5, None),
    ({"x-ratelimit-limit-input-images": "many"}, None, None),
    ({"x-ratelimit-limit-input-images": "9" * 400}, None, None),
    ({"x-ratelimit-limit-requests": "500"}, None, None),
    ({"retry-after-ms": "1500", "retry-after": "9"}, None, 1.5),
    ({"retry-after": "2"}, None, 2),
    ({"retry-after": "1e300"}, None, LONGEST_DELAY),
    ({"date": "Wed, 21 Oct 2015 07:28:00 GMT", "retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, None, 30),
    ({"retry-after": "soon"}, None, None),
]
DURATIONS = [
    ("240ms", 0.24), ("12s", 12.0), ("1m30s", 90.0), ("6m0s", 360.0), ("1.5s", 1.5), ("2 minutes", 120.0),
    ("1d", 86_400.0), ("3 hours", 10_800.0), ("5 milliseconds", 0.005), ("12", None), ("12x", None), ("s", None),
    ("12sheep", None), ("", None),
]
# fmt: on


@pytest.mark.parametrize(("message", "limit", "delay"), TEXTS)
def test_the_text_tells_the_limit_and_the_delay(message: str, limit: float | None, delay: float | None) -> None:
    told = read_refusal(message, {}, INPUT_IMAGES, now=NOW)
    assert told.limit == limit
    assert told.delay == (None if delay is None else pytest.approx(delay))


def test_each_limit_is_read_in_its_own_unit_alone() -> None:
    requests = REACHED + "requests per min (RPM): Limit 1000, Used 1000, Requested 1. Please try again in 60ms."
    assert read_refusal(requests, {}, FILE_REQUESTS, now=NOW) == Refusal(1000, 0.06)
    assert read_refusal(requests, {}, INPUT_IMAGES, now=NOW) == Refusal(None, 0.06)
    assert read_refusal(TEXTS[0][0], {}, FILE_REQUESTS, now=NOW) == Refusal(None, 0.24)
    both = "on requests per min and images per min: Limit 7"
    assert {read_refusal(both, {}, unit, now=NOW).limit for unit in (FILE_REQUESTS, INPUT_IMAGES)} == {7}
    headers = {"x-ratelimit-limit-requests": "1000", "x-ratelimit-limit-input-images": "5"}
    assert read_refusal("", headers, FILE_REQUESTS, now=NOW).limit == 1000
    assert read_refusal("", headers, INPUT_IMAGES, now=NOW).limit == 5


@pytest.mark.parametrize(("headers", "limit", "delay"), HEADERS)
def test_the_headers_tell_them_too(headers: Mapping[str, str], limit: float | None, delay: float | None) -> None:
    assert read_refusal("Too many requests", CIMultiDict(headers), INPUT_IMAGES, now=NOW) == Refusal(limit, delay)


def test_headers_know_the_limit_better_and_the_longer_delay_is_right_for_both() -> None:
    headers = {"x-ratelimit-limit-input-images": "300", "retry-after": "1"}
    assert read_refusal(TEXTS[0][0], headers, INPUT_IMAGES, now=NOW) == Refusal(300, 1)
    assert read_refusal(TEXTS[1][0], headers, INPUT_IMAGES, now=NOW) == Refusal(300, 12)


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_durations_are_read_in_every_unit(text: str, seconds: float | None) -> None:
    assert duration(text) == (None if seconds is None else pytest.approx(seconds))


@given(st.text(max_size=200), st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date"]), st.text()))
def test_no_text_and_no_header_breaks_it(message: str, headers: dict[str, str]) -> None:
    for told in (
        read_refusal(message, headers, INPUT_IMAGES, now=NOW),
        read_refusal("try again in " + message, headers, INPUT_IMAGES, now=NOW),
    ):
        assert told.limit is None or 0 < told.limit < 1e13
        assert told.delay is None or 0 <= told.delay <= LONGEST_DELAY


@pytest.mark.parametrize("piece", ["images per min ", "try again in ", "limit ", "1m", "9", "images per min limit "])
def test_a_long_text_takes_no_long_time(piece: str) -> None:
    message = "try again in " + piece * (1_000_000 // len(piece))
    began = time.process_time()
    read_refusal(message, {}, INPUT_IMAGES, now=NOW)
    assert time.process_time() - began < 0.5
