"""How far one edit of a run is, and what follows from that: for a stop, for another try, for its end (pure)."""

from __future__ import annotations

from copy import copy
from typing import Literal

from attrs import evolve, frozen

from asyncsdk.errors import APIError, ChargeUnknownError
from asyncsdk.http.decode import is_no_endpoint
from asyncsdk.images.billing import is_fatal_for_run, is_safe_to_repeat, may_be_charged
from asyncsdk.images.bulk.policy import OnUncertain
from asyncsdk.retry import is_unreachable

Stage = Literal["waiting", "counted", "intended", "sent", "answered", "ended"]

NEXT: dict[Stage, frozenset[Stage]] = {
    "waiting": frozenset({"waiting", "counted", "ended"}),
    "counted": frozenset({"waiting", "intended"}),
    "intended": frozenset({"waiting", "sent"}),
    "sent": frozenset({"waiting", "sent", "answered", "ended"}),
    "answered": frozenset({"ended"}),
    "ended": frozenset(),
}


@frozen
class EditLifecycle:
    """Where an edit stands: the `stage` of the try that it is at, and what was `lost` before.

    ::

        waiting    for its turn, or to be tried again: ending it costs nothing
        counted    the limits count it; its intent is in the ledger, or not yet
        intended   its intent is in the ledger, and no byte of it has left
        sent       the server may be at work on it
        answered   it is paid, and its pictures are on their way
        ended      the last word on it

    `lost` is an earlier try that may have been paid: whatever comes of later ones that end without an answer, the
    edit is uncertain.
    """

    stage: Stage = "waiting"
    lost: ChargeUnknownError | None = None

    def to(self, stage: Stage) -> EditLifecycle:
        """The course one stage on. Raises ValueError for one that does not follow."""
        if stage not in NEXT[self.stage]:
            raise ValueError(f"{stage} does not follow {self.stage}")
        return evolve(self, stage=stage)

    def failed(self, error: APIError | ChargeUnknownError) -> EditLifecycle:
        """The course after a try that failed: what was lost is remembered, and all that came of it."""
        lost = self.lost
        if isinstance(error, ChargeUnknownError):
            earlier, lost = () if lost is None else lost.raw, error
            if earlier:
                lost = copy(error)
                lost.raw = (*earlier, *error.raw)
        return evolve(self.to("waiting"), lost=lost)

    @property
    def is_under_way(self) -> bool:
        """Whether this try counts against the limits, and is awaited by a stop."""
        return self.stage not in {"waiting", "ended"}

    @property
    def is_written(self) -> bool:
        """Whether the intent of this try is surely in the ledger."""
        return self.stage in {"intended", "sent", "answered"}

    def may_try_again(self, error: APIError, on_uncertain: OnUncertain) -> bool:
        """Whether another try is allowed: after what surely was not done, and once, if wanted, after what was lost."""
        if is_fatal_for_run(error):
            return False
        if may_be_charged(error):
            return on_uncertain == "retry" and self.lost is None
        return is_safe_to_repeat(error)

    def reason_to_stop(self, error: Exception, on_uncertain: OnUncertain, *, answered: bool) -> Exception | None:
        """What ends the whole run, where the last try ended with `error`; None if nothing does.

        `answered`: an edit of this run was done before, so that the address is right.
        """
        if is_fatal_for_run(error) or is_unreachable(error) or (is_no_endpoint(error) and not answered):
            return error
        return self.lost if on_uncertain == "stop" else None
