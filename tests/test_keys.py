"""`CachedKey`: fetched when it is needed, by one at a time; an old key is used to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import anyio
import pytest
from attrs import define, field

from asyncsdk import CachedKey, ConfigurationError
from tests.pacing.test_pace_turns import hurried

LIFE = 100.0


@define
class Issuer:
    """Gives k1, k2, … with a life of LIFE; `trouble` is what the next fetches do instead, one after the other."""

    now: float = 0.0
    given: int = 0
    trouble: list[Callable[[], object]] = field(factory=list)

    async def fetch(self) -> tuple[str, float]:
        await asyncio.sleep(0)
        if self.trouble:
            await self.trouble.pop(0)()  # type: ignore[misc]  # an async function
        self.given += 1
        return f"k{self.given}", LIFE

    def key(self) -> CachedKey:
        return CachedKey(self.fetch, timeout=0.05, clock=lambda: self.now)


def in_no_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """On a clock that runs only while all wait: only a fetch that hangs takes too long, on any machine."""

    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        hurried(lambda _: test(*arguments, **named))

    return run


async def hang() -> None:
    await anyio.sleep_forever()


async def fail() -> None:
    raise OSError("no such host")


async def test_many_that_wait_share_one_fetch() -> None:
    issuer = Issuer()
    key = issuer.key()
    assert await asyncio.gather(*(key() for _ in range(50))) == ["k1"] * 50
    assert issuer.given == 1


async def test_it_is_fetched_again_when_four_fifths_of_its_life_are_over() -> None:
    issuer = Issuer()
    key = issuer.key()
    for now, expected in [(0, "k1"), (79, "k1"), (81, "k2"), (160, "k2"), (162, "k3")]:
        issuer.now = now
        assert await key() == expected


async def test_one_without_a_life_is_kept_until_it_is_refused() -> None:
    keys = iter(["a", "b"])

    async def fetch() -> str:
        return next(keys)

    key = CachedKey(fetch, clock=lambda: 1e12)
    assert [await key(), await key()] == ["a", "a"]
    key.refused("another")
    assert await key() == "a"
    key.refused("a")
    assert await key() == "b"


@pytest.mark.parametrize("trouble", [hang, fail])
@in_no_time
async def test_where_that_fails_the_old_one_is_used_to_its_end(trouble: Callable[[], object]) -> None:
    issuer = Issuer()
    key = issuer.key()
    await key()
    issuer.now, issuer.trouble = 85, [trouble]
    assert await key() == "k1"
    assert not issuer.trouble
    issuer.now = 94
    assert await key() == "k1"  # not asked again so soon
    issuer.now, issuer.trouble = 101, [trouble]
    with pytest.raises((TimeoutError, OSError)):
        await key()
    assert await key() == "k2"


@in_no_time
async def test_one_that_waits_and_is_cancelled_leaves_the_turn_to_the_next() -> None:
    issuer = Issuer(trouble=[hang])
    key = CachedKey(issuer.fetch, timeout=60)
    first, second = asyncio.create_task(key()), asyncio.create_task(key())
    await asyncio.sleep(0.01)
    first.cancel()
    assert await second == "k1"


async def test_what_is_no_key_is_not_kept() -> None:
    keys = iter(["two\nlines", "good"])

    async def fetch() -> str:
        return next(keys)

    key = CachedKey(fetch)
    with pytest.raises(ConfigurationError, match="line break"):
        await key()
    assert await key() == "good"


def test_it_serves_one_event_loop_after_the_other() -> None:
    key = Issuer().key()
    assert [asyncio.run(key()) for _ in range(2)] == ["k1", "k1"]
    key.refused("k1")
    assert asyncio.run(key()) == "k2"


async def test_no_repr_shows_a_key() -> None:
    key = Issuer().key()
    assert await key() not in repr(key)


@pytest.mark.parametrize("trouble", [hang, fail])
@in_no_time
async def test_a_fetch_that_fails_fails_for_all_that_wait_for_it(trouble: Callable[[], object]) -> None:
    issuer = Issuer(trouble=[trouble, trouble])
    key = issuer.key()
    ended = await asyncio.gather(*(key() for _ in range(50)), return_exceptions=True)
    assert all(isinstance(each, OSError | TimeoutError) for each in ended)
    assert len(issuer.trouble) == 1
    with pytest.raises((OSError, TimeoutError)):
        await key()
    assert not issuer.trouble
    assert await key() == "k1"


async def test_a_life_that_is_text_is_understood() -> None:
    tokens = iter([("a", "100"), ("b", "100")])
    now = [0.0]

    async def fetch() -> Any:
        return next(tokens)

    key = CachedKey(fetch, clock=lambda: now[0])
    assert await key() == "a"
    now[0] = 81
    assert await key() == "b"
