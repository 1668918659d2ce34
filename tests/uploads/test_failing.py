"""An error tells how far its upload was, how long that is kept, and what to do next."""

from __future__ import annotations

import pytest

from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    AsyncSDKError,
    AuthenticationError,
    CompletionUnknownError,
    ConfigurationError,
    InternalServerError,
    NotTheAPIError,
    SourceError,
    UploadTooSlowError,
)
from asyncsdk.events import Progress, UploadPhase
from asyncsdk.uploads.advice import IN_DOUBT, IN_DOUBT_AND_FORGOTTEN, annotate, waiting

STARTS_AGAIN = "it starts again. Without a key= it can't know that the content is the same."
NOT_TWICE = "it sends all of it, and no second file is made."
NOW = 1_795_000_000.0
LOST = APIConnectionError("lost")
REFUSED = AuthenticationError("no", status_code=401)
SENDING = Progress(
    state=UploadPhase.SENDING,
    source="a",
    bytes_total=5_000,
    bytes_done=3_000,
    upload_id="upload_1",
    expires_at=int(NOW) + 31 * 60,
)
NOTHING_YET = Progress(
    state=UploadPhase.SENDING, source="a", bytes_total=5_000, upload_id="upload_1", expires_at=int(NOW) + 31 * 60
)
UNBORN = Progress(state=UploadPhase.SENDING, source="a", bytes_total=5_000)
OVER = Progress(
    state=UploadPhase.SENDING,
    source="a",
    bytes_total=5_000,
    bytes_done=3_000,
    upload_id="upload_1",
    expires_at=int(NOW) - 1,
)


@pytest.mark.parametrize(
    ("error", "progress", "remembered", "resumable", "advice"),
    [
        (
            LOST,
            SENDING,
            True,
            True,
            "Repeat the call: it resumes. 3,000 of 5,000 bytes are there, and kept for 31 min more.",
        ),
        (LOST, UNBORN, True, True, "Nothing was sent yet. Repeat the call."),
        (
            LOST,
            OVER,
            True,
            True,
            "The server has dropped what was sent, as its time is over. Repeat the call: it starts again.",
        ),
        (
            LOST,
            SENDING,
            False,
            True,
            f"Repeat the call: {STARTS_AGAIN}",
        ),
        (
            REFUSED,
            SENDING,
            True,
            False,
            "Fix this, then repeat the call: it resumes. 3,000 of 5,000 bytes are there, and kept for 31 min more.",
        ),
        (REFUSED, UNBORN, True, False, "Nothing was sent yet. Fix this, then repeat the call."),
        (
            CompletionUnknownError("?"),
            SENDING,
            True,
            True,
            IN_DOUBT,
        ),
        (
            CompletionUnknownError("?"),
            SENDING,
            False,
            False,
            IN_DOUBT_AND_FORGOTTEN,
        ),
        (ConfigurationError("wrong"), SENDING, True, False, ""),
        (SourceError("wrong"), SENDING, True, False, ""),
        (LOST, UNBORN, False, True, "Nothing was sent yet. Repeat the call."),
        (REFUSED, UNBORN, False, False, "Nothing was sent yet. Fix this, then repeat the call."),
        (
            REFUSED,
            SENDING,
            False,
            False,
            f"Fix this, then repeat the call: {STARTS_AGAIN}",
        ),
        (
            LOST,
            NOTHING_YET,
            True,
            True,
            f"No part of it was confirmed. Repeat the call: {NOT_TWICE}",
        ),
        (
            REFUSED,
            NOTHING_YET,
            True,
            False,
            f"No part of it was confirmed. Fix this, then repeat the call: {NOT_TWICE}",
        ),
        (
            UploadTooSlowError("slow"),
            SENDING,
            True,
            False,
            "Use a faster connection or a smaller file: the server keeps an upload for about an hour only.",
        ),
    ],
)
def test_what_is_safe_and_what_to_do_next(
    error: AsyncSDKError, progress: Progress, *, remembered: bool, resumable: bool, advice: str
) -> None:
    failed = type(error)("what happened", **({"status_code": 401} if error is REFUSED else {}))
    annotate(failed, progress, now=NOW, remembered=remembered)
    assert (failed.advice, failed.resumable) == (advice, resumable)
    assert (failed.upload_id, failed.bytes_done) == (progress.upload_id, progress.bytes_done if remembered else 0)
    keeps = remembered and progress is not UNBORN
    assert failed.expires_in == (max(0, (progress.expires_at or 0) - NOW) if keeps else None)
    assert failed.progress is progress


def test_a_stream_that_can_be_read_only_once_is_not_to_be_sent_by_the_same_call() -> None:
    failed = APIConnectionError("lost")
    annotate(failed, UNBORN, now=NOW, remembered=False, read_once=True)
    advice = "Nothing was sent yet. Repeat the call with the stream from its beginning."
    assert (failed.resumable, failed.advice) == (False, advice)
    kept = APIConnectionError("lost")
    annotate(kept, SENDING, now=NOW, remembered=True, read_once=True)
    assert kept.resumable  # by its key
    assert kept.advice.startswith("Repeat the call with the stream from its beginning: it resumes.")


def test_an_error_that_names_its_upload_keeps_that_name() -> None:
    failed = CompletionUnknownError("?", upload_id="upload_0")
    annotate(failed, SENDING, now=NOW, remembered=True)
    assert failed.upload_id == "upload_0"


def test_an_error_before_any_upload_says_nothing_of_one() -> None:
    plain = AsyncSDKError("?")
    assert (plain.upload_id, plain.bytes_done, plain.expires_in, plain.advice) == (None, 0, None, "")


@pytest.mark.parametrize(
    ("error", "delay", "said"),
    [
        (InternalServerError("x", status_code=503), 2.0, "the server responded with 503; trying again in 2 s"),
        (APIConnectionError("x"), 0.2, "no connection; trying again at once"),
        (NotTheAPIError("x"), 2.0, "the server's response can't be used; trying again in 2 s"),
        (APIConnectionError("x"), 0.7, "no connection; trying again in 1 s"),
    ],
)
def test_a_wait_is_told_with_its_reason(error: APIError, delay: float, said: str) -> None:
    assert waiting(error, delay) == said
