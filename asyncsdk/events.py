"""The values passed to callbacks: `on_event` gets a RequestEvent, `on_progress` a Progress (pure)."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


@frozen(kw_only=True)
class RequestEvent:
    """One attempt. `route` is a template (`/uploads/{upload_id}/parts`), so that it makes a good metric label.

    `status` is None where no response came, and `error` then names why; `wait` is how long the client sleeps
    before the next attempt, None if there is none. Seconds are floats, `bytes_sent` is the body's size.
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
    """One moment of one upload. Sizes are bytes, times unix seconds of the server, `rate` bytes a second.

    `bytes_done` counts what is in the journal, `bytes_resumed` what of it earlier runs sent, `bytes_sent`
    what went over the line in this run, retries included; `bytes_in_flight` may still be lost.
    `eta` is in seconds, None while unknown. `note` is for people: why it waits, why it began afresh.
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
