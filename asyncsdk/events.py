"""The values passed to callbacks: `on_event` gets a RequestEvent, `on_progress` a Progress (pure)."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


@frozen(kw_only=True)
class RequestEvent:
    """One attempt at a request, for metrics and tracing.

    Attributes:
        method: The HTTP method.
        route: The path as a template, such as `/uploads/{upload_id}/parts`, which makes a good metric label.
        attempt: The number of the attempt, from 1.
        seconds: How long it took.
        bytes_sent: How many bytes of the body were sent.
        status: The HTTP status; None where no response came.
        request_id: The server's name for the request.
        error: The class of the error that ended it, such as "APITimeoutError".
        wait: How many seconds the client sleeps before the next attempt; None if there is none.
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


class UploadPhase(StrEnum):
    """What an upload is doing."""

    WAITING = "waiting"  # another process has it
    CHECKING = "checking"  # is it there already?
    SENDING = "sending"
    RETRYING = "retrying"  # waiting for the network or the server
    COMPLETING = "completing"
    COMPLETED = "completed"


@frozen(kw_only=True)
class Progress:
    """One moment of one upload.

    Attributes:
        state: What it is doing.
        source: What is uploaded.
        bytes_total: Its size.
        bytes_done: How many bytes the journal holds.
        bytes_resumed: How many of these an earlier run sent.
        bytes_in_flight: How many bytes are sent and not yet confirmed.
        bytes_sent: How many bytes this run sent, retries included.
        bytes_hashed: How many bytes are hashed.
        parts_in_flight: How many parts are being sent.
        rate: Bytes a second.
        eta: How many seconds are left; None while unknown.
        upload_id: The server's id of the upload.
        expires_at: When the server drops the upload, in unix seconds of its clock.
        note: For people: why it waits, why it started again.
    """

    state: UploadPhase
    source: str
    bytes_total: int
    bytes_done: int = 0
    bytes_resumed: int = 0
    bytes_in_flight: int = 0
    bytes_sent: int = 0
    bytes_hashed: int = 0
    parts_in_flight: int = 0
    rate: float = 0.0
    eta: float | None = None
    upload_id: str | None = None
    expires_at: int | None = None
    note: str = ""
