"""Whole uploads whose number of connections changes meanwhile: what is measured, who pauses, and nothing is lost."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from attrs import define, field

from asyncsdk import AsyncUploader, Client, Progress, UploadJob
from asyncsdk.events import RequestEvent
from asyncsdk.server import Fault, LocalServer, ServerProcess
from asyncsdk.uploads.pacing.concurrency import LEAST, MOST, START, WINDOW_SECONDS, ConnectionCount
from asyncsdk.uploads.pacing.measuring import Observation
from asyncsdk.uploads.sources.source import Given
from tests.faults.leaving import cancelled_at_once
from tests.raw_server import PART, UPLOAD, Received, Talk, client_of, reply, serving
from tests.stories.support import MIB, md5_of

MakeFile = Callable[..., Path]
Uploading = Callable[..., AsyncUploader]
RATE = 24 * MIB
FILE = {"id": "file-1", "object": "file", "created_at": 1, "purpose": "batch"}


@define(eq=False)
class Ordered(ConnectionCount):
    """Takes the next of `numbers` at each window, and keeps what it is shown."""

    numbers: Iterator[int] = field(factory=lambda: itertools.repeat(START))
    seen: list[Observation] = field(factory=list)
    changed: float = 0.0  # when it was another number last

    def observe(self, seen: Observation) -> int:
        self.seen.append(seen)
        before, self.number = self.number, next(self.numbers)
        self.changed = self.changed if self.number == before else time.monotonic()
        return self.number


def ordered(client: Client, journal: Path, numbers: Iterable[int], **options: object) -> tuple[AsyncUploader, Ordered]:
    uploader = AsyncUploader(client, journal=journal, concurrency=None, **options)  # type: ignore[arg-type]
    count = Ordered(numbers=iter(numbers))
    count.number, count.is_new = next(count.numbers), False  # else small files would raise it
    uploader._count = count  # noqa: SLF001 - nothing else orders a number at a time
    return uploader, count


async def test_a_number_that_goes_up_and_down_all_the_time_harms_no_byte(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    uploader, _ = ordered(client, journal, itertools.cycle([8, 1, 32, 2]), part_size=2 * MIB, limit_rate=RATE)
    path = make_file(48 * MIB + 12345)
    result = await uploader.upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert result.md5 == md5_of(path)
    assert result.bytes_sent == path.stat().st_size  # nothing was sent twice


async def test_parts_above_the_number_pause_in_mid_part_and_are_not_taken_for_stalled(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    """One of eight sends: the others pause for seconds, and a stall is half a second."""
    numbers = itertools.chain([8, 8], itertools.repeat(1))
    uploader, count = ordered(client, journal, numbers, part_size=8 * MIB, limit_rate=RATE, stall_timeout=0.5)
    events = list[RequestEvent]()
    client._repeater.on_event = events.append  # noqa: SLF001 - the client of the fixture has none
    seen = list[Progress]()
    path = make_file(64 * MIB)
    result = await uploader.upload(path, purpose="batch", on_progress=seen.append)
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert not [event for event in events if event.error]
    assert min(window.in_use for window in count.seen[3:-1]) == pytest.approx(1, abs=0.1)
    assert {progress.connections for progress in seen} == {8, 1}
    assert max(progress.parts_in_flight for progress in seen if progress.connections == 1) > 1


@pytest.mark.parametrize("after", [0.0, 0.1, 0.7])
async def test_an_upload_that_is_cancelled_while_parts_pause_leaves_at_once_and_goes_on(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile, after: float
) -> None:
    numbers = itertools.chain([8, 8], itertools.repeat(2))
    uploader, _ = ordered(client, journal, numbers, part_size=4 * MIB, limit_rate=RATE)
    path, seen = make_file(64 * MIB), list[Progress]()
    task = asyncio.create_task(uploader.upload(path, purpose="batch", on_progress=seen.append))
    connections = uploader._context.connections  # noqa: SLF001 - nothing else shows who waits
    while not connections.taken > connections.limit:
        await asyncio.sleep(0.01)
    await asyncio.sleep(after)
    await cancelled_at_once(task)
    assert (connections.taken, connections._waiting, connections._of_tasks) == (0, {}, {})  # noqa: SLF001 - as above
    result = await AsyncUploader(client, journal=journal).upload(path, purpose="batch")
    assert result.bytes_resumed >= seen[-1].bytes_done
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()


async def test_a_number_that_rises_gets_more_parts_at_once_within_the_same_upload(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    uploader, count = ordered(client, journal, itertools.chain([2, 2, 2], itertools.repeat(6)), limit_rate=RATE)
    await uploader.upload(make_file(40 * MIB), purpose="batch")
    assert max(window.in_use for window in count.seen[:2]) <= 2
    assert max(window.in_use for window in count.seen) == pytest.approx(6, abs=0.1)


async def test_what_is_seen_of_an_upload_adds_up_to_all_of_it(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    uploader, count = ordered(client, journal, itertools.repeat(4), part_size=MIB, limit_rate=RATE)
    size = 32 * MIB + 12345
    await uploader.upload(make_file(size), purpose="batch")
    await asyncio.sleep(3 * WINDOW_SECONDS)  # its end is in a window, too
    windows = count.seen
    assert size < sum(window.acked for window in windows) < size + 33 * 1000  # with the form around each part
    assert sum(window.finished for window in windows) == 33
    assert sum(window.refused for window in windows) == 0
    assert all(window.seconds > 0 for window in windows)
    assert all(0 <= window.loop_busy <= 1.05 for window in windows)


class SlowFile(io.BytesIO):
    """Gives 4 MiB a second."""

    def read(self, size: int | None = -1, /) -> bytes:
        time.sleep((size or 0) / (4 * MIB))
        return super().read(size)


FLOW = MIB  # of each connection, a second: more would gain in proportion


@pytest.fixture
def line(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that limits each connection, in a process of its own: reading slowly costs its loop nothing."""
    with ServerProcess(tmp_path / "far", faults=[Fault("part", "slow", every=1, rate=FLOW)]) as running:
        yield running


@pytest.fixture
def fast_line(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that takes far more than 4 MiB a second, however busy the machine is, so that it is not what limits."""
    with ServerProcess(tmp_path / "near") as running:
        yield running


async def highest(line: ServerProcess, source: Given, journal: Path, **options: Any) -> int:
    """The highest number of connections of an upload over `line`."""
    seen = list[Progress]()
    async with Client("sk-test", base_url=line.url) as client:
        uploader = AsyncUploader(client, journal=journal, part_size=MIB, **options)
        await uploader.upload(source, purpose="batch", on_progress=seen.append)
    return max(progress.connections for progress in seen)


async def test_where_each_connection_is_limited_the_number_rises(line: ServerProcess, journal: Path) -> None:
    assert await highest(line, bytes(40 * MIB), journal) > START


async def test_where_the_rate_limit_holds_parts_back_it_does_not_rise(fast_line: ServerProcess, journal: Path) -> None:
    assert await highest(fast_line, bytes(24 * MIB), journal, limit_rate=4 * MIB) == START


async def test_where_the_source_is_slow_it_does_not_rise(fast_line: ServerProcess, journal: Path) -> None:
    assert await highest(fast_line, SlowFile(bytes(16 * MIB)), journal) == START


async def test_where_the_disk_is_slow_it_does_not_rise(
    fast_line: ServerProcess, journal: Path, make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, turn = os.preadv, threading.Lock()

    def slowly(descriptor: int, views: list[memoryview], offset: int, flags: int = 0) -> int:
        if flags:  # only what is at hand: nothing is
            raise BlockingIOError
        with turn:
            time.sleep(len(views[0]) / (4 * MIB))
        return read(descriptor, views, offset)

    monkeypatch.setattr(os, "preadv", slowly)
    assert await highest(fast_line, make_file(16 * MIB), journal) == START


@pytest.mark.parametrize(
    ("fault", "refused"),
    [
        (Fault("part", "answer", every=4, times=5, status=503, retry_after=0.01), 5),
        (Fault("part", "reset", at="in", every=4, times=5), 5),
        (Fault("part", "answer", every=4, times=5, status=500), 0),
        (Fault("part", "answer", every=4, times=5, status=429, retry_after=0.01), 0),
    ],
    ids=["503", "reset", "500", "429"],
)
async def test_refused_parts_are_those_with_503_or_a_reset(
    server: LocalServer, client: Client, make_file: MakeFile, fault: Fault, refused: int
) -> None:
    server.inject(fault)
    options = {"part_size": MIB, "limit_rate": RATE}
    uploader, count = ordered(client, make_file(1).parent / "journal", itertools.repeat(4), **options)
    path = make_file(32 * MIB)
    result = await uploader.upload(path, purpose="batch")
    assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert sum(window.refused for window in count.seen) == refused


def answer_of(head: Received) -> bytes:
    """To a request that is not about a part."""
    is_completed = head.target.endswith("/complete")
    return reply(200, UPLOAD | ({"status": "completed", "file": FILE} if is_completed else {}))


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("read", [0.0, 0.5], ids=["at once", "half-way"])
async def test_a_part_whose_connection_is_lost_is_refused_over_tls_too(
    journal: Path, caplog: pytest.LogCaptureFixture, how: str, read: float
) -> None:
    """Where aiohttp's own error has neither a number nor the words of the system."""
    authority = trustme.CA()
    identity, trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(identity)
    authority.configure_trust(trust)
    ids, left = itertools.count(), [how] * 4  # so many are lost

    async def handle(talk: Talk) -> None:
        while True:
            head = await talk.hear_head()
            length = int(head.headers["content-length"])
            if not head.target.endswith("/parts"):
                await talk.reader.readexactly(length)
                await talk.say(answer_of(head))
            elif left:
                left.pop()
                await talk.reader.readexactly(int(length * read))
                return talk.reset() if how == "reset" else talk.writer.close()
            else:
                await talk.reader.readexactly(length)
                await asyncio.sleep(0.4)  # longer than a window
                await talk.say(reply(200, {**PART, "id": f"part_{next(ids)}"}))

    async with serving(handle, ssl=identity, limit=1 << 22) as server, client_of(server, ssl=trust) as client:
        uploader, count = ordered(client, journal, itertools.repeat(4), part_size=4 * MIB)
        await uploader.upload(bytes(16 * MIB), purpose="batch")
    assert sum(window.refused for window in count.seen) == 4
    assert "https" not in caplog.text


async def test_parts_that_were_refused_are_not_sent_again_while_they_are_above_the_number(
    journal: Path, make_file: MakeFile
) -> None:
    """Of a server that takes four at once: it counts a request from its head on."""
    active, refused = 0, list[float]()

    async def handle(talk: Talk) -> None:
        nonlocal active
        while True:
            head = await talk.hear_head()
            if not head.target.endswith("/parts"):
                await talk.reader.readexactly(int(head.headers["content-length"]))
                await talk.say(answer_of(head))
            elif active >= 4:
                refused.append(time.monotonic())
                await talk.say(reply(503, {}, {"Retry-After": "0.1"}))
                return
            else:
                active += 1
                await talk.reader.readexactly(int(head.headers["content-length"]))
                await asyncio.sleep(0.4)
                active -= 1
                await talk.say(reply(200, {**PART, "id": f"part_{next(ids)}"}))

    ids = itertools.count()
    async with serving(handle, limit=1 << 22) as server, client_of(server) as client:
        numbers = itertools.chain([8, 8], itertools.repeat(4))
        uploader, count = ordered(client, journal, numbers, part_size=MIB, max_retries=20)
        uploader._context.connections._longest_pause = 0.2  # noqa: SLF001 - ten seconds are long
        await uploader.upload(make_file(24 * MIB), purpose="batch")
    assert refused
    # four may be on their way when eight come down to four; else they would come again as long as anything is sent
    assert sum(moment > count.changed for moment in refused) <= 4


async def test_each_of_many_small_files_counts_as_a_connection(
    server: LocalServer, client: Client, journal: Path, make_file: MakeFile
) -> None:
    uploader, count = ordered(client, journal, itertools.repeat(4))
    jobs = [UploadJob(make_file(1000, f"{number}.txt", number), "batch") for number in range(400)]
    async with uploader.upload_many(jobs) as outcomes:  # many: between two of them one fewer is under way
        assert [outcome.status async for outcome in outcomes] == ["done"] * 400
    assert max(window.in_use for window in count.seen) == 4


@pytest.fixture
def uploading(client: Client, journal: Path) -> Uploading:
    return partial(AsyncUploader, client, journal=journal)


@pytest.mark.parametrize(
    ("size", "options", "number"),
    [(1000, {}, MOST), (MIB + 1, {}, START), (1000, {"limit_rate": RATE}, START)],
)
async def test_many_small_files_soon_use_all_connections(
    uploading: Uploading, make_file: MakeFile, size: int, options: dict[str, Any], number: int
) -> None:
    uploader = uploading(**options)
    jobs = [UploadJob(make_file(size, f"{seed}.txt", seed), "batch") for seed in range(4 * START)]
    async with uploader.upload_many(jobs) as outcomes:
        assert [outcome.status async for outcome in outcomes] == ["done"] * len(jobs)
    assert uploader._count.best == number  # noqa: SLF001 - too few to be seen otherwise


async def test_no_more_small_files_than_before_are_sent_until_a_round_of_them_was_answered(
    server: LocalServer, client: Client, uploading: Uploading, make_file: MakeFile
) -> None:
    server.inject(Fault("files.create", "stall", "before", every=1, times=START, seconds=0.5))
    uploader, sent = uploading(), list[int]()
    client._repeater.on_event = lambda _: sent.append(server.calls["files.create"])  # noqa: SLF001 - as above
    jobs = [UploadJob(make_file(1000, f"{seed}.txt", seed), "batch") for seed in range(4 * START)]
    async with uploader.upload_many(jobs) as outcomes:
        while not sent:
            await asyncio.sleep(0.01)
        outcomes.stop()
        assert {outcome.status async for outcome in outcomes} == {"done"}
    assert sent[0] == START  # when the first was answered


async def test_nothing_is_measured_with_a_number_that_was_given(
    client: Client, journal: Path, make_file: MakeFile
) -> None:
    seen = list[Progress]()
    uploader = AsyncUploader(client, journal=journal, concurrency=3, part_size=MIB, limit_rate=RATE)
    uploader._count = Ordered()  # noqa: SLF001 - as above
    await uploader.upload(make_file(12 * MIB), purpose="batch", on_progress=seen.append)
    assert {progress.connections for progress in seen} == {3}
    assert uploader._count.seen == []  # noqa: SLF001 - as above


async def test_unless_a_number_is_given_it_is_learned(client: Client, journal: Path, make_file: MakeFile) -> None:
    seen = list[Progress]()
    uploader = AsyncUploader(client, journal=journal)
    assert uploader.concurrency is None
    await uploader.upload(make_file(), purpose="batch", on_progress=seen.append)
    assert {progress.connections for progress in seen} == {START}


async def test_the_next_upload_begins_with_what_was_learned(client: Client, journal: Path, make_file: MakeFile) -> None:
    uploader, count = ordered(client, journal, itertools.chain([8, 8], itertools.repeat(16)), limit_rate=RATE)
    await uploader.upload(make_file(24 * MIB), purpose="batch")
    seen = list[Progress]()
    await uploader.upload(make_file(MIB, "b.bin"), purpose="batch", on_progress=seen.append)
    assert {progress.connections for progress in seen} == {16}
    assert LEAST <= count.number <= MOST
