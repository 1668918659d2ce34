"""What an error means for an edit: its status (failed, refused, uncertain), was it paid, may it be repeated (pure).

::

    what an edit ended with                      was it paid?            and the run
    ───────────────────────────────────────────  ──────────────────────  ─────────────────────────────
    no connection                                unpaid, tried again     ends if that stays so
    connection lost, timeout, cut response       maybe paid              goes on
    images that can't be used, or none           maybe paid              goes on
    a page with 200, no good response before     unpaid, failed          ends: the address is wrong
    a page with 200, the API responded before    maybe paid              goes on
    {"error": …} in a 200                        as with the status that it names: `decode.status_meant`
    303; 301, 302 on the same origin             maybe paid              ends
    any other redirect that is not followed      unpaid, failed          ends: the address is wrong
    400, 413, 415, 422 in the API's words        unpaid, refused         goes on
    the same about `model`                       unpaid, failed          goes on
    400, 413, 415, 422 of something before it    unpaid, failed          goes on
    401, 402, 403, quota, a model not there      unpaid, failed          ends
    404, 405: no such route, no paid one before  unpaid, failed          ends: the address is wrong
    404, 405 otherwise, and any other 4xx        unpaid, failed          goes on
    408, 409, 5xx                                maybe paid              goes on
    429, 503 that turn it away                   unpaid, tried again     goes on

"The API's words" is a JSON error object with `message` and `type`. What a proxy before the API refuses, such as
by its own limit, can be fixed there: it is sent by the next call. So is what names `model` as wrong: the account may
get access to it. Where one edit after another ends in the same refusal, the run ends, too: `bulk/refused_alike.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncsdk.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    AsyncSDKError,
    AuthenticationError,
    CertificateError,
    ChargeUnknownError,
    InvalidEditError,
    ModerationBlockedError,
    NotTheAPIError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    RedirectError,
    SaveError,
)
from asyncsdk.http.decode import is_own
from asyncsdk.images.outcome import Problem, Status
from asyncsdk.retry import exceeds_limit, is_renewable, is_unreachable, may_have_acted

ABANDONED = "the run ended while this edit was in flight"
MAYBE_PAID = (
    "The edit was sent, and no usable response came: it may have been paid, and sending it again may be paid twice. "
    "Look at the account's usage page; send it again only if that is worth it."
)
_SENT_ELSEWHERE = (
    "another run sent it, and it may be paid; the ledger here does not know it, so it can't tell. Nothing was sent now."
)
SENT_ELSEWHERE = Problem(type="ChargeUnknownError", message=_SENT_ELSEWHERE)
_STANDING_REFUSALS = frozenset({400, 413, 415, 422})


def is_safe_to_repeat(error: APIError) -> bool:
    """Whether surely nothing was done and a later attempt may pass: no connection, or turned away as too much."""
    if is_renewable(error):
        return True
    if isinstance(error, CertificateError | QuotaExceededError):
        return False
    if isinstance(error, APIConnectionError):
        return is_unreachable(error)
    if isinstance(error, RateLimitError):
        return not exceeds_limit(error.message)
    return isinstance(error, APIStatusError) and _is_turned_away(error)


def may_be_charged(error: APIError) -> bool:
    """Whether the server may have done the edit: the response is lost, late, garbled, a 408, 409 or 5xx, or a 303.

    No endpoint reports it afterwards, and OpenAI documents no key by which it would be made once.
    """
    return may_have_acted(error) and not (isinstance(error, APIStatusError) and _is_turned_away(error))


def is_fatal_for_run(error: Exception) -> bool:
    """Whether every other edit would fail the same way: a run that went on would send each picture for nothing."""
    if isinstance(error, ChargeUnknownError):
        return isinstance(error.__cause__, RedirectError)
    if isinstance(error, NotTheAPIError):
        return not error.may_have_acted
    if is_renewable(error):
        return False
    kinds = AuthenticationError | PermissionDeniedError | QuotaExceededError | CertificateError | RedirectError
    is_out_of_credit = getattr(error, "status_code", None) == 402
    return isinstance(error, kinds) or is_out_of_credit or getattr(error, "code", None) == "model_not_found"


def is_about_model(error: Exception) -> bool:
    """Whether the server refuses the model, to which the account may get access."""
    return isinstance(error, APIStatusError) and (error.param == "model" or error.code == "model_not_found")


def is_permanent_refusal(error: Exception) -> bool:
    """Whether the same edit would not be accepted later either."""
    if isinstance(error, InvalidEditError | ModerationBlockedError):
        return True
    if is_fatal_for_run(error) or is_about_model(error):  # no fault of the edit
        return False
    return isinstance(error, APIStatusError) and error.status_code in _STANDING_REFUSALS and is_own(error.body)


def status_of(error: Exception) -> Status:
    """The status of an edit that ended with `error`."""
    if isinstance(error, ChargeUnknownError | SaveError):
        return "uncertain"
    return "refused" if is_permanent_refusal(error) else "failed"


def problem_of(error: Exception) -> Problem:
    """`error` as it is recorded and shown."""
    return Problem(
        type=type(error).__name__,
        message=str(error),
        code=getattr(error, "code", None),
        status_code=getattr(error, "status_code", None),
        request_id=getattr(error, "request_id", None),
        retryable=isinstance(error, AsyncSDKError) and error.resumable and status_of(error) == "failed",
        moderation=_moderation(error),
        urls=getattr(error, "urls", ()),
        raw_files=getattr(error, "raw_files", ()),
    )


def charge_unknown(why: Exception) -> ChargeUnknownError:
    """The ChargeUnknownError of an edit that was sent and whose end is unknown because of `why`."""
    failure = ChargeUnknownError(f"{str(why) or repr(why)}: it may have been paid.")
    failure.__cause__ = why
    return failure


def _is_turned_away(error: APIStatusError) -> bool:
    """A 503 with a time to come back, or in the API's own words, is the front door; any other may be a proxy's."""
    return error.status_code == 503 and ("retry-after" in error.headers or is_own(error.body))


def _moderation(error: Exception) -> Mapping[str, Any] | None:
    if not isinstance(error, ModerationBlockedError):
        return None
    return {"stage": error.stage, "categories": list(error.categories)}
