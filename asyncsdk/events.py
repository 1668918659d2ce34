"""What `on_event` gets to see: one frozen event for each attempt at a request, for metrics and tracing."""

from __future__ import annotations

from attrs import frozen


@frozen(kw_only=True)
class RequestEvent:
    """One attempt. `route` is a template (`/uploads/{upload_id}/parts`), so that it makes a good metric label.

    `status` is None where no answer came, and `error` then names why; `wait` is how long the client sleeps
    before it tries again, None when it does not. Seconds are floats, `bytes_sent` is the body's size.
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
