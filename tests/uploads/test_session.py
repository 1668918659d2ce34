"""What a server's no means for the upload as a whole depends on who made it, when, and what it was asked."""

from __future__ import annotations

from typing import Any

import pytest

from asyncsdk.clock import Clock
from asyncsdk.errors import (
    APIStatusError,
    BadRequestError,
    InternalServerError,
    UploadExpiredError,
    UploadNotFoundError,
)
from asyncsdk.http.decode import STATUS_ERRORS
from asyncsdk.models import Upload
from asyncsdk.settings import Settings
from asyncsdk.uploads.job import Fields
from asyncsdk.uploads.parts.session import (
    ForgottenError,
    Session,
    may_mean_completed,
    opened_record,
    raise_refusal,
    refusal,
)
from asyncsdk.uploads.sources.readers import Identity

NOW, EXPIRES = 10_000, 13_600
SAYS_NOTHING = {401, 403, 408, 413, 429, 500, 502, 503, 520}  # about the upload
REFUSES = {400, 404, 405, 409, 410, 422}


def clock_at(moment: float) -> Clock:
    clock = Clock(elapsed=lambda: 0.0)
    clock.anchor(moment)
    return clock


MADE = Session("upload_1", NOW, EXPIRES, recalled=False)
RECALLED = Session("upload_1", NOW, EXPIRES, recalled=True)
VERIFIED = Session("upload_1", NOW, EXPIRES, recalled=True, verified=True)


def answer(status: int) -> APIStatusError:
    kind = STATUS_ERRORS.get(status, InternalServerError if status >= 500 else APIStatusError)
    return kind(f"POST /uploads/{{upload_id}}/parts: {status}", status_code=status)


def meaning(status: int, upload: Session, moment: float = NOW + 60) -> Exception:
    return refusal(answer(status), upload, clock_at(moment))


@pytest.mark.parametrize("status", sorted(SAYS_NOTHING))
@pytest.mark.parametrize("upload", [MADE, RECALLED, VERIFIED])
@pytest.mark.parametrize("moment", [NOW, EXPIRES + 1])
def test_trouble_that_is_not_about_the_upload_stays_what_it_is(status: int, upload: Session, moment: int) -> None:
    error = answer(status)
    assert refusal(error, upload, clock_at(moment)) is error


@pytest.mark.parametrize("status", sorted(REFUSES))
@pytest.mark.parametrize("moment", [NOW, EXPIRES + 1])
def test_an_upload_that_only_the_journal_knows_of_is_forgotten_with_both_causes_told(status: int, moment: int) -> None:
    found = meaning(status, RECALLED, moment)
    assert type(found) is ForgottenError
    assert "upload_1" in str(found)
    assert "gone or expired there, or belongs to another project's key" in str(found)


@pytest.mark.parametrize("status", sorted(REFUSES))
@pytest.mark.parametrize("upload", [MADE, VERIFIED])
def test_an_upload_refused_after_its_hour_has_expired(status: int, upload: Session) -> None:
    found = meaning(status, upload, EXPIRES + 1)
    assert isinstance(found, UploadExpiredError)
    assert (found.upload_id, found.resumable) == ("upload_1", True)


def test_a_refusal_within_the_grain_of_the_servers_clock_is_its_hour_too() -> None:
    for early, kind in ((1.5, UploadExpiredError), (30, UploadNotFoundError)):
        assert type(meaning(404, MADE, EXPIRES - early)) is kind


@pytest.mark.parametrize("upload", [MADE, VERIFIED])
def test_an_upload_that_took_something_in_this_run_and_is_not_found_is_a_puzzle(upload: Session) -> None:
    found = meaning(404, upload)
    assert isinstance(found, UploadNotFoundError)
    assert (found.upload_id, found.resumable) == ("upload_1", True)


@pytest.mark.parametrize("status", sorted(REFUSES - {404}))
@pytest.mark.parametrize("upload", [MADE, VERIFIED])
def test_any_other_no_within_the_hour_is_the_servers_own_word(status: int, upload: Session) -> None:
    found = meaning(status, upload)
    assert isinstance(found, APIStatusError)
    assert found.status_code == status


ENDED = [
    "Upload upload_1 is expired, not pending.",
    "This upload was cancelled",
    "upload_1: the Upload has been\ncanceled",
]


@pytest.mark.parametrize("said", ENDED)
@pytest.mark.parametrize("status", [400, 409, 410, 422])
@pytest.mark.parametrize("upload", [MADE, VERIFIED])
def test_an_upload_that_the_server_calls_ended_within_its_hour_is_gone(status: int, upload: Session, said: str) -> None:
    error = answer(status)
    error.body = {"message": said}
    found = refusal(error, upload, clock_at(NOW + 60))
    assert type(found) is UploadExpiredError
    assert found.resumable
    assert str(found) == f"the upload is gone on the server ({status}: {said}). The same call sends the file again."


def test_an_upload_that_is_ended_is_not_one_that_is_refused_as_before() -> None:
    error = answer(400)
    refused = Session("upload_1", NOW, EXPIRES, recalled=True, refused=400)
    assert refusal(error, refused, clock_at(NOW + 60)) is error
    error.body = {"message": ENDED[0]}
    assert type(refusal(error, refused, clock_at(NOW + 60))) is ForgottenError


@pytest.mark.parametrize(
    "said",
    [
        "Upload upload_1 is completed, not pending.",
        "Upload upload_1 has already been completed or cancelled.",
        "The upload is completed or expired",
        "Your key has expired",
        "part 3 is too large",
        "",
    ],
)
def test_what_does_not_call_the_upload_ended_is_the_servers_own_word(said: str) -> None:
    error = answer(400)
    error.body = {"message": said}
    assert refusal(error, MADE, clock_at(NOW + 60)) is error


def test_an_upload_that_may_be_a_file_is_not_called_ended() -> None:
    error = answer(400)
    error.body = {"message": ENDED[0]}
    assert refusal(error, MADE, clock_at(NOW + 60), may_be_a_file=True) is error


def test_an_upload_whose_hour_is_over_is_an_error_only_if_this_run_has_put_something_into_it() -> None:
    assert isinstance(RECALLED.expired(), ForgottenError)
    assert isinstance(VERIFIED.expired(), UploadExpiredError)
    assert isinstance(MADE.expired(), UploadExpiredError)


def test_the_servers_own_word_is_the_cause_of_what_it_means_and_never_of_itself() -> None:
    for status, kind in ((404, UploadNotFoundError), (400, BadRequestError)):
        error = answer(status)
        with pytest.raises(kind) as caught:
            raise_refusal(error, MADE, clock_at(NOW))
        assert caught.value.__cause__ is (error if caught.value is not error else None)


FIELDS = Fields(filename="a.jsonl", mime_type="application/jsonl", purpose="batch", expires_after=None)
SETTINGS = Settings("https://api.openai.com/v1", "sk-secret", organization="org_1", project="proj_1")


def opened(**answered: Any) -> Any:
    return opened_record(
        Upload(id="upload_1", **answered),
        key="0" * 32,
        place="/data/a.jsonl",
        fields=FIELDS,
        settings=SETTINGS,
        identity=Identity(17, 1, 2),
        now=NOW + 0.9,
    )


def test_the_journal_is_told_what_a_later_run_needs_and_no_secret() -> None:
    record = opened(created_at=NOW - 1, expires_at=EXPIRES - 1)
    assert (record.upload, record.key, record.source) == ("upload_1", "0" * 32, "/data/a.jsonl")
    assert (record.base_url, record.organization, record.project) == (SETTINGS.base_url, "org_1", "proj_1")
    assert (record.bytes, record.mtime_ns, record.inode) == (17, 1, 2)
    assert (record.filename, record.mime_type, record.purpose) == ("a.jsonl", "application/jsonl", "batch")
    assert (record.created_at, record.expires_at) == (NOW - 1, EXPIRES - 1)
    assert "sk-secret" not in repr(record)


def test_a_server_that_does_not_say_when_keeps_an_upload_for_an_hour() -> None:
    record = opened()
    assert (record.created_at, record.expires_at) == (NOW, NOW + 3600)
    assert opened(created_at=5).expires_at == 3605
    assert opened(created_at=NOW, expires_at=5).expires_at == NOW + 3600


@pytest.mark.parametrize(
    ("status", "said", "may_be"),
    [
        (400, {"message": "Upload upload_1 is already completed."}, True),
        (400, {"message": "Invalid status: pending expected"}, True),
        (400, {"message": "no", "code": "upload_already_completed"}, True),
        (422, {"message": "No such Upload object"}, True),
        (422, {"message": "No such upload: upload_1"}, True),
        (400, {"message": "Upload upload_1 has already been completed or cancelled."}, True),
        (400, {"message": "This upload was cancelled"}, True),
        (422, {"message": "Upload upload_1 has expired"}, True),
        (400, {"message": "Your key has expired"}, False),
        (400, {"message": "The md5 does not match"}, False),
        (400, {"message": "The upload was already refused: 3 bytes are missing"}, False),
        (409, {"message": "Checksum mismatch"}, False),
        (409, {"message": "Conflict"}, True),
        (404, None, True),
        (404, "<html>", True),
        (410, "", True),
        (400, {"message": "Invalid part ids"}, False),
        (400, "Bad Request", False),
        (400, None, False),
        (405, {"message": "It is completed already"}, False),
    ],
)
def test_a_refusal_may_mean_completed_where_it_speaks_of_the_state_and_not_of_the_content(
    status: int, said: object, *, may_be: bool
) -> None:
    error = answer(status)
    error.body = said
    assert may_mean_completed(error) is may_be
