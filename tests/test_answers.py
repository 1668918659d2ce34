"""What a success means that is not what was asked for: an error in the place of it, or a page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from multidict import CIMultiDict

from asyncsdk.errors import APIStatusError
from asyncsdk.http.decode import is_foreign, is_no_endpoint, read_response, status_error
from asyncsdk.models import File, FileDeleted, ImagesResponse, Page, Upload, UploadPart


def read(model: type[Any], body: bytes) -> Any:
    return read_response(model, 200, CIMultiDict({"X-Request-ID": "r"}), body, request="GET /x")


@pytest.mark.parametrize(
    ("body", "is_page"),
    [
        (b"<!doctype html><title>x</title>", True),
        (b"\xef\xbb\xbf\r\n <html>", True),
        (b"OK", True),
        (b"Welcome to nginx!", True),
        (b"", False),
        (b" \n", False),
        (b'{"data": [{"b64_json": "iVBO', False),
        (b"null", False),
        (b"NaN", False),
        (b"data: {}", False),
        (b": a comment of a stream", False),
        (b"event: image_edit.completed", False),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', False),
        (b"\x89PNG\r\n", False),
        (b"iVBORw0KGgo" * 200, False),
    ],
)
def test_a_page_is_told_from_what_may_be_a_paid_answer(body: bytes, *, is_page: bool) -> None:
    assert is_foreign(body) is is_page


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "x", "code": 402}, 402),
        ({"message": "x", "code": "529"}, 529),
        ({"message": "x", "type": "invalid_request_error", "code": "invalid_api_key"}, 401),
        ({"message": "x", "type": "invalid_request_error", "code": "unknown"}, 400),
        ({"message": "x", "type": "tokens", "code": "rate_limit_exceeded"}, 429),
        ({"message": "x", "type": "insufficient_quota"}, 429),
        ({"message": "x", "type": "server_error"}, 500),
        ({"message": "x", "code": 200}, 500),
        ({"message": "x", "code": "9" * 5000}, 500),
        ({"message": "x", "code": True}, 500),
        ({"message": "x"}, 500),
        ("a text", 500),
    ],
)
@pytest.mark.parametrize("model", [File, Upload, UploadPart, FileDeleted, Page[File], ImagesResponse])
def test_an_error_in_a_success_is_the_error_that_it_names(model: type[object], error: object, status: int) -> None:
    with pytest.raises(APIStatusError, match=r"\(in a response with status 200\)") as caught:
        read(model, json.dumps({"error": error}).encode())
    assert (caught.value.status_code, caught.value.request_id) == (status, "r")
    assert ("x" if isinstance(error, dict) else "a text") in str(caught.value)


def test_what_has_its_content_is_not_an_error_whatever_is_beside_it() -> None:
    assert read(File, b'{"id": "file-1", "error": {"message": "a past one"}}').id == "file-1"
    assert read(File, b'{"id": "file-1", "error": null}').extra == {"error": None}


def test_a_missing_route_is_told_from_a_missing_object() -> None:
    def error(status: int, body: str) -> APIStatusError:
        return status_error(status, {}, body.encode(), request="POST /x")

    assert is_no_endpoint(error(404, "<html>"))
    assert is_no_endpoint(error(405, '{"error": {"message": "Not allowed", "type": "x"}}'))
    assert is_no_endpoint(error(404, '{"error": {"message": "Resource not found", "code": "404"}}'))
    assert not is_no_endpoint(error(404, '{"error": {"message": "No such File object: file-1", "type": "x"}}'))
    assert not is_no_endpoint(error(404, '{"error": {"message": "No such File object: file-1"}}'))
    assert not is_no_endpoint(error(410, "<html>"))
