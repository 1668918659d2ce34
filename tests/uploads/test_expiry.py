"""An upload that surely won't be done in time is given up early; one that may be is let go on."""

from __future__ import annotations

import asyncio
import time

import pytest
from attrs import evolve

from asyncsdk.clock import Clock
from asyncsdk.errors import UploadExpiredError, UploadTooSlowError
from asyncsdk.events import Progress
from asyncsdk.timing import Timing
from asyncsdk.uploads.parts.deadline import seconds_short, typed_rate, watch_deadline
from asyncsdk.uploads.parts.session import Session
from asyncsdk.uploads.progress import Meter
from tests.waiting import until

MB, GB = 10**6, 10**9
WATCHED_CLOSELY = Timing(deadline_check=0.01)


@pytest.mark.parametrize(
    ("left", "rate", "seconds_left", "sending_for", "needed"),
    [
        # 5 GB at 1 MB/s need 5000 s
        (5 * GB, 1 * MB, 3570, 30, 5000),
        (5 * GB, 1 * MB, 3571, 29, None),  # too early to say
        (5 * GB, 1 * MB, 3000, 600, 5000),
        # a fifth more than there is may still do
        (1200 * MB, 1 * MB, 1000, 600, None),
        (1201 * MB, 1 * MB, 1000, 600, 1201),
        # little time was left at the start: half of it is enough to judge
        (100 * MB, 1 * MB, 11, 9, None),
        (100 * MB, 1 * MB, 10, 10, 100),
        # no rate, no judgement
        (5 * GB, 0, 3000, 600, None),
        # nothing to send any more: complete may take as long as it takes
        (0, 1 * MB, 1, 600, None),
        (0, 1 * MB, -1, 600, None),
        (-1, 1 * MB, 1, 600, None),
        # over: now the server says so itself
        (5 * GB, 1 * MB, 0, 600, None),
        (5 * GB, 1 * MB, -5, 600, None),
    ],
)
def test_the_time_that_is_short(
    left: int, rate: float, seconds_left: float, sending_for: float, needed: float | None
) -> None:
    found = seconds_short(left=left, rate=rate, seconds_left=seconds_left, sending_for=sending_for)
    assert found == (None if needed is None else pytest.approx(needed))


@pytest.fixture
def meter() -> Meter:
    """100 MB to send on a line that has never done more than 1 MB/s."""
    meter = Meter("data.bin", 100 * MB)
    meter.shared.rate.best = 1.0 * MB
    return meter


async def mind(
    meter: Meter, *, life: float, watched_for: float, moving: bool = True, timing: Timing = WATCHED_CLOSELY
) -> None:
    """Watch `meter` for a while; the server forgets the upload in `life` seconds."""
    clock, began = Clock(elapsed=lambda: time.monotonic() - began), time.monotonic()
    clock.anchor(0)
    session = Session("upload_1", 0, life, recalled=False)  # type: ignore[arg-type]  # finer than whole seconds
    mover = asyncio.create_task(keep_moving(meter, moving=moving))
    try:
        async with asyncio.timeout(watched_for):
            await watch_deadline(session, meter, clock, timing)
    finally:
        mover.cancel()


async def keep_moving(meter: Meter, *, moving: bool) -> None:
    while moving:
        meter.shared.moved += 1
        await asyncio.sleep(0.005)


async def test_who_is_too_slow_is_told_by_how_much_once_half_of_the_time_is_over(meter: Meter) -> None:
    began = time.monotonic()
    with pytest.raises(UploadTooSlowError, match=r"at 1\.0 MB/s data\.bin needs 100 s more.*in 1 s") as caught:
        await mind(meter, life=1.0, watched_for=5)
    assert time.monotonic() - began >= 0.5
    assert caught.value.upload_id == "upload_1"
    assert "Nothing was completed" in str(caught.value)


@pytest.mark.parametrize(
    ("rate", "typed"), [(1, "1kB/s"), (60_001, "61kB/s"), (999_000, "999kB/s"), (999_001, "1MB/s"), (1.21e6, "1.3MB/s")]
)
def test_a_rate_to_type_is_not_less_than_what_is_needed(rate: float, typed: str) -> None:
    assert typed_rate(rate) == typed


async def test_bytes_on_their_way_are_not_counted_as_left(meter: Meter) -> None:
    meter.bytes_moved(100 * MB)
    with pytest.raises(TimeoutError):
        await mind(meter, life=0.3, watched_for=0.25)


async def test_a_line_that_has_become_faster_than_ever_is_judged_by_that(meter: Meter) -> None:
    meter.shared.rate.best = 1.0
    meter.shared.rate.add(time.monotonic() - 1, 0)
    meter.shared.moved = 100 * GB  # within the last second
    with pytest.raises(TimeoutError):
        await mind(meter, life=0.5, watched_for=0.3)


async def test_the_listener_hears_that_nothing_moves(meter: Meter) -> None:
    heard: list[Progress] = []
    meter.listener = heard.append
    minding = asyncio.create_task(mind(meter, life=3600, watched_for=20))
    await until(lambda: len(heard) >= 3)
    minding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await minding
    assert heard[-1].rate == 0.0


async def test_a_line_that_is_down_is_not_taken_for_a_slow_one(meter: Meter) -> None:
    with pytest.raises(TimeoutError):
        await mind(meter, life=0.4, watched_for=0.35, moving=False)


async def test_uploads_that_share_a_line_are_judged_by_all_of_it(meter: Meter) -> None:
    neighbour = Meter("other.bin", 100 * GB, shared=meter.shared)
    meter.shared.rate.best = 0.0
    meter.shared.rate.add(time.monotonic() - 1, 0)
    neighbour.bytes_moved(100 * GB)
    with pytest.raises(TimeoutError):
        await mind(meter, life=0.5, watched_for=0.3)


async def test_what_still_hangs_long_after_its_hour_is_ended(meter: Meter) -> None:
    with pytest.raises(UploadExpiredError):
        await mind(meter, life=0.05, watched_for=5, moving=False, timing=evolve(WATCHED_CLOSELY, expiry_grace=0.05))


async def test_an_upload_is_not_called_too_slow_while_more_connections_are_still_tried(meter: Meter) -> None:
    meter.shared.settled = False
    with pytest.raises(TimeoutError):
        await mind(meter, life=0.6, watched_for=0.5)
