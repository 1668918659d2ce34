"""What comes back is read leniently, and nothing of it is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.models import (
    File,
    FileDeleted,
    ImagesResponse,
    InvalidModelError,
    Page,
    Upload,
    UploadPart,
    Usage,
    from_json,
    from_odd_json,
    to_json,
)
from asyncsdk.safe_json import json_value

# as api.openai.com writes it, nulls that its own document forbids included
FILE = {
    "object": "file",
    "id": "file-KrYAuNdJ7yBjLnvF1oLfQZ",
    "purpose": "batch",
    "filename": "train.jsonl",
    "bytes": 8,
    "created_at": 1758153600,
    "expires_at": None,
    "status": "processed",
    "status_details": None,
}
UPLOAD = {
    "id": "upload_68cb4e2a5f8c8191",
    "object": "upload",
    "bytes": 8,
    "created_at": 1758153600,
    "filename": "train.jsonl",
    "purpose": "batch",
    "status": "completed",
    "expires_at": 1758157200,
    "file": FILE,
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_a_completed_upload_holds_its_file() -> None:
    upload = from_json(Upload, UPLOAD)
    assert (upload.id, upload.bytes, upload.expires_at) == ("upload_68cb4e2a5f8c8191", 8, 1758157200)
    assert upload.file is not None
    assert (upload.file.filename, upload.file.expires_at, upload.file.status_details) == ("train.jsonl", None, None)
    assert from_json(Upload, UPLOAD | {"file": None}).file is None
    assert from_json(Upload, {"id": "u"}) == Upload(id="u")


@pytest.mark.parametrize("model", [File, Upload, UploadPart, FileDeleted])
def test_only_the_id_is_insisted_on(model: type[Any]) -> None:
    assert from_json(model, {"id": "x", "object": None}).id == "x"
    with pytest.raises(InvalidModelError, match=f"no {model.__name__}: .*id"):
        from_json(model, {"object": "file"})
    with pytest.raises(InvalidModelError, match="text was expected, not int"):
        from_json(model, {"id": 5})


@pytest.mark.parametrize("data", [None, [], "text", 5, True])
def test_what_is_no_object_is_no_model(data: object) -> None:
    with pytest.raises(InvalidModelError, match="an object was expected"):
        from_json(File, data)


NOT_COUNTS = [
    *("many", "about 3", "", "-1", "1.5", "9" * 5000, [], {}, True, 12.7, -1, 2**60, int("9" * 4000)),
    *(float("inf"), float("nan")),
]


@pytest.mark.parametrize("count", NOT_COUNTS, ids=lambda count: str(count)[:9])
def test_what_is_not_a_count_is_missing_and_costs_nothing_else(count: object) -> None:
    assert from_json(File, {"id": "x", "bytes": count, "created_at": count}) == File(id="x")
    response = {"data": [], "created": count, "size": 5, "usage": {"total_tokens": count, "output_tokens": 7}}
    assert from_odd_json(ImagesResponse, response) == ImagesResponse(data=(), usage=Usage(output_tokens=7))


@pytest.mark.parametrize("count", [12, 12.0, "12"])
def test_a_count_may_be_written_as_a_fraction_of_none_or_as_a_text(count: object) -> None:
    assert from_json(File, {"id": "x", "bytes": count}).bytes == 12
    assert from_odd_json(ImagesResponse, {"data": [], "created": count, "size": 5}).created == 12


def test_what_is_kept_of_unknown_fields_can_be_written_as_json() -> None:
    text = (
        '{"id": "x", "score": Infinity, "a": {"b": [1, NaN, {"c": -Infinity, "d": 1.5}]}, "large": 1152921504606846977}'
    )
    file = from_json(File, json_value(text))
    assert file.extra == {"score": None, "a": {"b": [1, None, {"c": None, "d": 1.5}]}, "large": 2**60 + 1}
    assert json.loads(json.dumps(to_json(file), allow_nan=False)) == to_json(file)


def test_status_and_purpose_are_open() -> None:
    file = from_json(File, {"id": "x", "status": "paused", "purpose": "evals"})
    assert (file.status, file.purpose) == ("paused", "evals")


def test_fields_of_a_newer_server_are_kept() -> None:
    upload = from_json(Upload, UPLOAD | {"colour": "red", "file": FILE | {"extra": [1]}})
    assert upload.extra == {"colour": "red"}
    assert upload.file is not None
    assert upload.file.extra == {"extra": [1]}


@given(st.dictionaries(st.text(), json_values))
def test_a_file_comes_back_from_its_own_json(unknown: dict[str, Any]) -> None:
    file = from_json(File, unknown | FILE)
    assert from_json(File, to_json(file)) == file
    assert to_json(file) == {name: value for name, value in (unknown | FILE).items() if value is not None} | {
        **file.extra
    }


def test_an_upload_and_a_page_come_back_too() -> None:
    upload = from_json(Upload, UPLOAD)
    assert from_json(Upload, to_json(upload)) == upload
    page = from_json(Page[File], {"data": [FILE], "has_more": False, "first_id": "a"})
    assert page.data[0].filename == "train.jsonl"
    assert to_json(page)["data"] == [{name: value for name, value in FILE.items() if value is not None}]


def test_a_page_without_data_is_none() -> None:
    with pytest.raises(InvalidModelError, match="data"):
        from_json(Page[File], {"object": "list"})


def test_models_are_values() -> None:
    file = from_json(File, FILE)
    assert file == from_json(File, FILE)
    with pytest.raises(FrozenInstanceError):
        file.id = "other"  # type: ignore[misc]  # that is the point
