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
from asyncsdk.images.stream import CompletedImage, Events, PartialImage


def frame(kind: str, end: str = "\n", **fields: Any) -> bytes:
    data = json.dumps({"type": kind, **fields})
    return f"event: {kind}{end}data: {data}{end}{end}".encode()


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


PARTIAL = frame("image_edit.partial_image", b64_json=b64(b"half"), partial_image_index=1, size="16x16")
COMPLETED = frame("image_edit.completed", b64_json=b64(b"whole"), usage={"total_tokens": 7}, created_at=5)


def fed(*chunks: bytes) -> tuple[list[Any], Events]:
    events = Events()
    return [event for chunk in chunks for event in events.feed(chunk)], events


def test_partial_pictures_and_the_completed_one_are_told_apart() -> None:
    (partial, completed), events = fed(PARTIAL + COMPLETED + b"data: [DONE]\n\n")
    assert (type(partial), partial.content, partial.index, partial.size) == (PartialImage, b"half", 1, "16x16")
    assert (type(completed), completed.content, completed.created_at) == (CompletedImage, b"whole", 5)
    assert completed.usage.total_tokens == 7
    assert events.completed == 1


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
    with pytest.raises(kind) as caught:
        list(Events("req_1").feed(frame(kind_of_frame, error=error)))
    assert (caught.value.status_code, caught.value.request_id) == (status, "req_1")


def test_an_error_may_stand_in_the_frame_itself() -> None:
    with pytest.raises(InternalServerError, match="it broke"):
        fed(frame("error", message="it broke"))


def test_what_moderation_says_is_kept() -> None:
    with pytest.raises(ModerationBlockedError) as caught:
        fed(frame("error", error=BLOCKED))
    assert (caught.value.stage, caught.value.categories) == ("output", ("sexual",))


@pytest.mark.parametrize(
    "data",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        b'data: {"b64_json": "?"}\n\n',
        b'data: {"type": "image_edit.completed", "b64_json": "eA==\n\n',
        b'data: {"type": "image_edit.completed", "b64_json": "eA==", "usage": {"total_tokens": "many"}}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"data: \xff\n\n",
    ],
)
def test_what_can_not_be_read_is_an_error(data: bytes) -> None:
    with pytest.raises(APIResponseValidationError, match="the stream holds what can't be read") as caught:
        list(Events("req_1").feed(data))
    assert caught.value.request_id == "req_1"


def test_each_picture_knows_its_request() -> None:
    assert [event.request_id for event in Events("req_1").feed(PARTIAL + COMPLETED)] == ["req_1", "req_1"]


def test_nothing_is_shown_that_must_not_be() -> None:
    for data in (frame("error", error={"message": "your key is SECRET", "code": "SECRET"}), b"data: SECRET\n\n"):
        events = Events(shown=lambda text: text.replace("SECRET", "[key]"))
        with pytest.raises(APIError, match=r"\[key\]") as caught:
            list(events.feed(data))
        assert "SECRET" not in f"{caught.value} {vars(caught.value)} {vars(caught.value.__cause__ or caught.value)}"


def test_an_event_that_is_not_ended_is_none() -> None:
    found, events = fed(COMPLETED.removesuffix(b"\n"))
    assert (found, events.completed) == ([], 0)


def test_lines_that_look_like_data_are_not() -> None:
    lines = b"data\ndat\n:data: {\ndatabase: {\n data: {\nretry: 5\n\n"
    assert fed(lines, b"data:\n\n", b"data: \r\n\r\n", b"data:[DONE]\r\n\r\n")[0] == []


def test_chunks_of_one_byte_do() -> None:
    whole = PARTIAL.replace(b"\n", b"\r\n") + COMPLETED
    found, _ = fed(*(whole[place : place + 1] for place in range(len(whole))))
    assert [event.content for event in found] == [b"half", b"whole"]
