"""Fetching images that the server keeps behind a URL, for as long as the result of an edit is where its client is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from asyncsdk.errors import APIConnectionError

Fetch = Callable[[str], Awaitable[bytes]]


async def without_a_client(url: str) -> bytes:  # noqa: ARG001 - a Fetch
    """Raise APIConnectionError: a result that came out of a pickle has no client."""
    raise APIConnectionError(
        "GET the image's URL: this result came from another process, or out of a file, and has no client. Nothing was "
        "sent. Fetch it with Client.download_url(image.url) within 60 minutes of its creation.",
        request="GET the image's URL",
        sent=False,
    )


@frozen(eq=False)
class Fetching:
    """Fetches by `fetch`, a client's. Copies share it; a pickle leaves it behind."""

    fetch: Fetch

    async def __call__(self, url: str) -> bytes:
        """The image at `url`. Raises APIError."""
        return await self.fetch(url)

    def __deepcopy__(self, memo: object) -> Fetching:
        return self

    def __reduce__(self) -> tuple[type[Fetching], tuple[Fetch]]:
        return Fetching, (without_a_client,)
