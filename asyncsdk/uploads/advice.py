"""Adds to an error how far its upload was, what is safe, and what to do next (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    AsyncSDKError,
    CompletionUnknownError,
    ConfigurationError,
    InvalidRequestError,
    UnusableClientError,
    UploadError,
    UploadExpiredError,
    UploadNotFoundError,
    UploadTooSlowError,
)
from asyncsdk.events import Progress
from asyncsdk.http.errors import in_short
from asyncsdk.threads import NoThreadError
from asyncsdk.uploads.parts.session import TRANSIENT
from asyncsdk.wal import DisplacedError

REFUSED_AGAIN = "If complete is refused again, resume=False (--no-resume) leaves them behind and sends the file again."
IN_DOUBT = (
    "Repeat the call in a while: it asks again, and looks for the file before it sends anything. Nothing is sent twice."
)
OF_ANOTHER_TIME = (
    f"{IN_DOUBT} Some servers give files a created_at of their own: then it can't be seen whose the file is. If it is "
    "yours, use it; if not, a call with another key= (--key NAME) sends yours again."
)
IN_DOUBT_AND_FORGOTTEN = (
    "Look for that file in GET /files first. A repeated call starts again and may make a second one: without a key= it "
    "can't know that the content is the same."
)
COMPARE = (
    "Another try would likely end in the same way: whose the file is can't be seen. If it is yours, use it. If it is "
    'not, or you delete it, repeat the call with if_uploaded="again" (--if-uploaded again).'
)
PARTS_IN_ORDER = (
    "This server wants parts in their order and of a least size. Repeat the call with concurrency=1, part_size=8 MiB "
    "and resume=False (--concurrency 1 --part-size 8MiB --no-resume): parts that came in another order can't be used."
)
_ABOUT_PARTS = re.compile(
    r"ascending|out of order|\b(in|wrong|upload|invalid) ?(part)? ?order\b|invalidpartorder|entitytoosmall|"
    r"\bparts?\b.{0,80}\b(at least|minimum|too small|smaller than)\b|\b(minimum|smallest) (part|allowed) size\b",
    re.IGNORECASE | re.DOTALL,
)
RESUMES, RESUMES_HERE = "it resumes.", "it resumes, but in this process only: the journal is in memory."
FROM_BEGINNING = " with the stream from its beginning"
DISPLACED = "Put the journal back, then repeat the call: it resumes. Without the journal it starts again."


@contextmanager
def without_threads() -> Iterator[None]:
    """Raise a NoThreadError of the block as a resumable UploadError."""
    try:
        yield
    except NoThreadError as error:
        failure = UploadError(
            f"the system gives this program no thread ({error.strerror}). What was sent is safe. Free memory, or raise "
            "the limit on threads (ulimit -u; pids_limit of a container), then repeat the call."
        )
        failure.resumable = True
        raise failure from error


def when_closed(error: AsyncSDKError) -> AsyncSDKError:
    """The error of an upload whose client was closed while it ran. `error` itself where complete is in doubt."""
    if not isinstance(error, APIConnectionError | UnusableClientError):
        return error
    failure = UnusableClientError("this Client was closed meanwhile, and the upload stopped. Make another Client.")
    failure.resumable = True
    return failure


def annotate(
    error: AsyncSDKError,
    progress: Progress,
    *,
    now: float,
    remembered: bool,
    in_memory: bool = False,
    may_be_a_file: bool = False,
    read_once: bool = False,
) -> None:
    """Write on `error` how far its upload was at `now` (the server's unix time).

    `remembered` is whether the same call would find what was sent: not so for bytes and file objects without a key.
    They are sent from the beginning again, which is safe unless what was sent `may_be_a_file`; but not a stream, which
    is `read_once`. `in_memory` is whether only this process would find it.
    """
    error.progress = progress
    passes = error.resumable
    in_doubt = may_be_a_file or isinstance(error, CompletionUnknownError)
    error.resumable = passes and (remembered or not (read_once or in_doubt))
    error.upload_id = error.upload_id or progress.upload_id
    if remembered:
        error.bytes_done = progress.bytes_done
        error.expires_in = None if progress.expires_at is None else max(0.0, progress.expires_at - now)
    if _is_about_parts(error):
        error.advice = PARTS_IN_ORDER
    if in_doubt and not remembered:
        error.advice = error.advice or IN_DOUBT_AND_FORGOTTEN
    resumes = RESUMES_HERE if in_memory else RESUMES
    repeat = "Repeat the call" if passes else "Fix this, then repeat the call"
    repeat += FROM_BEGINNING if read_once else ""
    error.advice = error.advice or _advice(error, progress, repeat, remembered=remembered, resumes=resumes)


def _advice(error: AsyncSDKError, progress: Progress, repeat: str, *, remembered: bool, resumes: str) -> str:
    if isinstance(error, ConfigurationError | InvalidRequestError):
        return ""  # it says what to write instead; nothing was begun
    if isinstance(error, CompletionUnknownError):
        return IN_DOUBT
    if isinstance(error, UploadTooSlowError):
        return "Use a faster connection or a smaller file: the server keeps an upload for about an hour only."
    if isinstance(error.__cause__, DisplacedError):
        return DISPLACED
    if error.upload_id is None:
        return f"Nothing was sent yet. {repeat}."
    if not remembered:
        return f"{repeat}: it starts again. Without a key= it can't know that the content is the same."
    if isinstance(error, UploadNotFoundError | UploadExpiredError) and error.expires_in != 0:
        return f"The server has dropped what was sent. {repeat}: it starts again."
    if error.expires_in == 0:
        return f"The server has dropped what was sent, as its time is over. {repeat}: it starts again."
    if error.bytes_done == 0:
        return f"No part of it was confirmed. {repeat}: it sends all of it, and no second file is made."
    there = f"{error.bytes_done:,} of {progress.bytes_total:,} bytes are there"
    advice = f"{repeat}: {resumes} {there}{_until(error.expires_in)}."
    return f"{advice} {REFUSED_AGAIN}" if _refuses_complete(error) else advice


def _is_about_parts(error: AsyncSDKError) -> bool:
    """Whether the server refused the order or the size of the parts, as servers do that keep them in S3."""
    if not isinstance(error, APIStatusError) or error.status_code not in {400, 422}:
        return False
    return error.request.endswith(("/complete", "/parts")) and bool(_ABOUT_PARTS.search(error.message[:2000]))


def _refuses_complete(error: AsyncSDKError) -> bool:
    """Whether the server refused complete itself, and not the API key or the moment."""
    return (
        isinstance(error, APIStatusError)
        and error.request.endswith("/complete")
        and error.status_code < 500
        and error.status_code not in TRANSIENT
    )


def _until(seconds: float | None) -> str:
    return "" if seconds is None else f", and kept for {seconds / 60:.0f} min more"


def waiting(error: APIError, delay: float) -> str:
    """Why an upload waits, and how long: `no connection; trying again in 2 s`. `delay` is in seconds."""
    return f"{in_short(error)}; trying again {'at once' if delay < 0.5 else f'in {delay:.0f} s'}"
