"""The endpoints of batches: create, retrieve, list, cancel (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from asyncsdk.api.request import Request, fields_set
from asyncsdk.batches import Batch
from asyncsdk.models import Page

_KnownEndpoint = Literal[
    "/v1/responses",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/videos",
]
BatchEndpoint = _KnownEndpoint | str
"""The endpoint of a batch's requests."""
CompletionWindow = Literal["24h"] | str  # noqa: PYI051 - for editors
"""How long a batch may take."""


def create_batch(
    *,
    input_file_id: str,
    endpoint: BatchEndpoint,
    completion_window: CompletionWindow = "24h",
    metadata: Mapping[str, str] | None = None,
    output_expires_after: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Request[Batch]:
    """POST /batches: the requests in a file, done within a day for half the price.

    The API has no way to tell whether a batch whose response was lost was made, and a second one would be paid too. So
    it is sent again only after a failure in which surely nothing was done; after any other, look in `list_batches` for
    the batch with this `input_file_id` first.

    Args:
        input_file_id: A file of purpose "batch": at most 50,000 lines and 200 MB, of one model.
        endpoint: The endpoint of all its requests, the same as their `url`.
        completion_window: How long it may take.
        metadata: At most 16 pairs; keys of at most 64 characters, values of at most 512.
        output_expires_after: `{"anchor": "created_at", "seconds": 3600..2592000}`, for the files with its results.
        extra: More fields of the body.
    """
    fields = {
        "input_file_id": input_file_id,
        "endpoint": endpoint,
        "completion_window": completion_window,
        "metadata": None if metadata is None else dict(metadata),
        "output_expires_after": output_expires_after,
    }
    return Request(
        method="POST", route="/batches", response_model=Batch, json=fields_set(fields, extra), repeatable=False
    )


def retrieve_batch(batch_id: str) -> Request[Batch]:
    """GET /batches/{batch_id}: a request for the Batch, with its current status.

    Args:
        batch_id: Such as `batch_abc123`.
    """
    ids = {"batch_id": batch_id}
    return Request(method="GET", route="/batches/{batch_id}", response_model=Batch, ids=ids, response_id=batch_id)


def list_batches(
    *, limit: int | None = None, after: str | None = None, extra: Mapping[str, str] | None = None
) -> Request[Page[Batch]]:
    """GET /batches, the newest first: one page, for `Client.send`; or all of them, for `Client.pages`.

    Args:
        limit: How many batches a page has, 1 to 100; the server's default is 20.
        after: The id of the batch before the first.
        extra: More query parameters.
    """
    query = fields_set({"limit": limit, "after": after}, extra)
    return Request(
        method="GET",
        route="/batches",
        response_model=Page[Batch],
        query={name: str(value) for name, value in query.items()},
    )


def cancel_batch(batch_id: str) -> Request[Batch]:
    """POST /batches/{batch_id}/cancel: a request for the Batch, cancelling; what was done by then is in its files.

    Args:
        batch_id: Such as `batch_abc123`.
    """
    ids = {"batch_id": batch_id}
    return Request(
        method="POST", route="/batches/{batch_id}/cancel", response_model=Batch, ids=ids, response_id=batch_id
    )
