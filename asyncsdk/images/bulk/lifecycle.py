"""The state machine of one edit of a run: waiting, sent, answered; what a stop or an error means at each stage (pure).

Rules:

1. An edit may be paid from the moment its first byte leaves, not earlier and not only when a response comes.
2. Its intent is in the ledger before that moment: a process that is killed leaves no edit that may be paid and that
   the ledger does not know.
3. It is paid once a response with an image came. Whatever fails after that, it is not sent again.
4. An attempt that may have been paid is not repeated, or once only with `on_uncertain="retry"`; unless the server knows
   the edit again by its key, for as long as it surely does. What was `lost` stays lost: if no later attempt gets a
   response, the edit is uncertain, whatever those attempts ended with.
5. An edit that the server surely did not do goes back to *waiting*, and neither the limits nor the ledger count it.

Theory of operation: each attempt goes through the stages in order, and an attempt that fails returns to *waiting*.
An `EditLifecycle` is a value; the worker replaces it at each step, before or after the await that the step is about,
so that at every await the stage answers "what does it mean if everything ends here?":

::

    stage      what is true                                             if it ends here
    ─────────  ───────────────────────────────────────────────────────  ──────────────────────────────────────
    waiting    no attempt under way: for the rate limit, or a retry     nothing is paid but what was lost
    counted    the limits count it; the ledger may have its intent      the same; limits and ledger take it back
    intended   its intent is in the ledger, and no byte of it has left  the same
    sent       the server may be working on it                          uncertain
    answered   it is paid, and its pictures are being saved             paid, with what is saved so far
    ended      its outcome is recorded                                  nothing more happens

A run that stops lets edits that are under way (*counted* to *answered*) come to their end, and cancels those that are
*waiting*. A run that is cancelled ends each edit where it is.
"""

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
    """The `stage` of the current attempt, and the `lost` earlier one that may have been paid, with all that came."""

    stage: Stage = "waiting"
    lost: ChargeUnknownError | None = None

    def to(self, stage: Stage) -> EditLifecycle:
        """The next stage. Raises ValueError for one that `NEXT` does not allow."""
        if stage not in NEXT[self.stage]:
            raise ValueError(f"{stage} does not follow {self.stage}")
        return evolve(self, stage=stage)

    def failed(self, error: APIError | ChargeUnknownError) -> EditLifecycle:
        """The lifecycle after an attempt that failed: what was lost is remembered, with all that came of it."""
        lost = self.lost
        if isinstance(error, ChargeUnknownError):
            earlier, lost = () if lost is None else lost.raw, error
            if earlier:
                lost = copy(error)
                lost.raw = (*earlier, *error.raw)
        return evolve(self.to("waiting"), lost=lost)

    @property
    def is_under_way(self) -> bool:
        """Whether this attempt counts against the limits, and is awaited by a stop."""
        return self.stage not in {"waiting", "ended"}

    @property
    def is_written(self) -> bool:
        """Whether the intent of this attempt is surely in the ledger."""
        return self.stage in {"intended", "sent", "answered"}

    def may_try_again(self, error: APIError, on_uncertain: OnUncertain, *, is_known: bool = False) -> bool:
        """Whether another attempt is allowed: if this one was surely not done, or once, if requested, after a loss.

        `is_known`: the server knows the edit again, and makes it once.
        """
        if is_fatal_for_run(error):
            return False
        if may_be_charged(error):
            return is_known or (on_uncertain == "retry" and self.lost is None)
        return is_safe_to_repeat(error)

    def reason_to_stop(self, error: Exception, on_uncertain: OnUncertain, *, answered: bool) -> Exception | None:
        """The error that stops the whole run after the last attempt ended with `error`; None if the run goes on.

        `answered`: an edit of this run was done before, so that the address is right.
        """
        if ends_run(error, answered=answered):
            return error
        return self.lost if on_uncertain == "stop" else None


def ends_run(error: Exception, *, answered: bool) -> bool:
    """Whether the first edit that ends with `error` ends the run. `answered` as for `reason_to_stop`."""
    return is_fatal_for_run(error) or is_unreachable(error) or (is_no_endpoint(error) and not answered)
