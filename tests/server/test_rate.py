"""The limit on input images a minute: a client above it learns how long to wait."""

from __future__ import annotations

import asyncio
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.server.errors import ApiError
from asyncsdk.server.rate import TokenBucket
from tests.server.edits import edit, picture
from tests.server.support import running


def refusal(rate: TokenBucket, images: int, now: float) -> str | None:
    try:
        rate.take(images, "gpt-image-2", now)
    except ApiError as error:
        return error.message
    return None


def told_seconds(message: str) -> float:
    found = re.search(r"Please try again in ([\d.]+)(ms|s)\.", message)
    assert found is not None
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


def test_without_a_limit_everything_passes() -> None:
    assert [refusal(TokenBucket(), 1000, 0.0) for _ in range(3)] == [None] * 3


def test_a_burst_of_a_seconds_worth_passes_and_the_next_is_told_when_to_come() -> None:
    rate = TokenBucket(240)
    assert [refusal(rate, 1, 0.0) for _ in range(4)] == [None] * 4
    message = refusal(rate, 1, 0.01)
    assert message is not None
    assert message.startswith("Rate limit reached for gpt-image-2 ")
    assert "on input-images per min: Limit 240, Used 240, Requested 1. Please try again in 240ms." in message
    assert refusal(rate, 1, 0.25) is None


def test_what_is_above_the_whole_limit_never_passes_and_is_told_no_time() -> None:
    message = refusal(TokenBucket(5), 10, 0.0)
    assert message is not None
    assert "Limit 5, Requested 10." in message
    assert "try again" not in message


def test_a_large_request_passes_when_all_before_it_is_through() -> None:
    rate = TokenBucket(60)
    assert refusal(rate, 1, 0.0) is None
    message = refusal(rate, 10, 0.0)
    assert message is not None
    assert told_seconds(message) == 1.0
    assert refusal(rate, 10, 1.0) is None
    message = refusal(rate, 1, 1.0)
    assert message is not None
    assert told_seconds(message) == 10.0


@given(st.integers(1, 5000), st.lists(st.tuples(st.integers(1, 30), st.floats(0, 3)), min_size=1, max_size=60))
def test_no_more_passes_than_the_limit_and_the_told_time_is_true(limit: int, asked: list[tuple[int, float]]) -> None:
    rate, now, passed = TokenBucket(limit), 1000.0, 0
    for images, pause in asked:
        now += pause
        message = refusal(rate, images, now)
        if message is not None and images <= limit:
            assert int(re.findall(r"Used (\d+)", message)[0]) + images > limit
            now += told_seconds(message)
            assert refusal(rate, images, now) is None
        if images <= limit:
            passed += images
            largest = max(images for images, _ in asked if images <= limit)
            assert passed <= (now - 1000) * limit / 60 + max(largest, limit / 60) + 0.01


async def test_the_limit_counts_pictures_times_n_on_the_wire() -> None:
    async with running(images_per_minute=6) as (server, call):
        assert (await edit(call, picture(), picture(), n=3)).status == 200
        answer = await edit(call, picture())
        assert (answer.status, answer.error["type"]) == (429, "input-images")
        assert (answer.error["code"], answer.error["param"]) == ("rate_limit_exceeded", None)
        assert "Limit 6, " in answer.error["message"]
        assert not any(name.lower().startswith(("x-ratelimit", "retry-after")) for name in answer.headers)
        assert server.edits.edits == 1


async def test_who_waits_as_told_is_served() -> None:
    async with running(images_per_minute=120) as (_, call):
        answers = await asyncio.gather(*(edit(call, picture()) for _ in range(8)))
        refused = [answer for answer in answers if answer.status == 429]
        began, seconds = time.monotonic(), told_seconds(refused[-1].error["message"])
        assert seconds <= 0.5
        await asyncio.sleep(seconds)
        assert (await edit(call, picture())).status == 200
        assert time.monotonic() - began >= seconds


async def test_a_refused_form_uses_nothing_up() -> None:
    async with running(images_per_minute=5) as (_, call):
        assert (await edit(call, picture(), n=11)).status == 400
        assert (await edit(call, picture(), n=5)).status == 200


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_lets_nothing_pass(limit: int) -> None:
    assert refusal(TokenBucket(limit), 1, 0.0) is not None
