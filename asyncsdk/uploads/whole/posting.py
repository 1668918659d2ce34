"""A POST /files of a whole file: its record, whether it may be sent again, and what is asked of a lost one (pure)."""

from __future__ import annotations

import math

from asyncsdk.errors import APIError, APIStatusError, RateLimitError
from asyncsdk.retry import is_worth_retrying, may_have_acted
from asyncsdk.settings import Settings
from asyncsdk.unique import token
from asyncsdk.uploads.job import Fields
from asyncsdk.uploads.journal import Posting
from asyncsdk.uploads.response_checks import Content
from asyncsdk.uploads.whole.lost_files import LostRequest

_PREFIX = "post_"
_SLOWEST = 4096  # bytes a second: a line below that does not bring a file within a request
_LONGEST_SENDING = 30 * 86_400.0  # seconds: no longer than a lost one is remembered
_UNEVEN = 4  # times less than its share of a rate limit, at most, is what one of several requests gets
_LONGEST_ANSWER = 600.0  # seconds that a server may take for it, at the very most


def new_id() -> str:
    """An id for the journal, which has none of the server's before its answer."""
    return f"{_PREFIX}{token()}"


def is_posted(upload_id: str) -> bool:
    """Whether it is such an id, and no upload of the server's."""
    return upload_id.startswith(_PREFIX)


def slowest_rate(limit_rate: float | None, *, connections: int) -> float:
    """The fewest bytes a second that one of so many requests is sent with, which share `limit_rate`."""
    return _SLOWEST if limit_rate is None else max(1e-3, min(_SLOWEST, limit_rate / connections / _UNEVEN))


def posting_record(
    posting_id: str,
    *,
    key: str,
    place: str,
    fields: Fields,
    settings: Settings,
    size: int,
    mtime_ns: int | None,
    inode: int | None,
    began: float,
    slowest: float,
    md5: str,
    xxh3: str,
) -> Posting:
    """The journal's record of a request that begins at `began`, in unix seconds by the server's clock.

    It is sent with `slowest` bytes a second or more.
    """
    return Posting(
        upload=posting_id,
        key=key,
        base_url=settings.base_url,
        organization=settings.organization,
        project=settings.project,
        source=place,
        bytes=size,
        filename=fields.filename,
        mime_type=fields.mime_type,
        purpose=fields.purpose,
        expires_after=fields.expires_after,
        created_at=math.floor(began),
        expires_at=math.ceil(began + min(size / slowest, _LONGEST_SENDING) + _LONGEST_ANSWER),
        mtime_ns=mtime_ns,
        inode=inode,
        md5=md5,
        xxh3=xxh3,
    )


def lost_request(
    posting: Posting, *, now: float, answer_limit: float, alike: int = 1, just_now: bool = False
) -> LostRequest:
    """What is asked about `posting`, whose connection is gone by `now`, in unix seconds by the server's clock.

    What the server has of it by now it may still act on, for `answer_limit` seconds. `just_now`: it was lost in this
    run, so it may have been on its way until now, for however long; else it ended when its time did, at the latest.
    """
    until = now + answer_limit
    return LostRequest(
        content=Content.of(posting),
        md5=posting.md5,
        began=posting.created_at,
        until=until if just_now else min(float(posting.expires_at), until),
        alike=alike,
    )


def made_nothing(error: APIError, *, fully_sent: bool) -> bool:
    """Whether a request that ended so surely made no file: its last byte was not sent, or it was refused."""
    return not fully_sent or not may_have_acted(error)


def may_be_repeated(error: APIError, *, fully_sent: bool) -> bool:
    """Whether the same request may succeed, and can't make a second file."""
    return is_worth_retrying(error) and made_nothing(error, fully_sent=fully_sent)


def may_go_in_parts(error: APIError) -> bool:
    """Whether the way is refused rather than the file: too large for a gateway, or a server without POST /files."""
    return isinstance(error, APIStatusError) and error.status_code in {404, 405, 413}


def is_rate_limit(error: APIError) -> bool:
    """Whether it is the rate that was refused, rather than a quota or this request."""
    return isinstance(error, RateLimitError) and is_worth_retrying(error)
