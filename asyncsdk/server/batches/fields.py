"""Reads and checks the requests for batches: the body of create, the query of the list, and pages of it (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from asyncsdk.server.batches.objects import StoredBatch
from asyncsdk.server.errors import bad_request, invalid, mistyped, too_long
from asyncsdk.server.fields import Fields, integer, refuse_unknown, take_expires_after, take_text

ENDPOINT = "/v1/images/edits"
WINDOW = "24h"
PAGE, LARGEST_PAGE = 20, 100
_MOST_PAIRS, _LONGEST_KEY, _LONGEST_VALUE = 16, 64, 512


@frozen
class BatchQuery:
    """The query of a list of batches."""

    limit: int
    after: str | None


def read_new_batch(fields: Fields, *, batch_id: str, came_at: float, window: int) -> StoredBatch:
    """Read the body of POST /batches; `window` is how many seconds the batch has. Raises ApiError."""
    batch = StoredBatch(
        id=batch_id,
        came_at=came_at,
        expires_at=int(came_at) + window,
        input_file_id=take_text(fields, "input_file_id"),
        endpoint=_endpoint(take_text(fields, "endpoint")),
        completion_window=_completion_window(take_text(fields, "completion_window")),
        metadata=_metadata(fields.pop("metadata", None)),
        output_seconds=take_expires_after(fields, "output_expires_after"),
    )
    refuse_unknown(fields)
    return batch


def read_batch_query(query: Mapping[str, str]) -> BatchQuery:
    """Read the query of GET /batches; unknown names are ignored. Raises ApiError."""
    limit = integer("limit", query.get("limit", str(PAGE)))
    if not 1 <= limit <= LARGEST_PAGE:
        raise invalid("limit", f"{limit} is not between 1 and {LARGEST_PAGE}")
    return BatchQuery(limit, query.get("after"))


def batch_page(batches: Sequence[StoredBatch], query: BatchQuery) -> dict[str, Any]:
    """A page of `batches`, which are the newest first. Raises ApiError on a bad cursor."""
    ids = [batch.id for batch in batches]
    if query.after is not None and query.after not in ids:
        raise invalid("after", f"there is no batch '{query.after}'")
    start = 0 if query.after is None else ids.index(query.after) + 1
    page = batches[start : start + query.limit]
    return {
        "object": "list",
        "data": [batch.to_json() for batch in page],
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
        "has_more": start + query.limit < len(batches),
    }


def _endpoint(endpoint: str) -> str:
    if endpoint != ENDPOINT:
        raise invalid("endpoint", f"'{endpoint}' is not served in batches here, only '{ENDPOINT}'")
    return endpoint


def _completion_window(window: str) -> str:
    if window != WINDOW:
        raise invalid("completion_window", f"'{window}' is not one of ['{WINDOW}']")
    return window


def _metadata(metadata: Any) -> dict[str, str] | None:
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise mistyped("metadata", "an object", metadata)
    if len(metadata) > _MOST_PAIRS:
        message = (
            f"Invalid 'metadata': too many properties. Expected an object with at most {_MOST_PAIRS} properties, but "
            f"got an object with {len(metadata)} properties instead."
        )
        raise bad_request(message, "metadata", "object_above_max_properties")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise mistyped(f"metadata.{key}", "a string", value)
        if len(key) > _LONGEST_KEY:
            raise too_long("metadata", _LONGEST_KEY, len(key))
        if len(value) > _LONGEST_VALUE:
            raise too_long(f"metadata.{key}", _LONGEST_VALUE, len(value))
    return dict(metadata)
