"""Fault: a failure on request, with what happens, when, and in which calls of which route (pure).

As JSON a fault is an object with the arguments of `Fault`: `{"route": "part", "kind": "reset", "at": "in", "nth": 2}`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from attrs import Attribute, Factory, asdict, field, fields, frozen
from attrs.validators import optional

from asyncsdk.server.validators import BODY, COUNT, HEADERS, NUMBER, WHOLE, did_you_mean, must, one_of

Route = Literal[
    "create",
    "part",
    "complete",
    "cancel",
    "files.list",
    "files.create",
    "files.get",
    "files.delete",
    "files.content",
    "edit",
    "batches.create",
    "batches.get",
    "batches.list",
    "batches.cancel",
    "batches.line",
    "models.get",
    "*",
]
Kind = Literal["answer", "reset", "close", "stall", "slow", "expire", "md5", "limit"]
Moment = Literal["before", "in", "after", "done", "answering"]
RetryForm = Literal["seconds", "milliseconds", "date"]
Unit = Literal["requests", "input-images"]

MOMENTS: tuple[Moment, ...] = get_args(Moment)
LINE: Route = "batches.line"  # not a call: a request in the file of a batch
_BODILESS = frozenset(
    {"files.list", "files.get", "files.delete", "files.content", "batches.list", "batches.get", "models.get"}
)
_OF_LINES = frozenset({"answer", "reset", "close", "stall", "expire"})
_USUAL_STATUS = 500
_share = optional(must("a number above 0 and at most 1", int, float, within=lambda value: 0 < value <= 1))


@frozen(repr=False)
class Fault:
    """A failure that the server makes happen in calls of a route.

    A call that never comes to the moment of its fault, such as one without a body, meets it at the next moment. A fault
    is met once it happened: a call that ended before its moment does not count.

    Args:
        route: The calls: "create", "part", "complete", "cancel", "files.list", "files.create", "files.get",
            "files.delete", "files.content", "edit", "batches.create", "batches.get", "batches.list",
            "batches.cancel", "models.get", or "*" for any. Or "batches.line": the requests in the files of batches.
        kind: What happens:

            - "answer": a response with `status`, `headers` and `body`.
            - "reset": the connection is reset (a real RST).
            - "close": the connection is closed in good order, without a response or in the middle of one; after a
              body that was not read to its end the system resets it instead.
            - "stall": nothing moves for `seconds`, then the call goes on; None: never again.
            - "slow": the body is read, or with `at="answering"` the response is written, at `rate` bytes a second.
            - "expire": the upload, or the batch, expires at that moment.
            - "md5": a complete that contains an md5 is refused as if the parts had another one.
            - "limit": calls above `per_minute` of `unit` get a 429, in the real server's words.

            Of a request of a batch, "answer" is its response, "close" leaves it without one (`response` is null),
            and with "reset" it is in none of the batch's files; with `at="done"` or later the edit was made, and cost.
        at: When: "before" the body is read, "in" the middle of it, "after" all of it arrived but before anything is
            done, "done" but without a response yet (so that it is lost), or half-way through "answering".
        nth: The first call that meets it, from 1. Without `times` and `every` the only one; with `times` that many
            calls in a row from this one on; with `every` this one and every that many later.
        every: Every how many calls; without `nth` the first one is that many from the start.
        probability: The share of calls, above 0 and at most 1, chosen by `seed`.
        seed: The same seed always chooses the same calls.
        times: How often at most. Without it: once, and with `every`, `probability` or a limit each time.
        status: The status of an "answer", 200 to 599; 500 without it.
        headers: The headers of an "answer".
        body: The body of an "answer": a string is sent as HTML, None is an error in OpenAI's shape, anything else is
            sent as JSON.
        retry_after: Seconds that an "answer" asks the client to wait.
        retry_as: How: Retry-After in "seconds" or as an HTTP "date", or retry-after-ms in "milliseconds".
        seconds: How long a "stall" lasts, in seconds.
        rate: Bytes a second of "slow".
        per_minute: How many of `unit` a "limit" allows a minute, evenly: a burst above one second's share (with 60,
            above one) is refused. It counts all calls, and `times` its refusals.
        unit: "requests" counts the calls of the route (with the route "part", parts), "input-images" the pictures of
            edits, times `n`.

    Raises:
        ValueError: The arguments do not go together.
    """

    route: Route = field(validator=one_of(Route))
    kind: Kind = field(validator=one_of(Kind))
    at: Moment = field(default="after", validator=one_of(Moment))
    nth: int | None = field(default=None, kw_only=True, validator=optional(COUNT))
    every: int | None = field(default=None, kw_only=True, validator=optional(COUNT))
    probability: float | None = field(default=None, kw_only=True, validator=_share)
    seed: int = field(default=0, kw_only=True, validator=WHOLE)
    times: int | None = field(default=None, kw_only=True, validator=optional(COUNT))
    status: int | None = field(
        default=Factory(lambda self: _USUAL_STATUS if self.kind == "answer" else None, takes_self=True),
        kw_only=True,
        validator=optional(WHOLE),
    )
    headers: Mapping[str, str] = field(factory=dict, kw_only=True, validator=HEADERS)
    body: Any = field(default=None, kw_only=True, validator=BODY)
    retry_after: float | None = field(default=None, kw_only=True, validator=optional(NUMBER))
    retry_as: RetryForm = field(default="seconds", kw_only=True, validator=one_of(RetryForm))
    seconds: float | None = field(default=None, kw_only=True, validator=optional(NUMBER))
    rate: int | None = field(default=None, kw_only=True, validator=optional(COUNT))
    per_minute: int | None = field(default=None, kw_only=True, validator=optional(COUNT))
    unit: Unit = field(default="requests", kw_only=True, validator=one_of(Unit))

    def __repr__(self) -> str:
        arguments = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(Fault) if self._is_set(each)]
        return f"Fault({', '.join(arguments)})"

    def _is_set(self, attribute: Attribute[Any]) -> bool:
        value = getattr(self, attribute.name)
        if attribute.name == "status":
            return value not in {None, _USUAL_STATUS}
        return bool(value) if attribute.name == "headers" else bool(value != attribute.default)

    def __attrs_post_init__(self) -> None:
        for is_wrong, why in self._problems():
            if is_wrong:
                raise ValueError(why)

    def _problems(self) -> Sequence[tuple[bool, str]]:
        chosen = [self.nth, self.every, self.probability]
        return (
            (self.kind == "answer" and self.status is None, "an answer needs a status"),
            (
                self.status is not None and not 200 <= self.status <= 599,
                f"status {self.status} is not a final answer's (200 to 599)",
            ),
            (
                self.kind == "answer" and self.at == "answering",
                "an answer can't be given while another is being sent; use reset, close or stall",
            ),
            (self.retry_after is not None and self.kind != "answer", "retry_after belongs to an answer"),
            (self.kind != "answer" and bool(self.headers), "headers belong to an answer"),
            (self.kind != "answer" and self.body is not None, "a body belongs to an answer"),
            (self.kind != "stall" and self.seconds is not None, "seconds belong to a stall"),
            ((self.kind == "slow") != (self.rate is not None), "slow, and nothing else, needs a rate (bytes a second)"),
            ((self.kind == "limit") != (self.per_minute is not None), "a limit, and nothing else, needs per_minute"),
            (self.kind == "limit" and any(chosen), "a limit counts all calls: not with nth, every or probability"),
            (self.kind != "answer" and self.status is not None, "status belongs to an answer"),
            (self.retry_as != "seconds" and self.retry_after is None, "retry_as needs retry_after, the time itself"),
            (self.probability is None and self.seed != 0, "a seed belongs to a probability"),
            (self.route in _BODILESS and self.at == "in", f"a call of {self.route} has no body to be in"),
            (
                self.route in _BODILESS and self.kind == "slow" and self.at != "answering",
                f"a call of {self.route} has no body to read slowly; for its response add at='answering'",
            ),
            (self.probability is not None and any(chosen[:2]), "probability does not go with nth or every"),
            (self.unit == "input-images" and self.route != "edit", "only edits have input-images"),
            (self.unit == "input-images" and self.kind != "limit", "a unit belongs to a limit"),
            (
                self.kind == "expire" and not self._may_meet_what_expires(),
                "an upload expires in a part, complete or cancel, or once its create is done, and a batch likewise",
            ),
            (
                self.route == LINE and self.kind not in _OF_LINES,
                f"a line of a batch takes {', '.join(sorted(_OF_LINES))}, not {self.kind}",
            ),
            (self.kind == "md5" and self.route not in {"complete", "*"}, "only complete has an md5"),
        )

    def _may_meet_what_expires(self) -> bool:
        created = self.route in {"create", "batches.create"} and self.at in {"done", "answering"}
        of_uploads, of_batches = {"part", "complete", "cancel"}, {"batches.get", "batches.cancel", LINE}
        return created or self.route in of_uploads | of_batches | {"*"}

    def hits(self, call: int) -> bool:
        """Whether it is meant for a call, however often it was met.

        Args:
            call: The number of the call on its route, from 1.
        """
        if self.probability is not None:
            return random.Random(f"{self.seed}:{call}").random() < self.probability
        if self.kind == "limit":
            return True
        first, step = self.nth or self.every or 1, self.every or 1
        return call >= first and (call - first) % step == 0

    @property
    def most(self) -> int | None:
        """How often it happens at most; None: without a limit."""
        goes_on = self.every is not None or self.probability is not None or self.kind == "limit"
        return self.times if self.times is not None or goes_on else 1

    @property
    def due(self) -> int:
        """How often it must have happened to count as met."""
        return self.times or 1


def checked_fault(value: object) -> Fault:
    """Return `value`. Raises TypeError if it is not a `Fault`."""
    if isinstance(value, Fault):
        return value
    raise TypeError(f"{value!r:.80} is not a Fault; write Fault('part', 'reset'), or read JSON with faults_from_json")


def faults_from_json(value: Any) -> list[Fault]:
    """Read faults from JSON.

    Args:
        value: One fault, as an object with the arguments of `Fault`; a list of them; or `{"faults": [...]}`. All of it
            parsed, or as text.

    Returns:
        The faults, in their order.

    Raises:
        ValueError: The text is not JSON, or a fault is wrong; the message contains its number, from 1.
    """
    if isinstance(value, str | bytes):
        value = _parsed(value)
    if isinstance(value, dict) and set(value) == {"faults"}:
        value = value["faults"]
    items: Sequence[Any] = value if isinstance(value, list) else [value]
    return [_fault_from_json(number, item) for number, item in enumerate(items, 1)]


def fault_to_json(fault: Fault) -> dict[str, Any]:
    """Write a fault in the form that `faults_from_json` reads."""
    return asdict(checked_fault(fault), filter=lambda _, value: value is not None)


def _parsed(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        is_name = isinstance(text, str) and text.endswith(".json")
        hint = "; of a file pass its text, not its name" if is_name else ""
        raise ValueError(f"{text!r:.80} is not JSON ({error}){hint}") from error


def _fault_from_json(number: int, item: Any) -> Fault:
    if not isinstance(item, dict):
        raise ValueError(f"fault {number} is not an object")  # noqa: TRY004 - the file is wrong, not the caller
    names = [each.name for each in fields(Fault)]
    missing = [name for name in ("route", "kind") if name not in item]
    if unknown := [name for name in item if name not in names]:
        near = did_you_mean(unknown[0], names)
        raise ValueError(f"fault {number} has {unknown[0]!r}, which is not one of {', '.join(names)}{near}")
    if missing:
        raise ValueError(f"fault {number} has no {missing[0]}")
    try:
        return Fault(**item)
    except ValueError as error:
        raise ValueError(f"fault {number}: {error}") from error
