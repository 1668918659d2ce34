"""How an edit of a batch ended, by its line in the output or error file; and by having none (pure).

::

    its line                                         was it paid?             the edit
    ───────────────────────────────────────────────  ───────────────────────  ─────────────────────────────
    2xx with a picture that can be used              paid                     done
    2xx without one, or what can't be read           maybe paid               uncertain
    {"error": …} in a 2xx                            as the status it names
    400, 413, 415, 422 in the API's words            unpaid                   refused
    any other 4xx, but for 408 and 409               unpaid                   failed
    408, 409                                         maybe paid               uncertain
    429, 5xx, no response                            assumed unpaid           failed, and sent again
    any of these with a usage                        paid                     uncertain
    none, and the batch is completed                 maybe paid               uncertain
    none, and the batch expired, or was cancelled    unpaid                   failed, and sent again

It is `billing` that decides about errors, as for edits that are sent directly; what differs is that a batch sends each
request once, so that a 429 or 5xx is its end, and nothing is lost on the way from the API to its own file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from asyncsdk.errors import APIError, APIStatusError, EditError
from asyncsdk.http.decode import error_in_success, is_error, status_error
from asyncsdk.images.batch.output import OutputLine, StreamedPicture
from asyncsdk.images.billing import MAYBE_PAID, charge_unknown, status_of
from asyncsdk.images.outcome import Status
from asyncsdk.models import ImagesResponse, Usage, from_odd_json
from asyncsdk.safe_json import cut_json, json_value

REQUEST = "POST /images/edits in a batch"
_AGAIN = "Nothing was paid for it. The same call sends it again."
_NOT_REACHED = frozenset({"batch_expired", "batch_cancelled"})
_QUOTED = 200  # characters


@frozen(kw_only=True)
class LineVerdict:
    """How an edit of a batch ended.

    Attributes:
        custom_id: As it is in the line; None where that can't be read.
        status: As for an edit that was sent directly.
        pictures: Those that can be used, in the order of the response.
        response: The settings and the usage of its response, without pictures.
        usage: What it cost, where that is known.
        error: Why it is not done.
        code: The server's code for that, where it has no response.
        broken: Why some of its pictures can't be used: of an edit that is done, there are fewer than were requested.
        is_worth_keeping: Whether the line itself should be kept: it may be paid, and is not whole in `pictures`.
    """

    custom_id: str | None
    status: Status
    pictures: tuple[StreamedPicture, ...] = ()
    response: ImagesResponse | None = None
    usage: Usage | None = None
    error: Exception | None = None
    code: str | None = None
    broken: tuple[str, ...] = ()
    is_worth_keeping: bool = False


def verdict_of(line: OutputLine, problems: Mapping[str, str] | None = None) -> LineVerdict:
    """How the edit of this line ended.

    Args:
        line: A line of an output or error file.
        problems: Why a picture that was decoded is not one, by its mark.
    """
    value = _object_in(line)
    custom_id = value.get("custom_id")
    custom_id = custom_id if isinstance(custom_id, str) else None
    response, error = value.get("response"), value.get("error")
    if isinstance(response, Mapping):
        return _of_response(custom_id, response, line, problems or {})
    if isinstance(error, Mapping | str) and error:
        return _unanswered(custom_id, error)
    return _lost(custom_id, f"line {line.number} has neither a response nor an error{_why(line)}")


def verdict_of_none(status: str | None) -> LineVerdict:
    """How an edit ended that is in neither file of a batch that ended with this status; None: it can't be found."""
    if status in {"expired", "cancelled"}:
        return _failed(None, f"the batch {_ENDED[status]} before this edit was done. {_AGAIN}")
    what = "the batch can't be found any more" if status is None else f"the batch is {status}, and has no line for it"
    return LineVerdict(custom_id=None, status="uncertain", error=charge_unknown(EditError(what)))


_ENDED = {"expired": "expired", "cancelled": "was cancelled"}


def _of_response(
    custom_id: str | None, response: Mapping[str, Any], line: OutputLine, problems: Mapping[str, str]
) -> LineVerdict:
    body, status = response.get("body"), _status(response.get("status_code"))
    fields: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    headers = {"x-request-id": request_id} if isinstance(request_id := response.get("request_id"), str) else {}
    content = json.dumps(body).encode()
    usage = _usage(fields)
    if status is not None and status >= 400:
        return _refused(custom_id, status_error(status, headers, content, request=REQUEST), usage)
    if is_error(fields) and not line.pictures:
        return _refused(custom_id, error_in_success(fields, status or 200, headers, content, request=REQUEST), usage)
    settings = {name: value for name, value in fields.items() if name != "data"}
    read = from_odd_json(ImagesResponse, {**settings, "data": [], "request_id": headers.get("x-request-id")})
    usable, broken = _judged(line, problems)
    if not usable:
        why = f" ({'; '.join(broken)})" if broken else ""
        error = (
            f"the response has no picture{why}{_why(line)}, and begins: {content[:_QUOTED].decode('utf-8', 'replace')}"
        )
        lost = _lost(custom_id, error, request_id=headers.get("x-request-id"))
        return LineVerdict(
            custom_id=custom_id, status="uncertain", usage=usage, error=lost.error, broken=broken, is_worth_keeping=True
        )
    return LineVerdict(
        custom_id=custom_id,
        status="done",
        pictures=usable,
        response=read,
        usage=usage,
        broken=broken,
        is_worth_keeping=bool(broken),
    )


def _judged(line: OutputLine, problems: Mapping[str, str]) -> tuple[tuple[StreamedPicture, ...], tuple[str, ...]]:
    reasons = [picture.problem or problems.get(picture.mark) for picture in line.pictures]
    usable = tuple(picture for picture, reason in zip(line.pictures, reasons, strict=True) if reason is None)
    return usable, tuple(dict.fromkeys(reason for reason in reasons if reason is not None))


def _refused(custom_id: str | None, error: APIStatusError, usage: Usage | None) -> LineVerdict:
    if usage is not None and usage.total_tokens:
        return _lost(custom_id, f"{error}\n  It cost {usage.total_tokens} tokens", error, usage=usage)
    if error.status_code in {408, 409}:
        return _lost(custom_id, f"{error}\n  {MAYBE_PAID}", error)
    return LineVerdict(custom_id=custom_id, status=status_of(error), error=error)


def _unanswered(custom_id: str | None, error: Mapping[str, Any] | str) -> LineVerdict:
    code, message = (error.get("code"), error.get("message")) if isinstance(error, Mapping) else (None, error)
    if code in _NOT_REACHED:
        return _failed(custom_id, f"{message or code} {_AGAIN}", code)
    return _failed(custom_id, f"the request has no response: {message or code or 'no reason is given'}. {_AGAIN}", code)


def _failed(custom_id: str | None, text: str, code: object = None) -> LineVerdict:
    error = EditError(text)
    error.resumable = True
    return LineVerdict(custom_id=custom_id, status="failed", error=error, code=code if isinstance(code, str) else None)


def _lost(
    custom_id: str | None,
    text: str,
    why: APIError | None = None,
    *,
    usage: Usage | None = None,
    request_id: str | None = None,
) -> LineVerdict:
    """The verdict on an edit that is or may be paid, and of which there is no picture."""
    failure = charge_unknown(EditError(text) if why is None else why)
    failure.request_id = request_id or getattr(why, "request_id", None)
    failure.status_code = getattr(why, "status_code", None)
    return LineVerdict(custom_id=custom_id, status="uncertain", usage=usage, error=failure, is_worth_keeping=True)


def _object_in(line: OutputLine) -> Mapping[str, Any]:
    """The line as an object, or what of it is complete."""
    text = line.text.decode("utf-8", "replace")
    try:
        value = json_value(text)
    except ValueError:
        value = cut_json(text)
    return value if isinstance(value, Mapping) else {}


def _why(line: OutputLine) -> str:
    if line.problem is not None:
        return f": {line.problem}"
    return "" if line.is_ended else ", and is the last one, perhaps cut off"


def _status(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        value = int(value[:4])
    return value if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599 else None


def _usage(fields: Mapping[str, Any]) -> Usage | None:
    usage = fields.get("usage")
    return from_odd_json(Usage, usage) if isinstance(usage, Mapping) and usage else None
