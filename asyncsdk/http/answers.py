"""What an answer means: the model that was asked for, or the error that it tells of (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import evolve

from asyncsdk.decoding import Pictures, with_pictures
from asyncsdk.errors import (
    LONGEST_TEXT,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    ModerationBlockedError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    UnprocessableEntityError,
    shortened,
)
from asyncsdk.models import ImagesResponse, from_json

T = TypeVar("T")

STATUS_ERRORS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: PayloadTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}

_LONGEST_QUOTE = 500
_LONGEST_NAME, _MOST_CATEGORIES = 256, 64
_LONGEST_MESSAGE = LONGEST_TEXT - 4 * _LONGEST_NAME  # leaves room for what is around it in an error's text
_QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_ADVICE = {
    401: "Check the key, and that it belongs to this server.",
    403: "This key may not do that; repeating won't help.",
    404: "Gone or expired, or made with a key of another project.",
}

_NO_SUCH_ROUTE = "Invalid URL"  # OpenAI; code 404 is Azure without /openai, no JSON a page before the API
_NO_API = "Does the base URL lack a path, such as /v1 (OpenAI) or /openai/v1 (Azure)?"


def read_answer(
    model: type[T],
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    request: str,
    pictures: Pictures | None = None,
) -> T:
    """Read a successful answer, as it is for `bytes`. `pictures` are those that were cut out of `body`.

    Raises APIResponseValidationError when it is not what the API promises.
    """
    if model is bytes:
        return cast("T", body)
    try:
        if model is not ImagesResponse:
            return from_json(model, json.loads(body))
        answer = from_json(ImagesResponse, with_pictures(json.loads(body), pictures or {}))
        return cast("T", evolve(answer, request_id=headers.get("x-request-id")))
    except (ValueError, RecursionError) as error:
        begins = _quote(body.decode("utf-8", "replace"))
        raise APIResponseValidationError(
            f"{request}: the answer ({status}, {headers.get('content-type', 'no type')}) could not be read: {error}. "
            f"It begins: {begins!r}. Is this the API's own address, or a page of something before it?",
            request=request,
            status_code=status,
            body=begins,
            request_id=headers.get("x-request-id"),
        ) from error


def status_error(status: int, headers: Mapping[str, str], body: bytes, *, request: str) -> APIStatusError:
    """The error that an answer with `status` stands for, whatever its body is: JSON, HTML, text or nothing."""
    text = body.decode("utf-8", "replace")
    inner = _told(text)
    told: Mapping[str, Any] = inner if isinstance(inner, dict) else {}
    kind, code, param = (_name(told.get(field)) for field in ("type", "code", "param"))
    said = _text(told.get("message")) or _quote(inner if isinstance(inner, str) else text)
    request_id = _name(headers.get("x-request-id"))
    stranger = status == 404 and (not told or code == "404" or said.startswith(_NO_SUCH_ROUTE))
    advice = _NO_API if stranger else _ADVICE.get(status, "")
    error = _error_class(status, code, kind)(
        _worded(f"{request}: {status}", code, said, advice, request_id),
        status_code=status,
        request=request,
        type=kind,
        code=code,
        param=param,
        request_id=request_id,
        body=inner if len(text) <= LONGEST_TEXT else _abridged(told, text),
        headers=headers,
    )
    error.resumable = error.resumable or status == 408
    if isinstance(error, ModerationBlockedError):
        _tell_why(error, told.get("moderation_details"))
    return error


def _worded(what: str, code: str | None, said: str, advice: str, request_id: str | None) -> str:
    text = f"{what}{f' {code}' if code else ''}{f': {said}' if said else ''}"
    if advice:
        text += f"{'' if text.endswith(('.', '!', '?')) else '.'} {advice}"
    is_named = request_id is None or request_id in said  # the safety system's words name it
    return text if is_named else f"{text} (request {request_id})"


def _tell_why(error: ModerationBlockedError, details: object) -> None:
    if isinstance(details, Mapping):
        error.stage = _name(details.get("moderation_stage"))
        categories = details.get("categories")
        found = categories[:_MOST_CATEGORIES] if isinstance(categories, list) else []
        error.categories = tuple(shortened(str(category), _LONGEST_NAME) for category in found)


def _error_class(status: int, code: str | None, kind: str | None) -> type[APIStatusError]:
    if status < 500 and _QUOTA_CODES & {code, kind}:  # seen with 400, 403 and 429
        return QuotaExceededError
    if code == "moderation_blocked" and status < 500:
        return ModerationBlockedError
    return STATUS_ERRORS.get(status, InternalServerError if status >= 500 else APIStatusError)


def _told(text: str) -> Any:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return whole.get("error") or whole if isinstance(whole, dict) else whole


def _quote(text: str) -> str:
    return " ".join(text[:_LONGEST_QUOTE].split())


def _abridged(told: Mapping[str, Any], text: str) -> object:
    """What an error keeps of a body that is longer than an error's texts."""
    texts = {name: _text(told[name]) for name in ("message", "type", "code", "param") if name in told}
    return texts or shortened(text)


def _text(value: object) -> str | None:
    return None if value is None else shortened(str(value), _LONGEST_MESSAGE)


def _name(value: object) -> str | None:
    return None if value is None else shortened(str(value), _LONGEST_NAME)
