"""How far sending may be ahead of hashing, and what becomes of those who wait for it."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import time
from pathlib import Path

import pytest

from asyncsdk import AsyncUploader, Client, Progress
from asyncsdk.server import LocalServer
from asyncsdk.threads import Threads
from asyncsdk.uploads.digest import Digest
from asyncsdk.uploads.lead import LONGEST_LEAD, Lead
from asyncsdk.uploads.plan import BLOCK, MIB
from asyncsdk.uploads.progress import Meter
from asyncsdk.uploads.readable import BytesSource
from asyncsdk.uploads.source import PathSource
from tests.raw_server import answering
from tests.uploads.part_helpers import TAKEN, line_to
from tests.uploads.upload_helpers import until

SIZE = LONGEST_LEAD + 8 * MIB


def lead_over(digest: Digest) -> Lead:
    return Lead(Meter("a", digest.size), digest, Threads("test-hash", 2))


def test_a_lead_is_too_long_once_more_was_sent_than_hashing_is_behind() -> None:
    lead = lead_over(Digest(SIZE))
    lead.meter.sent(LONGEST_LEAD)
    assert not lead.too_long
    lead.meter.sent(1)
    behind = lead.too_long
    lead.hashed_to(1)
    assert (behind, lead.too_long) == (True, False)


def test_what_was_lost_and_what_earlier_runs_sent_is_no_lead() -> None:
    lead = lead_over(Digest(SIZE))
    lead.meter.sent(LONGEST_LEAD + 1)
    lead.meter.lost(LONGEST_LEAD + 1)
    lead.meter.holds(SIZE, SIZE)
    assert lead.meter.ahead == 0
    assert not lead.too_long


def test_a_part_that_landed_is_as_far_ahead_as_it_was_in_flight() -> None:
    meter = Meter("a", SIZE)
    meter.took_off()
    meter.sent(MIB)
    ahead = meter.ahead
    meter.landed(MIB, MIB)
    assert meter.ahead == ahead == MIB


async def test_no_lead_is_too_long_once_all_is_hashed() -> None:
    digest = Digest(MIB)
    lead = lead_over(digest)
    lead.meter.sent(2 * LONGEST_LEAD)
    behind = lead.too_long
    await digest.read(BytesSource.over(bytes(MIB)), Threads("test-hash", 1), lambda _: None)
    assert (behind, lead.too_long) == (True, False)


def test_no_lead_is_too_long_where_only_what_was_sent_is_hashed() -> None:
    lead = lead_over(Digest(SIZE, with_md5=False, whole=False))
    lead.meter.sent(2 * LONGEST_LEAD)
    assert not lead.too_long


@pytest.mark.parametrize("steps", [1, 3])
async def test_whoever_is_too_far_ahead_waits_until_hashing_is_near_enough(steps: int) -> None:
    lead = lead_over(Digest(SIZE))
    lead.meter.sent(LONGEST_LEAD + steps)
    waiting = asyncio.ensure_future(lead.shortened())
    for step in range(steps):
        await asyncio.sleep(0.01)
        assert not waiting.done()
        lead.hashed_to(step + 1)
    await asyncio.wait_for(waiting, 1)


async def test_a_body_that_is_too_far_ahead_sends_nothing_and_is_not_taken_for_stalled() -> None:
    async with answering(TAKEN) as server, line_to(server, stall=0.2) as line:
        line.feed.lead.meter.sent(LONGEST_LEAD + 1)
        sending = asyncio.ensure_future(line.send())
        await asyncio.sleep(0.6)
        assert line.moved == []
        assert not sending.done()
        line.feed.lead.hashed_to(1)
        await asyncio.wait_for(sending, 5)
    assert sum(line.moved) > 0


def hash_slowly(monkeypatch: pytest.MonkeyPatch, *, failing_at: int = SIZE) -> None:
    """Let each block take its time to be read in a thread, as hashing does; the loop sends from the page cache."""
    real = PathSource.read

    def read(source: PathSource, offset: int, view: memoryview) -> None:
        time.sleep(0.005)
        if offset >= failing_at:
            raise OSError(errno.EIO, "the disk fails")
        real(source, offset, view)

    monkeypatch.setattr(PathSource, "read", read)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "train.jsonl"
    path.write_bytes(os.urandom(SIZE))
    return path


async def test_an_upload_is_never_much_further_than_its_hashing_and_ends_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_slowly(monkeypatch)
    ahead: list[int] = []

    def look(progress: Progress) -> None:
        ahead.append(progress.bytes_done + progress.bytes_in_flight - progress.bytes_hashed)

    async with LocalServer() as server, Client("k", base_url=server.url) as client:
        result = await AsyncUploader(client, journal="memory").upload(path, purpose="batch", on_progress=look)
        assert server.stored(result.file.id).read_bytes() == path.read_bytes()
    assert result.md5 == hashlib.md5(path.read_bytes()).hexdigest()
    assert LONGEST_LEAD / 2 < max(ahead) <= LONGEST_LEAD + 8 * BLOCK


async def test_where_hashing_fails_those_who_wait_for_it_are_let_go(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_slowly(monkeypatch, failing_at=4 * MIB)
    async with LocalServer() as server, Client("k", base_url=server.url) as client, asyncio.timeout(10):
        with pytest.raises(Exception, match="the disk fails"):
            await AsyncUploader(client, journal="memory").upload(path, purpose="batch")


async def test_whoever_waits_for_hashing_can_be_cancelled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hash_slowly(monkeypatch)
    seen: list[Progress] = []
    async with LocalServer() as server, Client("k", base_url=server.url) as client:
        uploader = AsyncUploader(client, journal="memory")
        uploading = asyncio.ensure_future(uploader.upload(path, purpose="batch", on_progress=seen.append))
        await until(lambda: seen and seen[-1].bytes_in_flight + seen[-1].bytes_done > LONGEST_LEAD)
        uploading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(uploading, 1)


def test_sending_does_not_wait_for_hashing_that_others_share() -> None:
    lead = lead_over(Digest(SIZE))
    lead.meter.sent(LONGEST_LEAD + 1)
    alone = lead.too_long
    lead.hashers.busy = 2
    assert (alone, lead.too_long) == (True, False)
