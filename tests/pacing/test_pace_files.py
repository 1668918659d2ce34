"""POST /files under the shared limiter: at a given rate nothing is refused, and a learned one is learned at once."""

from __future__ import annotations

import pytest

from asyncsdk import Client, RateLimitError, api, tasks
from asyncsdk.limiter import RateLimiter
from asyncsdk.ratelimit import FILE_REQUESTS, MARGIN
from asyncsdk.server import LocalServer

PER_MINUTE, FILES, CALLERS = 300, 16, 8  # what any machine sends faster, if nobody holds it


async def sent_by(client: Client, limiter: RateLimiter) -> int:
    """Send all files, those that are refused again; return how often that was."""
    refused, left = 0, iter(range(FILES))

    async def caller() -> None:
        nonlocal refused
        for number in left:
            while True:
                permit = await limiter.acquire(1)
                try:
                    await client.send(
                        api.create_file(file=b"x", filename=f"{number}.txt", purpose="user_data"), max_retries=0
                    )
                except RateLimitError as error:
                    limiter.refused(error, permit)
                    refused += 1
                else:
                    limiter.accepted(permit)
                    break

    async with tasks.group() as group:
        for _ in range(CALLERS):
            group.start_soon(caller)
    return refused


@pytest.mark.parametrize(("rate", "most_refused"), [(PER_MINUTE, 0), (None, 2 * CALLERS)], ids=["given", "learned"])
async def test_no_file_fails_and_few_are_refused(rate: int | None, most_refused: int) -> None:
    limiter = RateLimiter(FILE_REQUESTS, rate)
    async with LocalServer(files_per_minute=PER_MINUTE) as server, Client("sk-test", base_url=server.url) as client:
        assert await sent_by(client, limiter) <= most_refused
        assert sorted(file.filename for file in server.files) == sorted(f"{number}.txt" for number in range(FILES))
        assert limiter.rate == pytest.approx(PER_MINUTE * MARGIN, rel=0.05)
