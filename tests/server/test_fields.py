"""Requests are read field by field, and the error for a wrong field names it."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.server.errors import ApiError
from asyncsdk.server.fields import (
    PURPOSES,
    UPLOAD_LIMIT,
    CompleteFields,
    Fields,
    ListQuery,
    read_completion,
    read_listing,
    read_md5,
    read_upload,
    unflatten,
)
from asyncsdk.server.objects import StoredUpload
from tests.server.support import NOW, upload_fields

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("aé0\ud800", max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("aé0\ud800", max_size=5), inner, max_size=2),
    max_leaves=4,
)


def read(fields: Fields) -> StoredUpload:
    return read_upload(fields, upload_id="upload_1", file_id="file-1", created_at=NOW, ttl=3600)


def refusal(fields: Fields) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(fields)
    return caught.value


def test_an_upload_is_what_was_asked_for_and_expires_after_its_time() -> None:
    upload = read(upload_fields(expires_after={"anchor": "created_at", "seconds": 3600}))
    assert upload == StoredUpload(
        id="upload_1",
        file_id="file-1",
        bytes=10,
        created_at=NOW,
        expires_at=NOW + 3600,
        filename="train.jsonl",
        mime_type="text/jsonl",
        purpose="fine-tune",
        expires_after=3600,
    )


@pytest.mark.parametrize("purpose", PURPOSES)
def test_each_known_purpose_is_taken(purpose: str) -> None:
    assert read(upload_fields(purpose=purpose)).purpose == purpose


@pytest.mark.parametrize("size", [1, UPLOAD_LIMIT])
def test_an_upload_may_have_one_byte_up_to_eight_gibibytes(size: int) -> None:
    assert read(upload_fields(bytes=size)).bytes == size


@pytest.mark.parametrize(
    ("changes", "param", "code", "words"),
    [
        ({"bytes": ...}, "bytes", "missing_required_parameter", "Missing required parameter: 'bytes'."),
        ({"filename": ...}, "filename", "missing_required_parameter", "Missing"),
        ({"mime_type": ...}, "mime_type", "missing_required_parameter", "Missing"),
        ({"purpose": ...}, "purpose", "missing_required_parameter", "Missing"),
        ({"extra": 1}, "extra", "unknown_parameter", "Unknown parameter: 'extra'."),
        ({"bytes": "10"}, "bytes", "invalid_type", "expected an integer, but got a string"),
        ({"bytes": 10.0}, "bytes", "invalid_type", "expected an integer, but got a number"),
        ({"bytes": True}, "bytes", "invalid_type", "expected an integer, but got a boolean"),
        ({"bytes": None}, "bytes", "invalid_type", "expected an integer, but got null"),
        ({"bytes": 0}, "bytes", "invalid_value", "between 1 and 8589934592"),
        ({"bytes": UPLOAD_LIMIT + 1}, "bytes", "invalid_value", "between 1 and 8589934592"),
        ({"filename": ""}, "filename", "invalid_value", "empty"),
        ({"filename": ["a"]}, "filename", "invalid_type", "but got an array"),
        ({"purpose": "finetune"}, "purpose", "invalid_value", "'finetune' is not one of"),
        ({"expires_after": 3600}, "expires_after", "invalid_type", "expected an object, but got an integer"),
        ({"expires_after": {"seconds": 3600}}, "expires_after[anchor]", "missing_required_parameter", "Missing"),
        (
            {"expires_after": {"anchor": "created_at"}},
            "expires_after[seconds]",
            "missing_required_parameter",
            "Missing",
        ),
        (
            {"expires_after": {"anchor": "last_active_at", "seconds": 3600}},
            "expires_after[anchor]",
            "invalid_value",
            "created_at",
        ),
        (
            {"expires_after": {"anchor": "created_at", "seconds": 3599}},
            "expires_after[seconds]",
            "invalid_value",
            "between 3600 and 2592000",
        ),
        (
            {"expires_after": {"anchor": "created_at", "seconds": 3600, "days": 1}},
            "expires_after[days]",
            "unknown_parameter",
            "Unknown",
        ),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(changes: dict[str, Any], param: str, code: str, words: str) -> None:
    error = refusal(upload_fields(**changes))
    assert (error.status, error.param, error.code, error.type) == (400, param, code, "invalid_request_error")
    assert words in error.message


@given(st.dictionaries(st.sampled_from([*upload_fields(), "expires_after", "x"]), anything))
def test_any_fields_are_an_upload_or_a_refusal(fields: Fields) -> None:
    with suppress(ApiError):
        assert 1 <= read(fields).bytes <= UPLOAD_LIMIT


@given(st.binary())
def test_an_md5_is_read_as_hex_of_either_case_and_as_base64(content: bytes) -> None:
    digest = hashlib.md5(content).digest()
    for text in (digest.hex(), digest.hex().upper(), base64.b64encode(digest).decode()):
        assert read_md5(text) == digest


@pytest.mark.parametrize("text", ["abc", "zz" * 16, "00" * 20, base64.b64encode(b"x").decode(), "é" * 24])
def test_what_is_no_md5_is_refused(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_md5(text)
    assert caught.value.param == "md5"


def test_a_completion_keeps_the_order_of_its_parts() -> None:
    assert read_completion({"part_ids": ["b", "a"]}) == CompleteFields(("b", "a"), None)
    assert read_completion({"part_ids": [], "md5": "00" * 16}) == CompleteFields((), bytes(16))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "part_ids"),
        ({"part_ids": "a"}, "part_ids"),
        ({"part_ids": ["a", 1]}, "part_ids[1]"),
        ({"part_ids": ["a"], "md5": 1}, "md5"),
        ({"part_ids": ["a"], "sha256": "x"}, "sha256"),
    ],
)
def test_a_wrong_completion_is_refused_by_its_field(fields: Fields, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_completion(fields)
    assert caught.value.param == param


def test_a_listing_has_the_documents_defaults_and_ignores_what_it_does_not_know() -> None:
    assert read_listing({"api-version": "preview"}) == ListQuery(None, 10_000, "desc", None)
    query = {"purpose": "batch", "limit": "1", "order": "asc", "after": "file-1"}
    assert read_listing(query) == ListQuery("batch", 1, "asc", "file-1")


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", "0"), ("limit", "10001"), ("limit", "x"), ("limit", "1_0"), ("limit", "٣"), ("order", "newest")],
)
def test_a_wrong_listing_is_refused_by_its_field(name: str, value: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_listing({name: value})
    assert caught.value.param == name


def test_a_forms_bracketed_names_get_the_shape_of_json() -> None:
    form = {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    assert unflatten(form) == {"purpose": "batch", "expires_after": {"anchor": "created_at", "seconds": 3600}}
    assert unflatten({"purpose": "batch"}) == {"purpose": "batch"}
    assert unflatten({"expires_after[anchor]": "created_at"}) == {"expires_after": {"anchor": "created_at"}}
    with pytest.raises(ApiError, match="seconds"):
        unflatten({"expires_after[seconds]": "soon"})
