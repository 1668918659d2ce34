"""What an answer means: the model that was asked for, or the error that it tells of (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from asyncsdk.errors import (
    STATUS_ERRORS,
    APIResponseValidationError,
    APIStatusError,
    InternalServerError,
    QuotaExceededError,
)
from asyncsdk.models import InvalidModelError, from_json

T = TypeVar("T")

_LONGEST_QUOTE = 500
_QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_ADVICE = {
    401: "Check the key, and that it belongs to this server.",
    403: "This key may not do that; repeating won't help.",
    404: "Gone or expired, or made with a key of another project; or the base URL lacks a path such as /v1.",
}


def read_answer(model: type[T], status: int, headers: Mapping[str, str], body: bytes, *, request: str) -> T:
    """Read a successful answer. Raises APIResponseValidationError when it is not what the API promises."""
    try:
        return from_json(model, json.loads(body))
    except (ValueError, InvalidModelError) as error:
        raise APIResponseValidationError(
            f"{request}: the answer ({status}, {headers.get('content-type', 'no type')}) could not be read: {error}. "
            f"It begins: {_quote(body)!r}. Is this the API's own address, or a page of something before it?",
            request=request,
            status_code=status,
            body=_quote(body),
            request_id=headers.get("x-request-id"),
        ) from error


def status_error(status: int, headers: Mapping[str, str], body: bytes, *, request: str) -> APIStatusError:
    """The error that an answer with `status` stands for, whatever its body is: JSON, HTML, text or nothing."""
    whole = _decoded(body)
    inner = whole.get("error", whole) if isinstance(whole, dict) else whole
    told: Mapping[str, Any] = inner if isinstance(inner, dict) else {}
    code = _text(told.get("code"))
    said = _text(told.get("message")) or (_quote(body) if not told else "")
    request_id = headers.get("x-request-id")
    parts = [f"{request}: {status}", f" {code}" if code else "", f": {said}" if said else ""]
    parts += [f" {_ADVICE[status]}" if status in _ADVICE else "", f" (request {request_id})" if request_id else ""]
    return _error_class(status, code, _text(told.get("type")))(
        "".join(parts),
        status_code=status,
        request=request,
        type=_text(told.get("type")),
        code=code,
        param=_text(told.get("param")),
        request_id=request_id,
        body=inner,
        headers=headers,
    )


def _error_class(status: int, code: str | None, kind: str | None) -> type[APIStatusError]:
    if status in {402, 403, 429} and _QUOTA_CODES & {code, kind}:
        return QuotaExceededError
    return STATUS_ERRORS.get(status, InternalServerError if status >= 500 else APIStatusError)


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _quote(body: bytes) -> str:
    return body[:_LONGEST_QUOTE].decode("utf-8", "replace").strip()


def _text(value: object) -> str | None:
    return None if value is None else str(value)
