"""Faults on request (pure): what shall go wrong, in which call of which route, and whether it did.

As JSON a fault is an object with the arguments of `Fault`: `{"route": "part", "kind": "reset", "at": "in", "nth": 2}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

from attrs import asdict, define, field, frozen
from attrs.validators import and_, deep_mapping, ge, gt, in_, instance_of, optional

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
    "*",
]
Kind = Literal["answer", "reset", "close", "stall", "slow", "expire"]
Moment = Literal["before", "in", "after", "done", "answering"]

MOMENTS: tuple[Moment, ...] = get_args(Moment)
_count = optional(and_(instance_of(int), ge(1)))
_number = optional(and_(instance_of((int, float)), gt(0)))


@frozen
class Fault:
    """Something that shall go wrong in a call of `route` ("*" is any).

    What (`kind`):
        answer  an answer with `status`, `headers` and `body`: a string is sent as HTML, None is an error in
                OpenAI's shape, anything else goes as JSON
        reset   the connection is reset (a real RST)
        close   the connection is closed in good order, without an answer, or in the middle of one
        stall   nothing moves for `seconds`, then the call goes on; None: never again
        slow    the body is read at `rate` bytes a second
        expire  the upload expires at that moment

    When (`at`): "before" the body is read, "in" the middle of it, "after" all of it came but before anything is done,
    when it is "done" but not answered (so that the answer is lost), or half-way through "answering".
    A call that never comes to that moment, such as one without a body, meets its fault at the next one.

    Which calls: the `nth` (from 1), or `every` so many; `times` says how often at most: without it once,
    and with `every` each time.

    Raises ValueError or TypeError for what makes no sense.
    """

    route: Route = field(validator=in_(get_args(Route)))
    kind: Kind = field(validator=in_(get_args(Kind)))
    at: Moment = field(default="after", validator=in_(MOMENTS))
    nth: int | None = field(default=None, kw_only=True, validator=_count)
    every: int | None = field(default=None, kw_only=True, validator=_count)
    times: int | None = field(default=None, kw_only=True, validator=_count)
    status: int = field(default=500, kw_only=True, validator=instance_of(int))
    headers: Mapping[str, str] = field(
        factory=dict, kw_only=True, validator=deep_mapping(instance_of(str), instance_of(str))
    )
    body: Any = field(default=None, kw_only=True)
    seconds: float | None = field(default=None, kw_only=True, validator=_number)
    rate: int | None = field(default=None, kw_only=True, validator=_count)

    def __attrs_post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError(f"status {self.status} is not a final answer's (200 to 599)")
        if self.kind == "answer" and self.at == "answering":
            raise ValueError("an answer can't be given while another is being sent; use reset, close or stall")
        if (self.kind == "slow") != (self.rate is not None):
            raise ValueError("slow, and nothing else, needs a rate (bytes a second)")

    def hits(self, call: int) -> bool:
        """Tell whether the `call`-th call (from 1) is one that it is meant for, however often it was met."""
        first, step = self.nth or self.every or 1, self.every or 1
        return call >= first and (call - first) % step == 0

    @property
    def limit(self) -> int | None:
        """How often it happens at most."""
        return self.times if self.times is not None or self.every is not None else 1

    @property
    def due(self) -> int:
        """How often it must have happened to count as met."""
        return self.times or 1


@define
class _Planned:
    fault: Fault
    calls: int = 0
    met: int = 0

    def meets(self, route: str) -> bool:
        if self.fault.route not in ("*", route):
            return False
        self.calls += 1
        within = self.fault.limit is None or self.met < self.fault.limit
        return within and self.fault.hits(self.calls)


@define
class Faults:
    """What is planned, and what of it happened. Calls are counted for each fault from when it was added."""

    _planned: list[_Planned] = field(factory=list)

    @classmethod
    def of(cls, faults: Iterable[Fault]) -> Faults:
        plan = cls()
        plan.add(*faults)
        return plan

    def add(self, *faults: Fault) -> None:
        self._planned.extend(_Planned(fault) for fault in faults)

    def clear(self) -> None:
        self._planned.clear()

    def meet(self, route: str) -> Fault | None:
        """Count a call of `route` and return the fault that it meets: of several the one that was added first."""
        meeting = [planned for planned in self._planned if planned.meets(route)]
        if not meeting:
            return None
        meeting[0].met += 1
        return meeting[0].fault

    def unmet(self) -> list[Fault]:
        """Faults that happened less often than they were asked for."""
        return [planned.fault for planned in self._planned if planned.met < planned.fault.due]


def faults_from_json(value: Any) -> list[Fault]:
    """Read one fault or a list of them. Raises ValueError, with the number of the one that is wrong."""
    items: Sequence[Any] = value if isinstance(value, list) else [value]
    return [_fault_from_json(number, item) for number, item in enumerate(items, 1)]


def fault_to_json(fault: Fault) -> dict[str, Any]:
    """Write a fault in the form that `faults_from_json` reads."""
    return asdict(fault, filter=lambda _, value: value is not None)


def _fault_from_json(number: int, item: Any) -> Fault:
    if not isinstance(item, dict):
        raise ValueError(f"fault {number} is not an object")  # noqa: TRY004 - it is the file that is wrong
    try:
        return Fault(**item)
    except (TypeError, ValueError) as error:
        raise ValueError(f"fault {number}: {error}") from error
