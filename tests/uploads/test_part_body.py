"""A part on the wire is exactly its bytes as a form field, read anew for each attempt, out of a pooled buffer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from aiohttp.abc import AbstractStreamWriter

from asyncsdk.errors import APIConnectionError, InternalServerError, SourceChangedError
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.body import PartBody, next_slice
from asyncsdk.uploads.checksum import ContentHash
from asyncsdk.uploads.chunking import BLOCK, Range
from asyncsdk.uploads.pacing.throttle import Throttle
from asyncsdk.uploads.sources.readers import BytesSource
from tests.raw_server import Talk, answering, reply, serving
from tests.uploads.part_helpers import LARGE, NARROW, TAKEN, WHOLE, line_to
from tests.uploads.upload_helpers import Gate, Slow
from tests.waiting import until

ON_GRID = [Range(0, BLOCK), Range(BLOCK, 3 * BLOCK), Range(2 * BLOCK, 3 * BLOCK + 17), WHOLE]
ONE_SLICE = Range(0, BLOCK)
SPANS = [Range(0, 1), Range(BLOCK, BLOCK + 1), *ON_GRID]


def resetting_after(count: int) -> Callable[[Talk], Awaitable[None]]:
    """A server that cuts its first connection off after `count` bytes of the body, and then behaves."""

    async def handle(talk: Talk) -> None:
        if talk.server.connections > 1:
            await talk.hear()
            await talk.say(TAKEN)
            return
        await talk.hear_head()
        await talk.reader.readexactly(count)
        talk.reset()

    return handle


async def hear_the_head_only(talk: Talk) -> None:
    await talk.hear_head()
    await asyncio.sleep(60)


# on the wire


@pytest.mark.parametrize("span", SPANS, ids=lambda span: f"{span.offset}+{span.length}")
async def test_a_part_is_one_form_field_with_exactly_its_bytes(span: Range) -> None:
    async with answering(TAKEN) as server, line_to(server) as line:
        await line.send(span)
    (request,) = server.requests
    kind, boundary = request.headers["content-type"].split("; boundary=")
    preamble = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="data"; filename="upload"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    assert (request.method, request.target, kind) == ("POST", "/v1/uploads/upload_1/parts", "multipart/form-data")
    assert request.headers["content-length"] == str(len(request.body))
    assert "transfer-encoding" not in request.headers
    assert request.body == preamble.encode() + LARGE[span.offset : span.end] + f"\r\n--{boundary}--\r\n".encode()


async def test_a_part_written_to_no_connection_is_the_same_bytes() -> None:
    class Nowhere:
        transport, written = None, b""

        async def write(self, chunk: bytes) -> None:
            self.written += bytes(chunk)

        async def drain(self) -> None:
            pass

    async with serving(hear_the_head_only) as server, line_to(server) as line:
        body, nowhere = PartBody(line.part_source, ON_GRID[2]), Nowhere()
        await body.write(cast("AbstractStreamWriter", nowhere))
    assert len(nowhere.written) == body.size
    assert LARGE[ON_GRID[2].offset :] in nowhere.written


async def test_parts_at_the_same_time_do_not_get_mixed_up() -> None:
    async with answering(TAKEN) as server, line_to(server) as line:
        await asyncio.gather(*map(line.send, SPANS))
    for span in SPANS:
        assert any(b"\r\n\r\n" + LARGE[span.offset : span.end] + b"\r\n--" in r.body for r in server.requests)


async def test_a_limited_rate_changes_how_bytes_go_and_not_which() -> None:
    throttle = Throttle(20 * 300_001)  # slices that fit no block
    async with answering(TAKEN) as server, line_to(server, throttle=throttle) as line:
        await line.send(WHOLE)
        assert line.bodies[0].slices[:3] == [300_001, BLOCK - 300_001, 300_001]
    assert LARGE in server.requests[0].body


async def test_it_goes_in_slices_of_a_block() -> None:
    async with answering(TAKEN) as server, line_to(server) as line:
        await line.send(WHOLE)
        assert line.bodies[0].slices == [BLOCK] * 5 + [17]
        assert line.bodies[0].sent == len(LARGE)


async def test_what_the_system_still_holds_has_not_moved() -> None:
    reading = asyncio.Event()

    async def wait_and_read(talk: Talk) -> None:
        head = await talk.hear_head()
        await talk.reader.readexactly(2 * BLOCK)
        await reading.wait()
        await talk.reader.readexactly(int(head.headers["content-length"]) - 2 * BLOCK)
        await talk.say(TAKEN)

    async with serving(wait_and_read, buffer=NARROW) as server, line_to(server) as line:
        line.part_source.slow_slice = -1.0  # small slices from 2 MiB on, so that what was written is well known
        sending, before = asyncio.ensure_future(line.send(WHOLE)), -1
        while before < 2 * BLOCK or line.bodies[0].sent > before:
            before = line.bodies[0].sent if line.bodies else -1
            await asyncio.sleep(0.1)
        assert sum(line.moved) < line.bodies[0].sent - NARROW // 2
        reading.set()
        await sending
        assert len(LARGE) - 4 * NARROW < sum(line.moved) <= len(LARGE) == line.bodies[0].sent


@pytest.mark.parametrize("seen_by", ["acknowledged bytes", "drained bytes"])
async def test_what_moves_is_reported_while_a_slice_is_still_being_taken(
    seen_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = asyncio.Event()
    if seen_by == "drained bytes":
        monkeypatch.setattr("asyncsdk.http.stall._tcp_info", lambda _: None)

    async def read_a_little(talk: Talk) -> None:
        await talk.hear_head()
        await talk.reader.readexactly(NARROW)
        await reading.wait()

    async with serving(read_a_little, buffer=NARROW // 4) as server, line_to(server, stall=2.0) as line:
        sending = asyncio.ensure_future(line.send(ONE_SLICE))
        await until(lambda: sum(line.moved) >= NARROW)
        (body,) = line.bodies
        moved, sent, pieces = sum(line.moved), body.sent, len(body.written)
        reading.set()
        with pytest.raises(APIConnectionError):
            await sending
    assert pieces == 1  # the form before the slice
    assert moved < sent == BLOCK


async def test_what_its_connection_moved_for_others_has_not_moved_for_it() -> None:
    reading = asyncio.Event()

    async def take_one_and_read_a_little(talk: Talk) -> None:
        await talk.hear()
        await talk.say(TAKEN)
        await talk.hear_head()
        await talk.reader.readexactly(NARROW)
        await reading.wait()

    async with serving(take_one_and_read_a_little, buffer=NARROW // 4) as server, line_to(server, stall=2.0) as line:
        await line.send(ONE_SLICE)
        sending = asyncio.ensure_future(line.send(ONE_SLICE))
        await until(lambda: len(line.bodies) == 2 and line.bodies[1].moved >= NARROW)
        moved = line.bodies[1].moved
        reading.set()
        with pytest.raises(APIConnectionError):
            await sending
    assert server.connections == 1
    assert moved < BLOCK


async def test_a_line_on_which_slices_take_long_gets_smaller_ones() -> None:
    async with answering(TAKEN) as server, line_to(server) as line:
        line.part_source.slow_slice = -1.0
        await line.send(Range(0, 2 * BLOCK))
        assert line.bodies[0].slices[:8] == [BLOCK >> halved for halved in (0, 1, 2, 3, 4, 5, 6, 7)]
        assert min(line.bodies[0].slices[:-1]) == 4096
    assert LARGE[: 2 * BLOCK] in server.requests[0].body


@pytest.mark.parametrize(
    ("size", "seconds", "smaller"),
    [(BLOCK, 5.0, BLOCK), (BLOCK, 5.1, BLOCK // 2), (4097, 9, 4096), (4096, 60, 4096), (2, 60, 2)],
)
def test_a_slice_that_takes_more_than_five_seconds_is_halved(size: int, seconds: float, smaller: int) -> None:
    assert next_slice(size, seconds) == smaller


# its fingerprint, and attempts that fail


@pytest.mark.parametrize(
    "span",
    ON_GRID,
    ids=lambda span: f"{span.offset}+{span.length}",
)
async def test_a_parts_fingerprint_is_what_the_hashing_pass_finds_there(span: Range, threads: DaemonThreadPool) -> None:
    digest = ContentHash(len(LARGE))
    await digest.read(BytesSource.over(LARGE), threads, lambda _: None)
    async with answering(TAKEN) as server, line_to(server) as line:
        await line.send(span)
        assert line.bodies[0].fingerprint == digest.fingerprint(span)


async def test_an_attempt_after_a_lost_one_reads_again_and_tells_what_it_read_then(threads: DaemonThreadPool) -> None:
    source = Slow(bytes(len(LARGE)))
    async with (
        serving(resetting_after(2 * BLOCK), buffer=NARROW) as server,
        line_to(server, source) as line,
    ):
        with pytest.raises(APIConnectionError):
            await line.send(WHOLE)
        source.content = LARGE
        await line.send(WHOLE)
    lost, went = line.bodies
    assert 0 < lost.sent < went.sent == len(LARGE)
    assert LARGE in server.requests[0].body
    digest = ContentHash(len(LARGE))
    await digest.read(source, threads, lambda _: None)
    assert went.fingerprint == digest.fingerprint(WHOLE)


async def test_the_client_makes_a_new_body_for_each_attempt() -> None:
    async with serving(resetting_after(BLOCK), buffer=NARROW) as server, line_to(server) as line:
        await line.send(WHOLE, max_retries=1)
    assert len(line.bodies) == 2
    assert LARGE in server.requests[0].body


async def test_a_file_that_became_shorter_is_told_as_such_and_not_tried_again() -> None:
    changed = SourceChangedError("it became shorter")

    def fail() -> None:
        raise changed

    async with serving(hear_the_head_only) as server, line_to(server, Slow(LARGE, fail)) as line:
        with pytest.raises(SourceChangedError) as caught:
            await line.send(WHOLE, max_retries=3)
    assert caught.value is changed
    assert server.connections == len(line.bodies) == 1
    assert line.pooled == []


# buffers


async def test_a_buffer_goes_back_to_the_pool_when_all_went_well_and_serves_the_next_part() -> None:
    async with answering(TAKEN) as server, line_to(server) as line:
        await line.send(ON_GRID[2])
        (buffer,) = line.pooled
        await line.send(ON_GRID[0])
        assert line.pooled == [buffer]
        assert line.pooled[0] is buffer
    assert len(server.requests) == 2


async def test_what_is_in_memory_and_never_changes_needs_no_buffer() -> None:
    async with answering(TAKEN) as server, line_to(server, BytesSource.over(LARGE)) as line:
        await line.send(WHOLE)
        assert line.pooled == []
    assert LARGE in server.requests[0].body


async def test_the_pool_holds_no_more_buffers_than_went_at_once() -> None:
    async with answering(TAKEN) as server, line_to(server) as line:
        for _ in range(3):
            await asyncio.gather(*(line.send(ON_GRID[2]) for _ in range(4)))
        assert len(line.pooled) <= 4
    assert len(server.requests) == 12


async def test_a_buffer_is_dropped_when_the_connection_is_lost() -> None:
    async with serving(resetting_after(BLOCK), buffer=NARROW) as server, line_to(server) as line:
        with pytest.raises(APIConnectionError):
            await line.send(WHOLE)
        assert line.pooled == []


async def test_a_buffer_is_dropped_when_the_server_answers_early() -> None:
    async def refuse(talk: Talk) -> None:
        await talk.hear_head()
        await talk.say(reply(503))
        await asyncio.sleep(60)

    async with serving(refuse, buffer=NARROW) as server, line_to(server) as line:
        with pytest.raises(InternalServerError):
            await line.send(WHOLE)
        assert line.pooled == []


async def test_a_buffer_is_dropped_when_the_sending_is_cancelled() -> None:
    async with serving(hear_the_head_only, buffer=NARROW) as server, line_to(server) as line:
        sending = asyncio.create_task(line.send(WHOLE))
        await until(lambda: line.bodies and line.bodies[0].watch.written > BLOCK)  # more than is taken unread
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert line.pooled == []


async def test_a_buffer_that_a_thread_still_fills_is_dropped_when_the_sending_is_cancelled() -> None:
    gate = Gate()
    async with serving(hear_the_head_only) as server, line_to(server, Slow(LARGE, gate)) as line:
        sending = asyncio.create_task(line.send(WHOLE))
        await until(gate.reached.is_set)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        gate.opened.set()
        await until(lambda: line.part_source.threads.busy == 0)
        assert line.pooled == []
