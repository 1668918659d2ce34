"""Decodes a response: status and body to the requested model or an error (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from asyncsdk.api.request import AT_URL
from asyncsdk.error_details import LONGEST_TEXT, shortened
from asyncsdk.errors import (
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    ModerationBlockedError,
    NotFoundError,
    NotTheAPIError,
    PayloadTooLargeError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    UnprocessableEntityError,
)
from asyncsdk.models import File, FileDeleted, Upload, UploadPart, from_json
from asyncsdk.redaction import NO_SECRETS, Redactor, text_of
from asyncsdk.retry import exceeds_limit
from asyncsdk.safe_json import MOST_MEMBERS, MOST_OF_A_PAGE, json_value

T = TypeVar("T")

OBJECTS = frozenset[Any]({File, FileDeleted, Upload, UploadPart})  # a few hundred bytes each

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
    404: "It is gone, expired, or belongs to another project.",
}
_FILES_QUOTA = re.compile(r"quota for files|(maximum|too many) (number of )?files", re.IGNORECASE)
_FILES_QUOTA_ADVICE = (
    "Azure keeps 500 files without an expiry, and 10,000 with one. Delete files that are not needed "
    "(client.delete_files, asyncsdk files prune), or give them a life (expires_after=, --expires-after 30d)."
)
_AT_URL_ADVICE = "It is gone or expired: such a URL lives 60 minutes."

# The status that an error in a success should have had: by its code, else by its type. A number from 400 to 599 is the
# status itself. Any other word is a 500: the request may have been done, and paid.
_STATUS_BY_WORD = {
    "image_generation_user_error": 400,
    "invalid_request_error": 400,
    "moderation_blocked": 400,
    "content_policy_violation": 400,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "insufficient_permissions": 403,
    "model_not_found": 404,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 429,
    "billing_hard_limit_reached": 429,
    "billing_not_active": 429,
}
_STATUS = re.compile(r"[45][0-9]{2}")
_STREAM_FIELDS = (b"data:", b"event:", b"id:", b"retry:")
_LONGEST_PLAIN_TEXT = 1000  # bytes; an image as bare base64 is longer

_NO_SUCH_ROUTE = "Invalid URL"  # OpenAI; code 404 is Azure without /openai, "detail" FastAPI, not JSON a page
_MISROUTED = re.compile(r"Invalid URL \([A-Z]+ (/\S*)\)\.?\s*(\S?)")  # the path, and whether more words follow
_WRONG_PATH = "Is the path of the base URL right? It ends with /v1."
_NO_UPLOADS = (
    "Is the base URL right? Without an Uploads API there is the way by one request: method='files' (--method files)."
)
_NO_API = "Does the base URL lack a path, such as /v1 (OpenAI) or /openai/v1 (Azure)?"


def read_response(
    model: type[T],
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    request: str,
    redactor: Redactor = NO_SECRETS,
) -> T:
    """Read a successful response, unchanged for `bytes`. That to an edit is read by `edit_response.Messages`.

    `redactor` removes the request's secrets from the result.

    Raises APIStatusError where it is an error object in a success, NotTheAPIError where it is a page, and
    APIResponseValidationError where it is not what the API promises in another way.
    """
    if model is bytes:
        return cast("T", body)
    text = text_of(body)
    try:
        data = json_value(text, most=MOST_MEMBERS if model in OBJECTS else MOST_OF_A_PAGE)
        if not is_error(data):
            return from_json(model, redactor.clean_answer(data) if redactor.may_be_in(text) else data)
    except ValueError as error:
        shown = _shown(redactor, text)
        raise not_readable(status, headers, shown, f"could not be read: {error}", request=request) from error
    raise error_in_success(data, status, headers, _shown(redactor, text), request=request)


def not_readable(
    status: int, headers: Mapping[str, str], body: bytes, why: str, *, request: str
) -> APIResponseValidationError:
    """The error for a success that is not what the API promises: NotTheAPIError where it is a page or plain text."""
    begins = _quote(body.decode("utf-8", "replace"))
    response = f"the response ({status}, {_kind(headers)})"
    is_page = is_foreign(body)
    return (NotTheAPIError if is_page else APIResponseValidationError)(
        f"{request}: {response} {'is not from the API' if is_page else why}. It begins: {begins!r}.",
        request=request,
        status_code=status,
        body=begins,
        request_id=headers.get("x-request-id"),
    )


def is_foreign(body: bytes) -> bool:
    """Whether a success is a page or a plain text, which no endpoint of the API returns.

    An empty body, cut JSON, a stream's events, an SVG and other images are not: they may be what was paid.
    """
    begin = body[:_LONGEST_PLAIN_TEXT].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if begin.startswith(b"<"):
        return not begin.startswith((b"<svg", b"<?xml"))
    is_short_text = len(body) <= _LONGEST_PLAIN_TEXT and begin[:1].isalpha()
    return is_short_text and not begin.startswith(_STREAM_FIELDS) and not _is_json(body)


def is_error(data: object) -> bool:
    """Whether decoded JSON is an error in place of the requested object, with nothing of that beside it."""
    if not isinstance(data, Mapping) or data.get("id") or data.get("data"):
        return False
    return bool(data.get("error")) or data.get("type") == "error"


def error_in_success(
    data: Mapping[str, Any], status: int, headers: Mapping[str, str], body: bytes, *, request: str
) -> APIStatusError:
    """The error that `data`, decoded from the `body` of a success, is: some gateways send their status too early."""
    error = data.get("error")
    status_of_error = status_meant(error if isinstance(error, Mapping) else data)
    return status_error(status_of_error, headers, body, request=request, came_with=status)


def status_meant(error: Mapping[str, Any]) -> int:
    """The status that an error object should have had: by its code, else by its type, else 500."""
    code = str(error.get("code"))
    if _STATUS.fullmatch(code):
        return int(code)
    return next((_STATUS_BY_WORD[word] for word in (code, str(error.get("type"))) if word in _STATUS_BY_WORD), 500)


def is_own(body: object) -> bool:
    """Whether the `body` of an APIStatusError is from the API itself, not from a gateway before it."""
    return isinstance(body, Mapping) and isinstance(body.get("message"), str) and "type" in body


def is_no_endpoint(error: Exception) -> bool:
    """Whether there is no such endpoint at this URL; an object that does not exist is another 404."""
    if not isinstance(error, APIStatusError) or error.status_code not in {404, 405}:
        return False
    return error.status_code == 405 or _is_no_route(error.body)


def status_error(
    status: int, headers: Mapping[str, str], body: bytes, *, request: str, came_with: int | None = None
) -> APIStatusError:
    """The error for a response with `status`, whatever its body is: JSON, HTML, text or nothing.

    `came_with` is the status that the response really had, where that was a success.
    """
    text = body.decode("utf-8", "replace")
    inner = _error_object(text)
    fields: Mapping[str, Any] = inner if isinstance(inner, dict) else {}
    kind, code, param = (_name(fields.get(name)) for name in ("type", "code", "param"))
    message = _text(fields.get("message")) or _quote(inner if isinstance(inner, str) else text)
    request_id = _name(headers.get("x-request-id"))
    advice = _advice(status, inner, request)
    error = _error_class(status, code, kind)(
        _worded(
            f"{request}: {status}{'' if came_with is None else f' (in a response with status {came_with})'}",
            None if code == str(status) else code,
            message,
            advice,
            request_id,
        ),
        status_code=status,
        request=request,
        type=kind,
        code=code,
        param=param,
        request_id=request_id,
        body=inner if len(text) <= LONGEST_TEXT else _abridged(fields, text),
        headers=headers,
    )
    error.resumable = (error.resumable or status == 408) and not (status == 429 and exceeds_limit(error.message))
    if isinstance(error, ModerationBlockedError):
        _set_moderation(error, fields.get("moderation_details"))
    return error


def _shown(redactor: Redactor, text: str) -> bytes:
    return redactor.clean(text).encode("utf-8", "replace")


def _advice(status: int, inner: object, request: str) -> str:
    if request == AT_URL:  # where neither the key nor the base URL matters
        return _AT_URL_ADVICE if status in {401, 403, 404, 410} else ""
    message = inner.get("message") if isinstance(inner, Mapping) else None
    may_be_quota = status in {400, 403, 409, 429} and request.startswith(("POST /files", "POST /uploads"))
    if may_be_quota and isinstance(message, str) and _FILES_QUOTA.search(message):
        return _FILES_QUOTA_ADVICE
    if status == 404 and _is_no_route(inner):
        return _about_base_url(inner)
    return _NO_UPLOADS if (status, request) == (404, "POST /uploads") else _ADVICE.get(status, "")


def _about_base_url(inner: object) -> str:
    """What to ask about the base URL; nothing where the server itself says what is wrong with the URL."""
    message = inner.get("message") if isinstance(inner, Mapping) else None
    misrouted = _MISROUTED.match(message) if isinstance(message, str) else None
    if misrouted is None:
        return _NO_API
    path, more = misrouted.groups()
    if more:
        return ""
    return _WRONG_PATH if path.startswith(("/v1/", "/openai/v1/")) else _NO_API


def _is_no_route(inner: object) -> bool:
    if not isinstance(inner, Mapping):
        return True
    is_named = str(inner.get("code")) == "404" or inner.get("detail") == "Not Found"
    return is_named or str(inner.get("message")).startswith(_NO_SUCH_ROUTE)


def _worded(what: str, code: str | None, message: str, advice: str, request_id: str | None) -> str:
    text = f"{what}{f' {code}' if code else ''}{f': {message}' if message else ''}"
    if advice:
        text += f"{'' if text.endswith(('.', '!', '?')) else '.'} {advice}"
    is_named = request_id is None or request_id in message  # the safety system's messages contain it
    return text if is_named else f"{text} (request {request_id})"


def _kind(headers: Mapping[str, str]) -> str:
    kind, coding = headers.get("content-type", "no type"), headers.get("content-encoding")
    return f"{kind}, {coding}" if coding else kind


def _set_moderation(error: ModerationBlockedError, details: object) -> None:
    if isinstance(details, Mapping):
        error.stage = _name(details.get("moderation_stage"))
        categories = details.get("categories")
        names = categories[:_MOST_CATEGORIES] if isinstance(categories, list) else []
        error.categories = tuple(shortened(str(name), _LONGEST_NAME) for name in names)


def _error_class(status: int, code: str | None, kind: str | None) -> type[APIStatusError]:
    if status < 500 and _QUOTA_CODES & {code, kind}:  # seen with 400, 403 and 429
        return QuotaExceededError
    if code == "moderation_blocked" and status < 500:
        return ModerationBlockedError
    return STATUS_ERRORS.get(status, InternalServerError if status >= 500 else APIStatusError)


def _error_object(text: str) -> Any:
    try:
        whole = json_value(text)
    except ValueError:
        return text
    return whole.get("error") or whole if isinstance(whole, dict) else whole


def _is_json(body: bytes) -> bool:
    try:
        json_value(text_of(body))
    except ValueError:
        return False
    return True


def _quote(text: str) -> str:
    return " ".join(text[:_LONGEST_QUOTE].split())


def _abridged(fields: Mapping[str, Any], text: str) -> object:
    """What an error keeps of a body that is longer than an error's texts."""
    texts = {name: _text(fields[name]) for name in ("message", "type", "code", "param") if name in fields}
    return texts or shortened(text)


def _text(value: object) -> str | None:
    return None if value is None else shortened(str(value), _LONGEST_MESSAGE)


def _name(value: object) -> str | None:
    return None if value is None else shortened(str(value), _LONGEST_NAME)
