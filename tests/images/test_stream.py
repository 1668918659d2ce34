"""Events of a streamed edit come out whole, however the bytes are cut."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.errors import APIResponseValidationError, InternalServerError, ModerationBlockedError
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


def test_a_line_of_many_megabytes_is_read_in_small_chunks() -> None:
    large = frame("image_edit.completed", b64_json=b64(b"x" * 6_000_000))
    found, _ = fed(*(large[start : start + 4096] for start in range(0, len(large), 4096)))
    assert len(found[0].content) == 6_000_000


def test_kinds_that_are_not_known_are_passed_over() -> None:
    assert fed(frame("image_edit.something", b64_json="eA=="), frame("image_edit.completed"))[0] == []


def test_an_error_in_the_stream_is_what_it_stands_for() -> None:
    blocked = {"code": "moderation_blocked", "type": "image_generation_user_error", "message": "no"}
    with pytest.raises(ModerationBlockedError):
        fed(frame("error", error=blocked))
    with pytest.raises(InternalServerError):
        fed(frame("error", error={"message": "it broke", "type": "server_error"}))
    with pytest.raises(InternalServerError):
        fed(frame("error", message="it broke"))


@pytest.mark.parametrize("data", [b"data: {\n\n", b"data: []\n\n", b'data: {"b64_json": "?"}\n\n'])
def test_what_can_not_be_read_is_an_error(data: bytes) -> None:
    with pytest.raises(APIResponseValidationError):
        fed(data)
