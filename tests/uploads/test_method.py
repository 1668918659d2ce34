"""Which method sends a file, and when a request may be sent again: pure decisions."""

from __future__ import annotations

import math
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    ConfigurationError,
    NotTheAPIError,
    QuotaExceededError,
    RateLimitError,
)
from asyncsdk.settings import Settings
from asyncsdk.uploads.job import Fields
from asyncsdk.uploads.journal import Completed, Expired, Opened, Part, Posting, Record, Refused, may_be_a_file
from asyncsdk.uploads.journal.retention import COMPLETED_SECONDS, uploads_until
from asyncsdk.uploads.method import LARGEST_POST, check_method, checked_single_request, choose, goes_on
from asyncsdk.uploads.resuming.resume import Stage, replay
from asyncsdk.uploads.whole.posting import (
    is_posted,
    lost_request,
    made_nothing,
    may_be_repeated,
    new_id,
    posting_record,
    slowest_rate,
)

MIB = 1 << 20
NOW = 1_795_000_000
POSTING = Posting(
    upload="post_1", at=NOW, key="k", base_url="http://x/v1", organization=None, project=None, source="/a.txt",
    bytes=1000, filename="a.txt", mime_type="text/plain", purpose="batch", expires_after=None, created_at=NOW,
    expires_at=NOW + 601, mtime_ns=1, inode=2, md5="0" * 32, xxh3="1" * 32,
)  # fmt: skip
OPENED = Opened(
    upload="upload_1", at=NOW, key="k", base_url="http://x/v1", organization=None, project=None, source="/a.txt",
    bytes=1000, filename="a.txt", mime_type="text/plain", purpose="batch", expires_after=None, created_at=NOW,
    expires_at=NOW + 3600, mtime_ns=1, inode=2,
)  # fmt: skip
DONE = Completed(upload="post_1", at=NOW + 1, file={"id": "file-1"}, md5="0" * 32, xxh3="1" * 32)
REFUSED, GONE = Refused(upload="post_1", at=NOW + 1, status=400), Expired(upload="post_1", at=NOW + 1, reason="")


def status(code: int, kind: type[APIStatusError] = APIStatusError) -> APIStatusError:
    return kind("x", status_code=code, headers={}, body=None)


@given(
    size=st.integers(1, 2 * LARGEST_POST), up_to=st.integers(0, LARGEST_POST), asked=st.booleans(), wait=st.booleans()
)
def test_auto_sends_by_one_request_what_is_small_may_go_now_and_has_no_digest_to_check(
    size: int, up_to: int, *, asked: bool, wait: bool
) -> None:
    options: dict[str, Any] = {"size": size, "up_to": up_to, "md5_is_asked": asked, "must_wait": wait}
    by_one = size <= up_to and not asked and not wait
    assert choose("auto", **options) == ("files" if by_one else "uploads")
    assert choose("uploads", **options) == "uploads"
    assert choose("files", **options) == "files"


@pytest.mark.parametrize(
    ("records", "resume", "goes"),
    [
        ([], True, False),
        ([OPENED], True, True),
        ([OPENED], False, False),
        ([OPENED, Part(upload="upload_1", at=NOW, offset=0, length=1000, id="p", xxh3="0")], True, True),
        ([OPENED, Expired(upload="upload_1", at=NOW, reason="")], True, False),
        ([POSTING], True, False),
        ([POSTING, REFUSED], True, False),
        ([POSTING, DONE], True, False),
        ([POSTING, REFUSED, OPENED], True, True),
    ],
)
def test_only_an_open_upload_goes_on_in_parts(records: list[Record], *, resume: bool, goes: bool) -> None:
    assert goes_on(replay(records), resume=resume) is goes


@pytest.mark.parametrize(
    ("records", "stage", "in_doubt"),
    [
        ([POSTING], Stage.COMPLETING, True),
        ([POSTING, POSTING], Stage.COMPLETING, True),
        ([POSTING, REFUSED], Stage.FAILED, False),
        ([POSTING, GONE], Stage.EXPIRED, False),
        ([POSTING, DONE], Stage.COMPLETED, False),
        ([DONE], Stage.COMPLETED, False),
    ],
)
def test_a_posting_may_be_a_file_until_its_end_is_recorded(
    records: list[Record], stage: Stage, *, in_doubt: bool
) -> None:
    state = replay(records)
    assert state is not None
    assert (state.stage, state.posting is not None, may_be_a_file(records)) == (stage, in_doubt, in_doubt)


def test_one_that_was_sent_several_times_began_with_the_first_of_them() -> None:
    later = evolve(POSTING, created_at=NOW + 50, expires_at=NOW + 651)
    state = replay([POSTING, later])
    assert state is not None
    assert state.posting == evolve(later, created_at=NOW)


def test_one_in_doubt_is_kept_for_as_long_as_a_file() -> None:
    assert uploads_until([POSTING]) == {"post_1": NOW + COMPLETED_SECONDS}
    assert uploads_until([POSTING, REFUSED])["post_1"] < NOW + COMPLETED_SECONDS / 10


@given(after=st.floats(0, 10**7), answer=st.floats(0.1, 600))
def test_a_lost_request_is_waited_for_no_longer_than_its_answer_may_take(after: float, answer: float) -> None:
    lost = lost_request(POSTING, now=NOW + after, answer_limit=answer)
    assert lost.began == NOW
    assert lost.until <= min(NOW + after + answer, POSTING.expires_at)


@given(after=st.floats(0, 10**7), answer=st.floats(0.1, 600))
def test_one_that_was_lost_just_now_may_have_an_effect_however_long_it_was_sent(after: float, answer: float) -> None:
    lost = lost_request(POSTING, now=NOW + after, answer_limit=answer, just_now=True)
    assert (lost.began, lost.until) == (NOW, NOW + after + answer)


@pytest.mark.parametrize("limit_rate", [None, 1000.0, 10.0**9])
def test_the_time_of_a_request_that_a_rate_limit_slows_down_is_as_long(limit_rate: float | None) -> None:
    slowest = slowest_rate(limit_rate, connections=32)
    assert 0 < slowest <= min(4096, math.inf if limit_rate is None else limit_rate / 32)


def test_the_time_of_a_request_has_an_end_however_slow_it_is() -> None:
    posting = posting_record(
        "post_1",
        key="k",
        place="/a",
        fields=Fields(filename="a", mime_type="text/plain", purpose="batch", expires_after=None),
        settings=Settings("http://localhost/v1", "sk-test"),
        size=MIB,
        mtime_ns=None,
        inode=None,
        began=NOW,
        slowest=slowest_rate(5e-324, connections=1),
        md5="",
        xxh3="",
    )
    assert NOW < posting.expires_at < NOW + 40 * 86_400


LOST = APIConnectionError("lost")


@pytest.mark.parametrize(
    ("error", "nothing_when_sent", "repeated_when_sent", "repeated_when_not"),
    [
        (LOST, False, False, True),
        (APIConnectionError("no connection", sent=False), True, True, True),
        (status(400), True, False, False),
        (status(401), True, False, False),
        (status(413), True, False, False),
        (status(429, RateLimitError), True, True, True),
        (status(429, QuotaExceededError), True, False, False),
        (status(408), False, False, True),
        (status(409), False, False, True),
        (status(500), False, False, True),
        (status(502), False, False, True),
        (status(503), False, False, True),
        (status(504), False, False, True),
        (APIResponseValidationError("cut", status_code=200), False, False, True),
    ],
)
def test_a_request_is_repeated_only_where_it_surely_made_nothing(
    error: APIError, *, nothing_when_sent: bool, repeated_when_sent: bool, repeated_when_not: bool
) -> None:
    assert made_nothing(error, fully_sent=True) is nothing_when_sent
    assert may_be_repeated(error, fully_sent=True) is repeated_when_sent
    assert made_nothing(error, fully_sent=False)
    assert may_be_repeated(error, fully_sent=False) is repeated_when_not


def test_a_page_of_a_server_that_is_the_api_hides_what_was_done() -> None:
    page = NotTheAPIError("a page", status_code=200)
    page.may_have_acted = True
    assert not made_nothing(page, fully_sent=True)


def test_an_id_of_our_own_is_none_of_the_servers() -> None:
    assert is_posted(new_id())
    assert new_id() != new_id()
    assert not is_posted("upload_post_1")


@pytest.mark.parametrize("size", [-1, LARGEST_POST + 1, 1.5, True, None])
def test_what_one_request_may_carry_has_bounds(size: Any) -> None:
    with pytest.raises(ConfigurationError, match="single_request_up_to must be"):
        checked_single_request(size)


def test_a_file_that_one_request_can_not_carry_is_refused_only_where_that_was_asked_for() -> None:
    check_method("auto", LARGEST_POST + 1, "a.bin")
    check_method("files", LARGEST_POST, "a.bin")
    with pytest.raises(ConfigurationError, match=r"a\.bin has .* at most 512 MiB.*Nothing was sent"):
        check_method("files", LARGEST_POST + 1, "a.bin")
