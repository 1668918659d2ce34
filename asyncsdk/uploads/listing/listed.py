"""Pages of the list of files, of which only what matters is made a File: to make 10,000 takes 0.1 s of the loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Container, Mapping, Sequence
from contextlib import aclosing
from itertools import pairwise
from typing import Any, Literal

from attrs import evolve

from asyncsdk import api
from asyncsdk.api import Request
from asyncsdk.client import Client
from asyncsdk.errors import APIResponseValidationError
from asyncsdk.models import File, Page, from_json
from asyncsdk.paging import each_page
from asyncsdk.retry import Retry

PAGE_FILES = 10_000  # the most that the API lists at once

Listed = Mapping[str, Any]  # a file of a page, as decoded JSON


async def file_pages(
    client: Client,
    retry: Retry,
    *,
    purpose: str,
    order: Literal["asc", "desc"],
    after: str | None = None,
    limit: int | None = None,
) -> AsyncGenerator[Sequence[Listed], None]:
    """Yield the pages of the files of one purpose, from the one that follows the file `after` on. Raises APIError."""
    request = api.list_files(purpose=purpose, limit=limit or PAGE_FILES, order=order, after=after)
    plain: Request[Page[Any]] = evolve(request, response_model=Page[Any])
    async with aclosing(each_page(client.send, plain, retry=retry)) as pages:
        async for page in pages:
            if not all(isinstance(item, Mapping) for item in page.data):
                raise _unreadable("contains what is not an object")
            yield page.data


def file_of(item: Listed) -> File:
    """The File that is listed. Raises APIResponseValidationError where it can't be read."""
    try:
        return from_json(File, item)
    except ValueError as error:
        raise _unreadable(f"contains a file that could not be read: {error}") from error


def born(item: Listed) -> float | None:
    """When it was made, in unix seconds, where that is known."""
    made = item.get("created_at")
    return made if isinstance(made, int | float) else None


def may_be_since(item: Listed, oldest: float) -> bool:
    """Whether it may have been made at `oldest` or later."""
    made = born(item)
    return made is None or made >= oldest


def may_have(item: Listed, sizes: Container[int]) -> bool:
    """Whether it may have one of these sizes in bytes."""
    size = item.get("bytes")
    return not isinstance(size, int) or size in sizes


def is_newest_first(page: Sequence[Listed]) -> bool:
    """Whether a page shows that its list begins with the newest, and goes on with older ones only."""
    times = [made for item in page if (made := born(item)) is not None]
    falls = len(times) == len(page) and all(one >= other for one, other in pairwise(times))
    return falls and bool(times) and times[0] > times[-1]


def _unreadable(what: str) -> APIResponseValidationError:
    return APIResponseValidationError(f"the list of files {what}.", request="GET /files")
