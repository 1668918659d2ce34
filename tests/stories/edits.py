"""Words that the stories of many edits share: jobs, what comes of them, and a server's answers byte for byte."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asyncsdk import EditOutcome, ImageEdit, ImageEditor
from asyncsdk.images.bulk.outcomes import Outcomes
from asyncsdk.images.sending import Event
from tests.raw_server import answering, client_of, reply
from tests.stories.pictures import png

MODEL = "gpt-image-2"
PICTURE = png()
TOKENS = 7
BUSY = reply(429, {"error": {"message": "too fast", "code": "rate_limit_exceeded"}}, {"retry-after-ms": "1"})
LOST = reply(504, "a gateway's page")


def done(pictures: int = 1) -> bytes:
    """The answer to an edit that went well."""
    item = {"b64_json": base64.b64encode(PICTURE).decode()}
    return reply(200, {"created": 1, "data": [item] * pictures, "usage": {"total_tokens": TOKENS}})


def jobs(count: int, **fields: object) -> list[ImageEdit]:
    return [
        ImageEdit(image=PICTURE, prompt=f"beret {number}", model=MODEL, **fields)  # type: ignore[arg-type]  # passed on
        for number in range(1, count + 1)
    ]


async def all_of(outcomes: Outcomes) -> list[EditOutcome]:
    return [outcome async for outcome in outcomes]


async def take(events: AsyncIterator[Event], found: list[Event]) -> None:
    """Put what comes into `found`, so that what came before an error is there."""
    async for event in events:
        found.append(event)  # noqa: PERF401 - a comprehension would lose what came before the error


async def until(outcomes: Outcomes, error: type[Exception], match: str | None = None) -> list[EditOutcome]:
    """What comes before the run ends with `error`."""
    found: list[EditOutcome] = []

    async def collect() -> None:
        async for outcome in outcomes:
            found.append(outcome)  # noqa: PERF401 - a comprehension would lose what came before the error

    with pytest.raises(error, match=match):
        await collect()
    return found


async def again(out: Path) -> dict[str, int]:
    """What the same call of six edits comes to at a server that answers."""
    async with (
        answering(done()) as server,
        client_of(server) as client,
        ImageEditor(client).edit_many(jobs(6), out=out) as outcomes,
    ):
        await all_of(outcomes)
        return outcomes.counts
