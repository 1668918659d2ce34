"""How far sending may be ahead of hashing."""

from __future__ import annotations

import asyncio

import pytest

from asyncsdk.threads import Threads
from asyncsdk.uploads.digest import Digest
from asyncsdk.uploads.lead import LONGEST_LEAD, Lead
from asyncsdk.uploads.plan import MIB
from asyncsdk.uploads.progress import Meter
from asyncsdk.uploads.readable import BytesSource
from tests.raw_server import answering
from tests.uploads.part_helpers import TAKEN, line_to

SIZE = LONGEST_LEAD + 8 * MIB


def lead_over(digest: Digest) -> Lead:
    return Lead(Meter("a", digest.size), digest)


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
