"""The values passed to callbacks: `on_event` gets a RequestEvent, `on_progress` a Progress (pure)."""

from __future__ import annotations

from enum import StrEnum

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
