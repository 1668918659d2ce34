"""The planned faults: which call meets which of them, and how often each happened (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

from attrs import define, field

from asyncsdk.server.faults import LINE, Fault, checked_fault, fault_to_json
from asyncsdk.server.rate import TokenBucket


@define(eq=False)
class PlannedFault:
    """A fault and its counts. `under_way` counts the calls that claimed it and have not ended."""

    fault: Fault
    rate: TokenBucket = field(init=False)
    calls: int = 0
    met: int = 0
    under_way: int = 0

    def __attrs_post_init__(self) -> None:
        self.rate = TokenBucket(self.fault.per_minute, self.fault.unit)

    @property
    def is_met(self) -> bool:
        return self.met >= self.fault.due

    def claim(self, route: str) -> bool:
        """Count a call of `route`; True where it meets the fault: then call `release` when it ends."""
        if self.fault.route != route and (self.fault.route != "*" or route == LINE):
            return False
        self.calls += 1
        if not (self._is_left() and self.fault.hits(self.calls)):
            return False
        self.under_way += 1
        return True

    def happened(self) -> None:
        self.met += 1

    def release(self) -> None:
        """The call that claimed it has ended."""
        self.under_way -= 1

    def _is_left(self) -> bool:
        if self.fault.kind == "limit":
            return self.fault.most is None or self.met < self.fault.most
        return self.fault.most is None or self.met + self.under_way < self.fault.most

    def to_json(self) -> dict[str, Any]:
        return {**fault_to_json(self.fault), "calls": self.calls, "met": self.met, "due": self.fault.due}


@define
class FaultPlan:
    """All planned faults. Each one counts calls from when it was added."""

    planned: list[PlannedFault] = field(factory=list)

    @classmethod
    def of(cls, faults: Iterable[Fault]) -> FaultPlan:
        if isinstance(faults, Fault):
            raise TypeError("faults takes a list: faults=[Fault(...)]")
        if isinstance(faults, str | bytes | PathLike | Mapping):
            raise TypeError(
                "faults takes a list: faults=[Fault(...)]. For JSON: faults=faults_from_json(text); for a file of it: "
                "faults=faults_from_json(Path('faults.json').read_text())"
            )
        plan = cls()
        plan.add(*faults)
        return plan

    def add(self, *faults: Fault) -> None:
        self.planned.extend([PlannedFault(checked_fault(fault)) for fault in faults])

    def clear(self) -> None:
        self.planned.clear()

    def meet(self, route: str) -> list[PlannedFault]:
        """Count a call of `route` and return the faults it meets: all limits, and the first of the others."""
        meeting = [planned for planned in self.planned if planned.claim(route)]
        limits = [planned for planned in meeting if planned.fault.kind == "limit"]
        others = [planned for planned in meeting if planned.fault.kind != "limit"]
        for planned in others[1:]:
            planned.release()
        return [*limits, *others[:1]]

    def unmet(self) -> list[Fault]:
        """Return the faults that happened less often than planned."""
        return [planned.fault for planned in self.planned if not planned.is_met]

    def require_all_met(self) -> None:
        """Raise AssertionError if a fault is unmet."""
        require_all_met((planned.fault, planned.met, planned.calls) for planned in self.planned)


def require_all_met(faults: Iterable[tuple[Fault, int, int]]) -> None:
    """Raise AssertionError with the faults that happened too rarely; each comes as (fault, met, calls)."""
    unmet = [
        f"{fault}: met {met} of {fault.due} times, in {calls} calls" for fault, met, calls in faults if met < fault.due
    ]
    if unmet:
        raise AssertionError(f"These faults were planned and not met: {'; '.join(unmet)}")
