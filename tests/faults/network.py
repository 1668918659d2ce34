"""The network table: what may happen to a request, and what an upload promises then (pure).

`python -m tests.faults.network` prints it as it stands in docs/reliability.md.
"""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

from asyncsdk import (
    APIConnectionError,
    APITimeoutError,
    AsyncSDKError,
    CertificateError,
    CompletionUnknownError,
    ConflictError,
    InternalServerError,
    NotTheAPIError,
    PayloadTooLargeError,
    RateLimitError,
    RedirectError,
)
from asyncsdk.errors import APIStatusError

Route = Literal["create", "part", "complete", "cancel"]
Times = Literal["once", "for good"]
Where = Literal["server", "line", "nobody listens", "no such name", "a stranger's certificate"]
ROUTES: tuple[Route, ...] = ("create", "part", "complete", "cancel")
TIMES: tuple[Times, ...] = ("once", "for good")
HTML = "<html><h1>It works, but not for you</h1></html>"
DATE = "in a while, as a date"


@frozen
class Trouble:
    """Something that happens on the way. `fault` are the arguments of the server's `Fault`; `error` is what it means
    where it does not pass; `passes` tells whether the next try may do better; `waits` is what the server orders."""

    name: str
    error: type[AsyncSDKError]
    fault: dict[str, Any] = field(factory=dict)
    where: Where = "server"
    passes: bool = True
    doubtful: bool = False
    waits: float | None = None


def _answer(name: str, status: int, error: type[AsyncSDKError], **options: Any) -> Trouble:
    headers, body = options.pop("headers", {}), options.pop("body", None)
    fault = {"kind": "answer", "at": "before", "status": status, "headers": headers, "body": body}
    return Trouble(name, error, fault, **options)


def _wire(name: str, kind: str, at: str, error: type[AsyncSDKError] = APIConnectionError) -> Trouble:
    return Trouble(name, error, {"kind": kind, "at": at}, doubtful=True)


TROUBLES: tuple[Trouble, ...] = (
    _wire("reset before the body", "reset", "before"),
    _wire("reset in the middle of the body", "reset", "in"),
    _wire("reset after the body", "reset", "after"),
    _wire("answer lost, what was asked is done", "reset", "done"),
    _wire("closed without an answer", "close", "done"),
    _wire("answer cut half-way", "close", "answering"),
    _wire("reset half-way through the answer", "reset", "answering"),
    _wire("the server reads no further", "stall", "in", APITimeoutError),
    _wire("the server does not answer", "stall", "after", APITimeoutError),
    _wire("the answer stops half-way", "stall", "answering", APITimeoutError),
    Trouble("the body is read byte by byte", APITimeoutError, {"kind": "slow", "rate": 1}, doubtful=True),
    Trouble("the answer comes byte by byte", AsyncSDKError, where="line"),
    _answer("408", 408, APIStatusError, doubtful=True),
    _answer("409", 409, ConflictError, doubtful=True),
    _answer("429", 429, RateLimitError),
    _answer("429, Retry-After: 7", 429, RateLimitError, headers={"Retry-After": "7"}, waits=7.0),
    _answer("500", 500, InternalServerError, doubtful=True),
    _answer("502 with a gateway's page", 502, InternalServerError, body=HTML, doubtful=True),
    _answer("503", 503, InternalServerError, doubtful=True),
    _answer("503, Retry-After: 7", 503, InternalServerError, headers={"Retry-After": "7"}, doubtful=True, waits=7.0),
    _answer(
        "503, Retry-After: a date", 503, InternalServerError, headers={"Retry-After": DATE}, doubtful=True, waits=9.0
    ),
    _answer(
        "503, retry-after-ms: 7", 503, InternalServerError, headers={"retry-after-ms": "7"}, doubtful=True, waits=0.007
    ),
    _answer("413 before the body was read", 413, PayloadTooLargeError, passes=False),
    _answer("200 with a page, before the body was read", 200, NotTheAPIError, body=HTML, doubtful=True),
    _answer("redirect on the same origin", 307, RedirectError, headers={"Location": "?again=1"}),
    _answer(
        "redirect to another origin", 307, RedirectError, headers={"Location": "http://127.0.0.1:9/v1"}, passes=False
    ),
    Trouble("nobody listens there", APIConnectionError, where="nobody listens"),
    Trouble("the name is not known", APIConnectionError, where="no such name"),
    Trouble("TLS: a certificate of nobody we trust", CertificateError, where="a stranger's certificate", passes=False),
)


def expected(trouble: Trouble, route: Route, times: Times) -> tuple[type[AsyncSDKError], ...]:
    """The errors that the call may end in, none where it does what was asked."""
    if trouble.where == "line" or (route == "cancel" and _harmless_to_cancel(trouble)):
        return ()
    if times == "once" and (trouble.passes or (route == "part" and trouble.error is PayloadTooLargeError)):
        return ()
    if route == "complete" and trouble.doubtful:
        return (CompletionUnknownError,)
    if route == "part" and trouble.error is NotTheAPIError:
        return APIConnectionError, trouble.error  # a large part is still on its way, a small one is there
    return (trouble.error,)


def _harmless_to_cancel(trouble: Trouble) -> bool:
    """It has no body to be read slowly; and heard once, the refusal of the next asking tells that it is done."""
    return trouble.fault.get("kind") == "slow" or trouble.fault.get("at") == "answering"


def table() -> list[str]:
    """The table as Markdown: what a call ends in while the trouble lasts."""
    head = ["| Trouble | create | part | complete | cancel |", "|---|---|---|---|---|"]
    return head + [f"| {each.name} | {' | '.join(cell(each, route) for route in ROUTES)} |" for each in TROUBLES]


def cell(trouble: Trouble, route: Route) -> str:
    """`done` where even lasting trouble does no harm, else what it ends in; "at once" where once is enough for that."""
    once, lasting = (" or ".join(f"`{error.__name__}`" for error in expected(trouble, route, times)) for times in TIMES)
    return f"{lasting or 'done'}{' at once' if once else ''}"


if __name__ == "__main__":
    print(*table(), sep="\n")  # noqa: T201 - it is a program
