"""A job is a value; what is wrong with it is told before anything is sent, and its content is never shown."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from asyncsdk.errors import ConfigurationError
from asyncsdk.uploads.job import Fields, UploadJob, UploadOutcome


class Shelf:
    """A path as other libraries have them."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __fspath__(self) -> str:
        return self.place


def named(name: object) -> io.BytesIO:
    file = io.BytesIO(b"secret")
    file.name = name
    return file


def test_what_the_caller_left_open_comes_from_the_files_name() -> None:
    fields = UploadJob("/data/train.jsonl", "fine-tune").fields("train.jsonl")
    assert fields == Fields(
        filename="train.jsonl", mime_type="application/jsonl", purpose="fine-tune", expires_after=None
    )


def test_what_the_caller_says_goes_before_the_files_name() -> None:
    job = UploadJob("/data/x", "some-new-purpose", filename="photo.webp", mime_type="image/x-own")
    fields = job.fields("x")
    assert (fields.filename, fields.mime_type, fields.purpose) == ("photo.webp", "image/x-own", "some-new-purpose")


def test_the_type_follows_the_name_that_the_caller_gave() -> None:
    assert UploadJob(b"x", "vision", filename="photo.webp").fields("upload").mime_type == "image/webp"


def test_a_name_on_disk_that_is_no_unicode_becomes_one() -> None:
    assert UploadJob("/data/x", "batch").fields(os.fsdecode(b"caf\xe9.jsonl")).filename == "caf?.jsonl"
    assert UploadJob("/data/x", "batch").fields("café.jsonl").filename == "café.jsonl"


@pytest.mark.parametrize(
    ("given", "settled"),
    [
        (None, None),
        (3600, {"anchor": "created_at", "seconds": 3600}),
        (2_592_000, {"anchor": "created_at", "seconds": 2_592_000}),
        ({"anchor": "created_at", "seconds": 60}, {"anchor": "created_at", "seconds": 60}),
        ({"anchor": "last_used_at", "days": 3}, {"anchor": "last_used_at", "days": 3}),
    ],
)
def test_a_files_life_is_given_in_seconds_or_in_the_apis_own_words(given: Any, settled: object) -> None:
    assert UploadJob("x", "batch", expires_after=given).fields("x").expires_after == settled


def test_a_mapping_that_the_caller_changes_later_changes_nothing() -> None:
    given = {"anchor": "created_at", "seconds": 3600}
    fields = UploadJob("x", "batch", expires_after=given).fields("x")
    given["seconds"] = 7200
    assert fields.expires_after == {"anchor": "created_at", "seconds": 3600}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"expires_after": 3599}, "expires_after must be an integer from 3600 to 2592000 seconds .* not 3599"),
        ({"expires_after": 2_592_001}, "expires_after must be .* not 2592001"),
        ({"expires_after": True}, "expires_after must be .* not True"),
        ({"expires_after": 3600.0}, r"expires_after must be .* not 3600\.0"),
        ({"expires_after": "30d"}, "expires_after must be .* not '30d'"),
        ({"filename": ""}, "filename must be a non-empty string, not ''"),
        ({"filename": "  "}, "filename must be a non-empty string"),
        ({"filename": b"a.txt"}, "filename must be a non-empty string"),
        ({"mime_type": ""}, "mime_type must be a non-empty string"),
        ({"purpose": ""}, "purpose must be a non-empty string"),
        ({"purpose": None}, "purpose must be a non-empty string, not None"),
        ({"if_uploaded": "never"}, "if_uploaded must be 'reuse' or 'again', not 'never'"),
        ({"on_busy": "panic"}, "on_busy must be 'wait' or 'fail', not 'panic'"),
    ],
)
def test_a_field_that_can_not_be_is_refused_before_anything_is_sent(wrong: dict[str, Any], why: str) -> None:
    job = UploadJob(**{"source": "x", "purpose": "batch"} | wrong)
    with pytest.raises(ConfigurationError, match=why) as caught:
        job.fields("x.jsonl")
    assert "Nothing was sent" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("/data/train.jsonl", "train.jsonl"),
        (Path("/data/train.jsonl"), "train.jsonl"),
        (Shelf("/data/train.jsonl"), "Shelf"),
        (b"secret", "6 bytes"),
        (memoryview(b"secretsecret").cast("I"), "12 bytes"),
        (io.BytesIO(b"secret"), "BytesIO"),
        (named("/data/train.jsonl"), "train.jsonl"),
        (named(17), "BytesIO"),
    ],
)
def test_people_are_shown_a_sources_name_and_never_its_content(source: Any, shown: str) -> None:
    job = UploadJob(source, "batch")
    assert job.describe() == shown
    assert f"source={shown}," in repr(job)
    assert "secret" not in repr(UploadOutcome(job=job))


def test_the_callers_own_name_for_the_content_is_shown_first() -> None:
    assert UploadJob(b"secret", "batch", key="corpus-17").describe() == "corpus-17"
    assert UploadJob("/data/train.jsonl", "batch", key="corpus-17").describe() == "corpus-17"


def test_a_long_url_is_named_by_all_of_its_last_part() -> None:
    job = UploadJob(f"s3://bucket/{'folder/' * 20}{'talk ' * 20}one.mp4", "user_data")
    assert job.describe().endswith("talk one.mp4")
    assert "hunter2" not in repr(UploadJob(f"https://host/{'folder/' * 20}a.bin?X-Amz-Signature=hunter2", "batch"))
