"""The event passed to `on_event` after each attempt at a request, for metrics and tracing (pure)."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class RequestEvent:
    """One attempt at a request.

    Args:
        method: Of HTTP.
        route: A template (`/uploads/{upload_id}/parts`), so that it is a good metric label.
        attempt: 1 for the first.
        seconds: How long the attempt took.
        bytes_sent: Bytes of the body that were written.
        status: Of the response; None where none came.
        request_id: `x-request-id` of the response.
        error: The class name of the error that it ended with.
        wait: Seconds until the next attempt; None where there is none.
    """

    method: str
    route: str
    attempt: int
    seconds: float
    bytes_sent: int
    status: int | None = None
    request_id: str | None = None
    error: str | None = None
    wait: float | None = None
