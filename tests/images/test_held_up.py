"""No response to an edit holds the loop up or takes much memory, whatever it is made of."""

from __future__ import annotations

import asyncio
import json
import time
import tracemalloc
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import pytest

from asyncsdk.errors import APIResponseValidationError
from asyncsdk.http.decode import read_response
from asyncsdk.http.edit_response import Messages
from asyncsdk.http.response import received
from asyncsdk.models import File, Page
from asyncsdk.redaction import redactor
from tests.raw_server import KEY

LONGEST = 3.0  # times the eightfold of what an eighth of it takes; were it quadratic, eight times
LEAST = 0.002  # seconds, below which a clock tells little
SIZE = 256 << 10
CHUNK = 64 << 10
KNOWN = redactor({"Authorization": f"Bearer {KEY}"}, {}, {})


def repeated(unit: bytes) -> bytes:
    return unit * (SIZE // len(unit))


BODIES = {
    "empty finals": b'data:{"data":[]}\n\n' * 30_000,
    "empty events": repeated(b"data:{}\n\n"),
    "events of nothing": b"data:{}\n\n" + repeated(b"data:\n\n"),
    "comments": b"data:{}\n\n" + repeated(b":\n\n"),
    "line ends": b"data:{}\n\n" + repeated(b"\n"),
    "escaped quotes": b'{"data":[{"b64_json":"' + repeated(b'\\"') + b'"}]}',
    "backslashes": b'{"data":[{"b64_json":"' + repeated(b"\\\\") + b'"}]}',
    "blanks behind base64": b"A" * 1000 + repeated(b" ") + b"!",
    "lists": repeated(b"["),
    "values": repeated(b"{}"),
    "pictures": b'{"data":[' + repeated(b'{"b64_json":"AAAA"},') + b"{}]}",
    "cut": b'{"data":[' + repeated(b'"",'),
}


def messages(wanted: int) -> Messages:
    return Messages(request="POST /images/edits", redactor=KNOWN, wanted=wanted)


def chunks_of(body: bytes, size: int) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


def seconds(body: bytes, chunk: int) -> float:
    """CPU time that a response takes to be read."""
    response = messages(wanted=1)
    began = time.thread_time()
    for piece in chunks_of(body, chunk):
        response.feed(piece)
    response.close()
    return max(LEAST, time.thread_time() - began)


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("chunk", [CHUNK, 1 << 20])
def test_what_a_response_takes_grows_with_its_size_and_no_faster(body: bytes, chunk: int) -> None:
    eighth = seconds(body[: len(body) // 8], chunk)
    assert seconds(body, chunk) < LONGEST * 8 * eighth


def test_more_events_than_any_edit_has_are_named_and_what_came_before_stays() -> None:
    response = messages(wanted=2)
    response.feed(b'data:{"data":[{"b64_json":"aGVsbG8="}]}\n\n' + b"data:{}\n\n" * 10_000)
    assert response.is_over
    assert "it has more than 10000 events" in str(response.failure)
    assert [image.content for image in response.response.data] == [b"hello"]


def test_as_many_events_as_a_slow_edit_has_are_read() -> None:
    response = messages(wanted=1)
    response.feed(b"data:{}\n\n" * 9_000 + b": alive\n\n" * 50_000 + b'data:{"data":[{"b64_json":"aGVsbG8="}]}\n\n')
    assert [image.content for image in response.response.data] == [b"hello"]


def test_a_page_of_millions_of_members_is_not_read() -> None:
    body = b'{"data":[' + b"[]," * 2_700_000 + b"[]]}"
    tracemalloc.start()
    try:
        with pytest.raises(APIResponseValidationError, match="more than 400000 members"):
            read_response(Page[File], 200, {}, body, request="GET /files", redactor=KNOWN)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * len(body)


def test_the_longest_page_is_read() -> None:
    file = dict.fromkeys(("object", "purpose", "filename", "status", "status_details", "a", "b", "c", "d"), "text")
    body = json.dumps({"data": [{"id": str(number), **file, "bytes": 1} for number in range(10_000)]}).encode()
    assert len(read_response(Page[File], 200, {}, body, request="GET /files", redactor=KNOWN).data) == 10_000


def test_an_empty_text_in_the_place_of_a_picture_is_kept_as_the_server_wrote_it() -> None:
    response = messages(wanted=1)
    response.feed(b'{"data": [{"b64_json": ""}]}')
    response.close()
    kept = [image.raw for image in response.response.unreadable] + [response.last_text]
    assert not any(b"#0" in raw for raw in kept)
    assert any(b'"b64_json": ""' in raw for raw in kept)


async def test_others_have_their_turn_while_one_chunk_of_many_events_is_read() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield BODIES["empty events"]

    async with asyncio.TaskGroup() as group:
        task = group.create_task(others())
        await asyncio.sleep(0)
        before = turns
        async with aclosing(received(messages(wanted=1), chunks())) as found:
            async for _ in found:
                pass
        assert turns > before
        task.cancel()
