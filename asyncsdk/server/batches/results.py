"""The lines of the files that a batch ends with: responses, failures, and requests that it did not come to."""

from __future__ import annotations

import json
from typing import Any, Literal

from attrs import frozen

from asyncsdk.server.ids import new_batch_request_id

Reason = Literal["batch_expired", "batch_cancelled", "request_timeout"]

_REASONS: dict[str, str] = {
    "batch_expired": "This request could not be executed before the completion window expired.",
    "batch_cancelled": "This batch was cancelled before this request was executed.",
    "request_timeout": "The request timed out.",
}


@frozen
class LineResult:
    """How a request of a batch ended: the text of its line, whether that is for the output, and what it cost."""

    text: bytes
    succeeded: bool
    usage: dict[str, Any] | None = None


def responded(
    custom_id: str, status: int, request_id: str, body: Any, usage: dict[str, Any] | None = None
) -> LineResult:
    """The line of a request that has a response, of whatever status; `usage` is what it cost."""
    response = {"status_code": status, "request_id": request_id, "body": body}
    return LineResult(_line(custom_id, response, None), status < 400, usage)


def not_executed(custom_id: str, reason: Reason, usage: dict[str, Any] | None = None) -> LineResult:
    """The line of a request without a response."""
    return LineResult(
        _line(custom_id, None, {"code": reason, "message": _REASONS[reason]}), succeeded=False, usage=usage
    )


def _line(custom_id: str, response: dict[str, Any] | None, error: dict[str, Any] | None) -> bytes:
    line = {"id": new_batch_request_id(), "custom_id": custom_id, "response": response, "error": error}
    return json.dumps(line).encode() + b"\n"
