"""How an edit of a batch ended, by its line in the output or error file; and by having none (pure).

::

    its line                                         was it paid?             the edit
    ───────────────────────────────────────────────  ───────────────────────  ─────────────────────────────
    a picture that can be used, and no error         paid                     done
    2xx without one, or what can't be read           maybe paid               uncertain
    {"error": …} in a 2xx                            as the status it names
    400, 413, 415, 422 in the API's words            unpaid                   refused
    the same about `model`                           unpaid                   failed
    any other 4xx, but for 408 and 409               unpaid                   failed
    408, 409                                         maybe paid               uncertain
    429, 5xx, no response                            assumed unpaid           failed, and sent again
    any of these with a usage, or with a picture     paid                     uncertain
    an error, in a line that is cut or not JSON      maybe paid               uncertain
    none, and the batch is completed or failed       maybe paid               uncertain
    none, and the batch expired, or was cancelled    unpaid                   failed, and sent again
    none, and a line, file or the batch is missing   maybe paid               uncertain

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
from asyncsdk.images.batch.requests import is_custom_id
from asyncsdk.images.billing import MAYBE_PAID, status_of
from asyncsdk.images.outcome import Status
from asyncsdk.models import ImagesResponse, Usage, from_odd_json
from asyncsdk.redaction import NO_SECRETS, Redactor
from asyncsdk.safe_json import cut_json, json_value

REQUEST = "POST /images/edits in a batch"
MOST_ATTEMPTS = 3
_AGAIN = "Nothing was paid for it, and it may be sent again."
_NO_RESPONSE = "It counts as unpaid, and may be sent again."
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
        is_whole: Whether all of the line could be read. Where it could not, others may be missing after it.
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
    is_whole: bool = True


def verdict_of(
    line: OutputLine, problems: Mapping[str, str] | None = None, *, redactor: Redactor = NO_SECRETS
) -> LineVerdict:
    """How the edit of this line ended.

    Args:
        line: A line of an output or error file.
        problems: Why a picture that was decoded is not one, by its mark.
        redactor: Removes the client's secrets from what a server may have echoed.
    """
    value, is_whole = _object_in(line)
    custom_id = _custom_id(value.get("custom_id"), redactor)
    response, error = value.get("response"), value.get("error")
    usage = _usage(value, redactor)
    if isinstance(response, Mapping):
        if error and not response.get("body") and (_status(response.get("status_code")) or 0) >= 400:
            response = {**response, "body": {"error": error}}  # some servers put the reason beside the response
        verdict = _of_response(custom_id, response, usage, _judged(line, problems or {}), redactor)
    elif isinstance(error, Mapping | str) and error:
        verdict = _unanswered(custom_id, error, usage, redactor)
    else:
        verdict = _lost(custom_id, f"line {line.number} has neither a response nor an error{_why(line)}")
    return verdict if is_whole else _of_cut_line(verdict, line)


def verdict_of_none(status: str | None, *, doubt: str = "") -> LineVerdict:
    """How an edit ended that has no line.

    Args:
        status: That of its batch at its end; None where the batch can't be found any more.
        doubt: Why the line may only be missing; empty where all files of the batch were read, and surely all of them.
    """
    if status in _ENDED and not doubt:
        return _failed(None, f"the batch {_ENDED[status]} before this edit was done. {_AGAIN}")
    what = "the batch can't be found any more" if status is None else f"the batch is {status}, and has no line for it"
    return evolve(_lost(None, f"{what}{doubt and f': {doubt}'}"), is_worth_keeping=False)


_ENDED: dict[str | None, str] = {"expired": "expired", "cancelled": "was cancelled"}


def _of_response(
    custom_id: str | None,
    response: Mapping[str, Any],
    usage: Usage | None,
    line: OutputLine,
    redactor: Redactor,
) -> LineVerdict:
    status, answer = _status(response.get("status_code")), redactor.clean_answer(dict(response))
    body, request_id = answer.get("body"), answer.get("request_id")
    fields: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    usable = tuple(picture for picture in line.pictures if picture.problem is None)
    broken = tuple(dict.fromkeys(picture.problem for picture in line.pictures if picture.problem is not None))
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
    content = redactor.clean(json.dumps(response.get("body"))).encode()
    headers = {"x-request-id": request_id} if isinstance(request_id, str) else {}
    if status is not None and status >= 400 and not line.pictures:
        return _refused(custom_id, status_error(status, headers, content, request=REQUEST), usage)
    if is_error(fields) and not line.pictures:
        return _refused(custom_id, error_in_success(fields, status or 200, headers, content, request=REQUEST), usage)
    why = f" ({'; '.join(broken)})" if broken else ""
    begins = content[:_QUOTED].decode("utf-8", "replace")
    text = f"the response has no picture that can be used{why}{_why(line)}, and begins: {begins}"
    return _lost(custom_id, text, usage=usage, request_id=headers.get("x-request-id"), broken=broken)


def _of_cut_line(verdict: LineVerdict, line: OutputLine) -> LineVerdict:
    """The verdict on what could be read of a line: a usage, or more pictures, may have followed."""
    why = f"line {line.number} can't be read to its end{_why(line)}"
    if verdict.status in {"failed", "refused"}:
        cause = verdict.error if isinstance(verdict.error, APIError) else None
        verdict = _lost(verdict.custom_id, f"{why}; it says: {verdict.error}", why=cause)
    return evolve(verdict, broken=verdict.broken or (why,), is_worth_keeping=True, is_whole=False)


def _judged(line: OutputLine, problems: Mapping[str, str]) -> OutputLine:
    """The line with the problems that were found once its pictures were decoded."""
    pictures = [evolve(one, problem=one.problem or problems.get(one.mark)) for one in line.pictures]
    return evolve(line, pictures=tuple(pictures))


def _refused(custom_id: str | None, error: APIStatusError, usage: Usage | None) -> LineVerdict:
    if _tokens(usage) or error.status_code in {408, 409}:
        return _lost(custom_id, str(error), why=error, usage=usage, request_id=error.request_id)
    return LineVerdict(custom_id=custom_id, status=status_of(error), error=error)


def _unanswered(
    custom_id: str | None, error: Mapping[str, Any] | str, usage: Usage | None, redactor: Redactor
) -> LineVerdict:
    parts = (error.get("code"), error.get("message")) if isinstance(error, Mapping) else (None, error)
    code, message = (None if each is None else redactor.clean(str(each)) for each in parts)
    if _tokens(usage):
        return _lost(custom_id, f"the request has no response: {message or code}", usage=usage)
    if code in _NOT_REACHED:
        return _failed(custom_id, f"{message or code} {_AGAIN}", code)
    why = message or code or "no reason is given"
    return _failed(custom_id, f"the request has no response: {why}. {_NO_RESPONSE}", code)


def _failed(custom_id: str | None, text: str, code: str | None = None) -> LineVerdict:
    error = EditError(text)
    error.resumable = True
    return LineVerdict(custom_id=custom_id, status="failed", error=error, code=code)


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
    tokens = _tokens(usage)
    failure = ChargeUnknownError(f"{text}\n  {_PAID.format(tokens) if tokens else MAYBE_PAID}")
    failure.__cause__ = why
    failure.request_id, failure.status_code = request_id, getattr(why, "status_code", None)
    return LineVerdict(
        custom_id=custom_id, status="uncertain", usage=usage, error=failure, broken=broken, is_worth_keeping=True
    )


def _object_in(line: OutputLine) -> tuple[Mapping[str, Any], bool]:
    """The line as an object, or what of it is complete; and whether that is all of it."""
    text = line.text.decode("utf-8", "replace")
    is_whole = line.problem is None
    try:
        value = json_value(text)
    except ValueError:
        value, is_whole = cut_json(text), False
    return (value, is_whole) if isinstance(value, Mapping) else ({}, False)


def _custom_id(value: object, redactor: Redactor) -> str | None:
    """As it is in the line; one that is not ours may show a secret."""
    if not isinstance(value, str):
        return None
    return value if is_custom_id(value) else redactor.clean(value)


def _why(line: OutputLine) -> str:
    if line.problem is not None:
        return f": {line.problem}"
    return "" if line.is_ended else ", and is the last one, perhaps cut off"


def _status(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        value = int(value[:4])
    return value if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599 else None


def _usage(value: Mapping[str, Any], redactor: Redactor) -> Usage | None:
    """What the line says that its edit cost: in the response, as it should be, or beside it."""
    places = [value]
    for name in ("response", "body", "error"):
        places += [inner for place in places if isinstance(inner := place.get(name), Mapping)]
    usages = [usage for place in reversed(places) if isinstance(usage := place.get("usage"), Mapping) and usage]
    found = [from_odd_json(Usage, redactor.clean_answer(dict(usage))) for usage in usages]
    return next((usage for usage in found if _tokens(usage)), found[0] if found else None)


def _tokens(usage: Usage | None) -> int:
    if usage is None:
        return 0
    if usage.total_tokens is not None:
        return usage.total_tokens
    return (usage.input_tokens or 0) + (usage.output_tokens or 0)
