"""Goes through the pages of a list by its `after` cursor: the one place that knows where a list ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from asyncsdk.api import Request
from asyncsdk.errors import APIResponseValidationError
from asyncsdk.models import Page

T = TypeVar("T")


async def each_page(
    send: Callable[..., Awaitable[Page[T]]],
    request: Request[Page[T]],
    *,
    query: Mapping[str, str] | None = None,
    **options: Any,
) -> AsyncGenerator[Page[T], None]:
    """Yield the pages of a list. `send` is `Client.send`, with its `options`; `request` asks for the first page.

    Raises:
        APIError: A page did not come.
        APIResponseValidationError: The list leads back to a page that came before: it has no end.
    """
    query = dict(query or {})
    cursors: set[str] = set()
    while True:
        page = await send(request, query=query, **options)
        yield page
        last = page.last_id or (_id_of(page.data[-1]) if page.data else None)
        if page.has_more is False or not page.data or last in (None, query.get("after")):
            return
        if last in cursors:
            raise APIResponseValidationError(
                f"{request.name}: the list has no end: after {last} comes a page that came before. Nothing "
                "was changed by reading it. Report it to the operator of the server or gateway.",
                request=request.name,
            )
        cursors.add(last)
        query["after"] = last


def _id_of(item: object) -> str | None:
    """That of a model, or of what is not read as one."""
    found = item.get("id") if isinstance(item, Mapping) else getattr(item, "id", None)
    return found if isinstance(found, str) else None
