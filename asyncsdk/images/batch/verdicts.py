"""How an edit of a batch ended, by its line in the output or error file; and by having none (pure).

::

    its line                                         was it paid?             the edit
    ───────────────────────────────────────────────  ───────────────────────  ─────────────────────────────
    a picture that can be used, and no error         paid                     done
    2xx without one, or what can't be read           maybe paid               uncertain
    {"error": …} in a 2xx                            as the status it names
    400, 413, 415, 422 in the API's words            unpaid                   refused
    any other 4xx, but for 408 and 409               unpaid                   failed
    408, 409                                         maybe paid               uncertain
    429, 5xx, no response                            assumed unpaid           failed, and sent again
    any of these with a usage                        paid                     uncertain
    none, and the batch is completed                 maybe paid               uncertain
    none, and the batch expired, or was cancelled    unpaid                   failed, and sent again
    none, and a file or the batch is gone            maybe paid               uncertain

It is `billing` that decides about errors, as for edits that are sent directly; what differs is that a batch sends each
request once, so that a 429 or 5xx is its end, and nothing is lost on the way from the API to its own file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from asyncsdk.errors import APIError, APIStatusError, ChargeUnknownError, EditError
from asyncsdk.http.decode import error_in_success, is_error, status_error
from asyncsdk.images.batch.output import OutputLine, StreamedPicture
from asyncsdk.images.billing import MAYBE_PAID, status_of
from asyncsdk.images.outcome import Status
from asyncsdk.models import ImagesResponse, Usage, from_odd_json
from asyncsdk.redaction import NO_SECRETS, Redactor
from asyncsdk.safe_json import cut_json, json_value

REQUEST = "POST /images/edits in a batch"
MOST_ATTEMPTS = 3
_AGAIN = "Nothing was paid for it. The same call sends it again."
_PAID = "It cost {} tokens: sending it again would be paid again. Look at the account's usage page."
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


def verdict_of(
    line: OutputLine, problems: Mapping[str, str] | None = None, *, redactor: Redactor = NO_SECRETS
) -> LineVerdict:
    """How the edit of this line ended.

    Args:
        line: A line of an output or error file.
        problems: Why a picture that was decoded is not one, by its mark.
        redactor: Removes the client's secrets from what a server may have echoed.
    """
    value = _object_in(line, redactor)
    custom_id = value.get("custom_id")
    custom_id = custom_id if isinstance(custom_id, str) else None
    response, error = value.get("response"), value.get("error")
    if isinstance(response, Mapping):
        return _of_response(custom_id, response, line, problems or {})
    if isinstance(error, Mapping | str) and error:
        return _unanswered(custom_id, error)
    return _lost(custom_id, f"line {line.number} has neither a response nor an error{_why(line)}")


def verdict_of_none(status: str | None, *, are_files_read: bool = True) -> LineVerdict:
    """How an edit ended that has no line.

    Args:
        status: That of its batch at its end; None where the batch can't be found any more.
        are_files_read: Whether all its files were read to their ends. Without them nobody knows what was done.
    """
    if status in _ENDED and are_files_read:
        return _failed(None, f"the batch {_ENDED[status]} before this edit was done. {_AGAIN}")
    if status is None:
        what = "the batch can't be found any more"
    elif not are_files_read:
        what = f"the batch is {status}, and a file with its results can't be had any more"
    else:
        what = f"the batch is {status}, and has no line for it"
    return evolve(_lost(None, what), is_worth_keeping=False)


def goes_again(verdict: LineVerdict, attempt: int) -> bool:
    """Whether a later run sends the edit again by itself; `attempt` counts those in batches from 1, with this one."""
    return verdict.status == "failed" and attempt < MOST_ATTEMPTS


_ENDED: dict[str | None, str] = {"expired": "expired", "cancelled": "was cancelled"}


def _of_response(
    custom_id: str | None, response: Mapping[str, Any], line: OutputLine, problems: Mapping[str, str]
) -> LineVerdict:
    body, status, request_id = response.get("body"), _status(response.get("status_code")), response.get("request_id")
    fields: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    content, usage = json.dumps(body).encode(), _usage(fields)
    usable, broken = _judged(line, problems)
    if usable and not is_error(fields):  # whatever its status is, what is there was paid
        settings = {name: value for name, value in fields.items() if name != "data"}
        return LineVerdict(
            custom_id=custom_id,
            status="done",
            pictures=usable,
            response=from_odd_json(ImagesResponse, {**settings, "data": [], "request_id": request_id}),
            usage=usage,
            broken=broken,
            is_worth_keeping=bool(broken),
        )
    headers = {"x-request-id": request_id} if isinstance(request_id, str) else {}
    if status is not None and status >= 400:
        return _refused(custom_id, status_error(status, headers, content, request=REQUEST), usage)
    if is_error(fields) and not line.pictures:
        return _refused(custom_id, error_in_success(fields, status or 200, headers, content, request=REQUEST), usage)
    why = f" ({'; '.join(broken)})" if broken else ""
    begins = content[:_QUOTED].decode("utf-8", "replace")
    text = f"the response has no picture{why}{_why(line)}, and begins: {begins}"
    return _lost(custom_id, text, usage=usage, request_id=headers.get("x-request-id"), broken=broken)


def _judged(line: OutputLine, problems: Mapping[str, str]) -> tuple[tuple[StreamedPicture, ...], tuple[str, ...]]:
    reasons = [picture.problem or problems.get(picture.mark) for picture in line.pictures]
    usable = tuple(picture for picture, reason in zip(line.pictures, reasons, strict=True) if reason is None)
    return usable, tuple(dict.fromkeys(reason for reason in reasons if reason is not None))


def _refused(custom_id: str | None, error: APIStatusError, usage: Usage | None) -> LineVerdict:
    is_paid = usage is not None and usage.total_tokens
    if is_paid or error.status_code in {408, 409}:
        return _lost(custom_id, str(error), why=error, usage=usage, request_id=error.request_id)
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
    *,
    why: APIError | None = None,
    usage: Usage | None = None,
    request_id: str | None = None,
    broken: tuple[str, ...] = (),
) -> LineVerdict:
    """The verdict on an edit that is or may be paid, and of which there is no picture."""
    tokens = 0 if usage is None else usage.total_tokens
    failure = ChargeUnknownError(f"{text}\n  {_PAID.format(tokens) if tokens else MAYBE_PAID}")
    failure.__cause__ = why
    failure.request_id, failure.status_code = request_id, getattr(why, "status_code", None)
    return LineVerdict(
        custom_id=custom_id, status="uncertain", usage=usage, error=failure, broken=broken, is_worth_keeping=True
    )


def _object_in(line: OutputLine, redactor: Redactor) -> Mapping[str, Any]:
    """The line as an object, or what of it is complete."""
    text = line.text.decode("utf-8", "replace")
    try:
        value = json_value(text)
    except ValueError:
        value = cut_json(text)
    if redactor.may_be_in(text):
        value = redactor.clean_answer(value)
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
