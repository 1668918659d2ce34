"""With the limits as they are: how soon a stall and a missing answer are noticed; that a slow line is left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from asyncsdk import APITimeoutError, api
from asyncsdk.http.body import ChunksBody
from tests.faults.table import Row
from tests.raw_server import PART, Talk, client_of, reply, serving

SLOW, SLOW_SECONDS = 20 * 1024, 90.0
STALL_AT_MOST, ANSWER = 35.0, 120.0


async def deaf(talk: Talk) -> None:
    """Takes the head and not one byte more."""
    await talk.hear_head()
    await asyncio.Event().wait()


async def mute(talk: Talk) -> None:
    """Takes all and answers nothing."""
    await talk.hear()
    await asyncio.Event().wait()


async def slow(talk: Talk) -> None:
    """Reads 20 KiB a second."""
    head = await talk.hear_head()
    left = int(head.headers["content-length"])
    while left:
        left -= len(await talk.reader.read(min(left, SLOW // 4)))
        await asyncio.sleep(0.25)
    await talk.say(reply(200, PART))


async def dripping(talk: Talk) -> None:
    """Reads a byte a second: nothing that would ever end, and nothing that TCP would tell of."""
    await talk.hear_head()
    while await talk.reader.read(1):
        await asyncio.sleep(1)


async def seconds_until_given_up(handle: Callable[[Talk], Awaitable[None]], size: int) -> float:
    """How long one attempt at a part of `size` bytes lasts."""
    async with serving(handle, buffer=1 << 16) as server, client_of(server, max_retries=0) as client:
        began = time.monotonic()
        try:
            await client.send(
                api.add_upload_part("u", data=lambda: ChunksBody([bytes(size)], "application/octet-stream"))
            )
        except APITimeoutError:
            return time.monotonic() - began
    return 0.0


async def seconds_of_a_slow_part() -> float:
    """How long a part takes that goes at 20 KiB a second; it must get through at the first attempt."""
    size = int(SLOW * SLOW_SECONDS)
    async with serving(slow, buffer=8192) as server, client_of(server, max_retries=0) as client:
        began = time.monotonic()
        await client.send(api.add_upload_part("u", data=lambda: ChunksBody([bytes(size)], "application/octet-stream")))
        return time.monotonic() - began


async def have_patience() -> Row:
    """All at once, with the limits as they are by default."""
    row = Row("patience", cases=4)
    stalled, dripped, unanswered, passed = await asyncio.gather(
        seconds_until_given_up(deaf, 16 << 20),
        seconds_until_given_up(dripping, 16 << 20),
        seconds_until_given_up(mute, 1 << 20),
        seconds_of_a_slow_part(),
    )
    row.figures = {
        "stall noticed after": f"{stalled:.1f} s",
        "a byte a second given up after": f"{dripped:.1f} s",
        "no answer after": f"{unanswered:.1f} s",
        "20 KiB/s passed in": f"{passed:.0f} s",
    }
    row.must(0 < stalled <= STALL_AT_MOST, f"a stall was noticed after {stalled:.1f} s")
    row.must(0 < dripped <= STALL_AT_MOST, f"a byte a second was given up after {dripped:.1f} s")
    row.must(ANSWER <= unanswered <= ANSWER + 5, f"a missing answer was given up after {unanswered:.1f} s")
    row.must(passed > SLOW_SECONDS / 2, f"the slow part was not slow: {passed:.1f} s")
    return row
