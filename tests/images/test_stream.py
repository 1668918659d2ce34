"""Events of a streamed edit come out whole, however the bytes are cut."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.errors import (
    APIError,
    APIResponseValidationError,
    APIStatusError,
    InternalServerError,
    ModerationBlockedError,
    QuotaExceededError,
    RateLimitError,
)
from asyncsdk.http.edit_response import Message, Messages
from asyncsdk.images.stream import CompletedImage, PartialImage, completed_image, partial_image
from asyncsdk.redaction import redactor


def frame(kind: str, end: str = "\n", **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields})
    return f"event: {kind}{end}data: {data}{end}{end}".encode()


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


PARTIAL = frame("image_edit.partial_image", b64_json=b64(b"half"), partial_image_index=1, size="16x16")
COMPLETED = frame("image_edit.completed", b64_json=b64(b"whole"), usage={"total_tokens": 7}, created_at=5)


def messages(request_id: str = "req_1", **fields: Any) -> Messages:
    return Messages(request="POST /images/edits", headers={"x-request-id": request_id}, **fields)


def fed(*chunks: bytes, **fields: Any) -> tuple[list[Any], Messages]:
    """The pictures of a whole stream, and what is left to say of it."""
    response = messages(**fields)
    found = [message for chunk in chunks for message in response.feed(chunk)]
    return [picture for message in [*found, *response.close()] for picture in pictures_of(message)], response


def pictures_of(message: Message) -> list[PartialImage | CompletedImage]:
    contents = [(image, image.content or b"") for image in message.response.data]
    if message.standing == "partial":
        return [partial_image(message, content) for _, content in contents]
    if message.standing == "final":
        return [completed_image(message.response, image, content) for image, content in contents]
    return []


def failure(*chunks: bytes, **fields: Any) -> APIError:
    found, response = fed(*chunks, **fields)
    assert found == []
    assert response.failure is not None
    return response.failure


def test_partial_pictures_and_the_completed_one_are_told_apart() -> None:
    (partial, completed), response = fed(PARTIAL + COMPLETED + b"data: [DONE]\n\n")
    assert (type(partial), partial.content, partial.index, partial.size) == (PartialImage, b"half", 1, "16x16")
    assert (type(completed), completed.content, completed.created_at) == (CompletedImage, b"whole", 5)
    assert completed.usage.total_tokens == 7
    assert response.failure is None
    assert [image.content for image in response.response.data] == [b"whole"]


@given(st.lists(st.integers(1, len(PARTIAL + COMPLETED)), max_size=12))
def test_it_does_not_matter_how_the_bytes_are_cut(cuts: list[int]) -> None:
    whole = PARTIAL + COMPLETED
    edges = [0, *sorted(cuts), len(whole)]
    found, _ = fed(*(whole[a:b] for a, b in pairwise(edges)))
    assert [event.content for event in found] == [b"half", b"whole"]


def test_returns_comments_and_missing_event_lines_are_borne() -> None:
    odd = b": hello\r\nid: 3\r\n\r\n" + frame("image_edit.completed", "\r\n", b64_json=b64(b"x")).partition(b"\r\n")[2]
    found, _ = fed(odd)
    assert [event.content for event in found] == [b"x"]


def test_an_event_over_several_lines_is_one() -> None:
    found, _ = fed(b'data: {"type": "image_edit.completed",\ndata: "b64_json": "eA=="}\n\n')
    assert [event.content for event in found] == [b"x"]


def test_a_line_break_within_the_json_takes_nothing_from_it() -> None:
    found, _ = fed(
        b'data:{"type":\ndata:"image_edit.partial_image", "partial_image_index":\ndata: 2, "b64_json": "eA=="}\n\n'
    )
    assert [(event.content, event.index) for event in found] == [(b"x", 2)]


def test_a_line_of_many_megabytes_is_read_in_small_chunks() -> None:
    large = frame("image_edit.completed", b64_json=b64(b"x" * 6_000_000))
    found, _ = fed(*(large[start : start + 4096] for start in range(0, len(large), 4096)))
    assert len(found[0].content) == 6_000_000


def test_kinds_that_are_not_known_are_passed_over() -> None:
    assert fed(frame("image_edit.something", b64_json="eA=="), frame("image_edit.completed"))[0] == []


BLOCKED = {
    "code": "moderation_blocked",
    "type": "image_generation_user_error",
    "message": "no",
    "moderation_details": {"moderation_stage": "output", "categories": ["sexual"]},
}


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (BLOCKED, ModerationBlockedError, 400),
        ({"type": "image_generation_user_error", "code": "invalid_value"}, APIStatusError, 400),
        ({"message": "it broke", "type": "server_error"}, InternalServerError, 500),
        ({"message": "Limit 5", "type": "input-images", "code": "rate_limit_exceeded"}, RateLimitError, 429),
        ({"type": "insufficient_quota"}, QuotaExceededError, 429),
        ({"code": 502, "message": "a gateway"}, InternalServerError, 502),
        ({"code": "7"}, InternalServerError, 500),
        ("just words", InternalServerError, 500),
    ],
)
@pytest.mark.parametrize("kind_of_frame", ["error", "image_edit.completed"])
def test_an_error_in_the_stream_is_what_it_stands_for(
    error: object, kind: type[APIStatusError], status: int, kind_of_frame: str
) -> None:
    found = failure(frame(kind_of_frame, error=error))
    assert isinstance(found, kind)
    assert (found.status_code, found.request_id) == (status, "req_1")


def test_an_error_may_stand_in_the_frame_itself() -> None:
    found = failure(frame("error", message="it broke"))
    assert isinstance(found, InternalServerError)
    assert "it broke" in str(found)


def test_what_moderation_says_is_kept() -> None:
    found = failure(frame("error", error=BLOCKED))
    assert isinstance(found, ModerationBlockedError)
    assert (found.stage, found.categories) == ("output", ("sexual",))


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b"keep-alive", b"[" * 100_000, b"\xff", b"7", b'{"type": 5}', b'{"data": 5}']
)
def test_what_can_not_be_read_takes_nothing_from_what_can(data: bytes) -> None:
    event = b"data: " + data + b"\n\n"
    assert [picture.content for picture in fed(event + COMPLETED + event, wanted=1)[0]] == [b"whole"]
    nothing = failure(event)
    assert isinstance(nothing, APIResponseValidationError)
    assert nothing.request_id == "req_1"


ODD = ["many", [], {}, -1, 1.5, 10**400, True, {"total_tokens": "many"}, {"total_tokens": -7}, {"total_tokens": 1e400}]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_odd_fields_take_nothing_from_a_picture(odd: Any) -> None:
    names = ("usage", "created", "created_at", "size", "quality", "background", "output_format", "svg_usage", "new")
    fields = dict.fromkeys(names, odd) | {"partial_image_index": odd}
    data = json.dumps({"type": "image_edit.completed", "b64_json": b64(b"whole"), **fields})
    [picture], _ = fed(f"data: {data}\n\n".encode())
    assert picture.content == b"whole"
    assert picture.usage is None or picture.usage.total_tokens is None
    assert picture.created_at is None
    [picture], _ = fed(json.dumps({"data": [{"b64_json": b64(b"whole"), "revised_prompt": odd}], **fields}).encode())
    assert picture.content == b"whole"


def test_whole_numbers_may_be_written_as_floats() -> None:
    [picture], _ = fed(frame("image_edit.completed", b64_json="eA==", usage={"total_tokens": 7.0}, created_at=5.0))
    assert (picture.usage.total_tokens, picture.created_at) == (7, 5)


def test_each_picture_knows_its_request() -> None:
    assert [picture.request_id for picture in fed(PARTIAL + COMPLETED)[0]] == ["req_1", "req_1"]


def test_nothing_is_shown_that_must_not_be() -> None:
    for data in (frame("error", error={"message": "your key is SECRET", "code": "SECRET"}), b"data: SECRET\n\n"):
        found, response = fed(data, redactor=redactor({"api-key": "SECRET"}, {}, {}))
        assert found == []
        raw = [image.raw for image in response.response.unreadable]
        assert "[key]" in f"{response.failure} {raw}"
        assert "SECRET" not in f"{response.failure} {vars(response.failure)} {raw} {response.last_text!r}"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_the_last_event_counts_without_the_line_that_ends_it(end: bytes) -> None:
    found, response = fed(COMPLETED.rstrip(b"\n") + end)
    assert [picture.content for picture in found] == [b"whole"]
    assert response.failure is None


def test_lines_that_look_like_data_are_not() -> None:
    lines = b"data\ndat\n:data: {\ndatabase: {\n data: {\nretry: 5\n\n"
    assert fed(lines, b"data:\n\n", b"data: \r\n\r\n", b"data:[DONE]\r\n\r\n")[0] == []


def test_chunks_of_one_byte_do() -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        stream = (PARTIAL + COMPLETED).replace(b"\n", end)
        found, _ = fed(*(stream[place : place + 1] for place in range(len(stream))))
        assert [event.content for event in found] == [b"half", b"whole"]
