"""The policy of a run: whether to send, skip or report an edit, and the limits over all runs of a ledger (pure)."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal, get_args

from attrs import define, field, frozen

from asyncsdk.counts import counted, were
from asyncsdk.errors import ConfigurationError, LimitReachedError
from asyncsdk.images.costs.money import NANOS, nanos_of, shown
from asyncsdk.images.costs.pricing import Pricing
from asyncsdk.images.edit import ImageEdit
from asyncsdk.images.idempotency import is_known, same_header
from asyncsdk.images.ledger.states import ItemState, is_not_delivered
from asyncsdk.models import Usage

OnUncertain = Literal["report", "retry", "stop"]
EditStatus = Literal["new", "done", "failed", "refused", "uncertain", "batched"]
Decision = Literal["send", "ask again", "skip", "refused", "uncertain", "batched", "leave"]

_FILTERS = frozenset({*get_args(EditStatus), "redo"})


def _names(names: Collection[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise ConfigurationError(f"{names!r} is one text where a list is expected: [{names!r}]. Nothing was sent.")
    return frozenset(names)


def _names_if_any(names: Collection[str] | None) -> frozenset[str] | None:
    return None if names is None else _names(names)


@frozen(kw_only=True)
class Policy:
    """Which edits the caller wants to be sent again.

    `redo` are ids that are sent again, unless that was done since `redo_before` (unix time). `verify`: the pictures
    of what is done are read and compared, also where a ledger knows it by their places. `now` (unix time) is set where
    the server knows an edit again by a key in this `header`: a lost answer is asked for again. Raises
    ConfigurationError for an unknown value.
    """

    on_uncertain: OnUncertain = "report"
    redo: frozenset[str] = field(default=frozenset(), converter=_names)
    redo_before: float = 0.0
    only: frozenset[str] | None = field(default=None, converter=_names_if_any)
    verify: bool = False
    now: float | None = None
    header: str | None = None

    def __attrs_post_init__(self) -> None:
        if self.on_uncertain not in {"report", "retry", "stop"}:
            raise ConfigurationError(
                f"on_uncertain={self.on_uncertain!r} is not known: 'report', 'retry' or 'stop'. Nothing was sent."
            )
        if not math.isfinite(self.redo_before):
            raise ConfigurationError(f"redo_before={self.redo_before!r} is not a unix time. Nothing was sent.")
        for name in (self.only or frozenset()) - _FILTERS:
            raise ConfigurationError(f"only={name!r} is not known: {', '.join(sorted(_FILTERS))}. Nothing was sent.")

    def decide(
        self,
        edit_id: str,
        state: ItemState | None,
        *,
        is_in_redo: bool = False,
        maybe_paid: bool = False,
        now: float | None = None,
    ) -> Decision:
        """What to do with an edit of this state. "leave": the edit is outside this run's `only` filter. "batched": it
        is left to its batch.

        `is_in_redo`: `redo` names it, perhaps by the id of an earlier edit of the same picture. `maybe_paid`: another
        run left it as uncertain, which counts where this ledger does not know the edit. `now`: later than the policy's,
        for what was sent since.
        """
        status = "uncertain" if state is None and maybe_paid else status_of_state(state)
        if status == "batched":  # nothing else is sent while it may be done
            return "batched" if self.takes(status, is_in_redo=is_in_redo) else "leave"
        if state is not None and edit_id in self.redo and status != "failed" and state.at < self.redo_before:
            return "send"
        if not self.takes(status, is_in_redo=is_in_redo):
            return "leave"
        if status == "done":
            return "skip"
        if status == "refused":
            return "send" if self.only is not None and "refused" in self.only else "refused"
        if state is not None and is_not_delivered(state):
            return "uncertain"  # it is surely paid, and nothing of it is lost
        if status == "uncertain" and state is not None and self._may_ask(state, now):
            return "ask again"
        if status == "uncertain":
            return "send" if self.on_uncertain == "retry" else "uncertain"
        return "send"

    def takes(self, status: str, *, is_in_redo: bool) -> bool:
        """Whether an edit of this status is within this run's `only` filter."""
        return self.only is None or status in self.only or (is_in_redo and "redo" in self.only)

    @property
    def looked_for(self) -> frozenset[str]:
        """The ids in `redo` that a run can find: where it is `only` about others, edits may have them unseen."""
        return self.redo if self.only is None or "redo" in self.only else frozenset()

    def _may_ask(self, state: ItemState, now: float | None) -> bool:
        """Whether the server surely knows an uncertain edit by its key."""
        if self.now is None or not same_header(state.header, self.header):
            return False
        return is_known(state.tried, self.now if now is None else now)


def status_of_state(state: ItemState | None) -> EditStatus:
    """The status of an edit in the ledger. An intent without an end is uncertain: the process ended between them."""
    if state is None:
        return "new"
    return "uncertain" if state.status == "sent" else state.status


def named_in(names: Collection[str], edit: ImageEdit, edit_id: str) -> str | None:
    """Which of the `names` an edit has: its id, or its line if it has no name, as which an earlier run saved it."""
    if not names:
        return None
    is_nameless = not edit.id and not edit.name
    its_own = [edit_id, *([str(edit.line)] if is_nameless else [])]
    return next((name for name in its_own if name in names), None)


def cost_limit(dollars: float | None) -> int | None:
    """`max_cost` in billionths of a dollar. Raises ConfigurationError."""
    if dollars is None:
        return None
    if type(dollars) not in {int, float} or not 0 < dollars < NANOS:
        raise ConfigurationError(f"max_cost={dollars!r} is not a number of dollars above 0. Nothing was sent.")
    return nanos_of(dollars)


_GO_ON = "With a higher limit the same call goes on."
_LATER = (
    "What is in batches counts with the most that it may cost: once these have ended, the same call goes on with what "
    "is left. With a higher limit it goes on now."
)


@define
class Limits:
    """The limits over all runs. `edits`, `tokens` and `cost` were used so far, by edits that are or may be paid.

    Costs are in billionths of a dollar. An edit counts with what it costs at most until its end is known, `in_flight`.
    `is_in_batches`: some of what counts is in batches, which are not waited for. `pricing` is the run's.
    """

    max_edits: int | None = None
    max_tokens: int | None = None
    edits: int = 0
    tokens: int = 0
    max_cost: int | None = None
    cost: int = 0
    pricing: Pricing | None = None
    in_flight: int = field(default=0, init=False)
    held_back: int = field(default=0, init=False)  # what an edit that has no room costs at most
    left_open: Collection[str] = field(default=(), init=False)  # what it leaves to the server, and costs less with
    is_in_batches: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        for name, limit in (("max_edits", self.max_edits), ("max_tokens", self.max_tokens)):
            if limit is not None and (type(limit) is not int or limit < 1):
                raise ConfigurationError(f"{name}={limit!r} is not a whole number above 0. Nothing was sent.")

    def after(self, edits: int, tokens: int, cost: int = 0) -> Limits:
        """The same limits, with what earlier runs used."""
        return Limits(self.max_edits, self.max_tokens, edits, tokens, self.max_cost, cost, self.pricing)

    @property
    def allowed(self) -> int | None:
        """How many further edits may be sent; None for any number."""
        if self.is_reached:
            return 0
        return None if self.max_edits is None else self.max_edits - self.edits

    @property
    def is_reached(self) -> bool:
        """Whether no further edit may be sent."""
        used = ((self.max_edits, self.edits), (self.max_tokens, self.tokens), (self.max_cost, self.cost))
        return any(most is not None and so_far >= most for most, so_far in used)

    def has_room(self, most: int | None) -> bool:
        """Whether an edit may be sent that costs `most` at most."""
        return self.max_cost is None or self.cost + (most or 0) <= self.max_cost

    @property
    def room(self) -> int | None:
        """What further edits may cost; None for any amount."""
        return None if self.max_cost is None else max(0, self.max_cost - self.cost)

    @property
    def may_have_room(self) -> bool:
        """Whether what is in flight may yet cost less than is counted for it."""
        return self.in_flight > 0

    def check(self) -> None:
        """Raise LimitReachedError if no further edit may be sent, also once those in flight have ended."""
        if self.is_reached and not (self.may_have_room and self.is_cost_alone):
            raise self.reached()

    def begin(self, most: int | None = None, edit: ImageEdit | None = None) -> None:
        """Count an edit that is about to be sent, and costs `most` at most.

        Raises LimitReachedError instead if that exceeds a limit.
        """
        if self.is_reached or not self.has_room(most):
            raise self.reached(most, edit)
        self.count(most)

    def count(self, most: int | None = None) -> None:
        """Count an edit, whatever the limits are: one that is done after all may exceed them."""
        self.edits += 1
        self.cost += most or 0
        self.in_flight += most or 0

    def ask_again(self, most: int | None = None) -> None:
        """Note that an edit of an earlier run, which counts already, is in flight again."""
        self.in_flight += most or 0

    def take_back(self, most: int | None = None) -> None:
        """Stop counting an edit that was begun, for which the server did nothing."""
        self.edits -= 1
        self.settle(most, 0)

    def spend(self, usage: Usage | None) -> None:
        """Count what an edit used; edits in flight may exceed the limit."""
        self.tokens += (usage.total_tokens or 0) if usage is not None else 0

    def settle(self, most: int | None, cost: int | None) -> None:
        """Count what an edit cost in the place of what it costs at most; None: it may have cost that."""
        self.in_flight -= most or 0
        if cost is not None:
            self.cost += cost - (most or 0)

    @property
    def is_passed(self) -> bool:
        """Whether edits in flight used more than was allowed."""
        tokens_are = self.max_tokens is not None and self.tokens > self.max_tokens
        return tokens_are or (self.max_cost is not None and self.cost > self.max_cost)

    @property
    def is_cost_alone(self) -> bool:
        """Whether no other limit than that of dollars is reached."""
        used = ((self.max_edits, self.edits), (self.max_tokens, self.tokens))
        return not any(most is not None and so_far >= most for most, so_far in used)

    def reached(self, most: int | None = None, edit: ImageEdit | None = None) -> LimitReachedError:
        """The error of the limit that stops a run, with the current counts over all runs.

        `edit` is the one that is held back, and `most` what it costs at most.
        """
        self.held_back = most or self.held_back
        if edit is not None and self.pricing is not None:
            self.left_open = self.pricing.left_open(edit) or self.left_open
        go_on = _LATER if self.is_in_batches and self.max_cost is not None and self.is_cost_alone else _GO_ON
        return LimitReachedError(f"{self.in_words()} Nothing more was sent. {go_on}")

    def in_words(self) -> str:
        """Which limit is reached, with the current counts over all runs."""
        if self.max_cost is not None and self.is_cost_alone:
            hint = f" (less with {' and '.join(sorted(self.left_open, reverse=True))} given)" if self.left_open else ""
            next_one = f", and the next edit may cost {shown(self.held_back, up=True)}{hint}" if self.held_back else ""
            so_far = f"{shown(self.cost, up=True)} were spent or may have been, earlier runs included"
            spent = f"{so_far if self.cost else 'nothing was spent so far'}{next_one}."
            return f"max_cost={self.max_cost / NANOS:.10g} is {'exceeded' if self.is_passed else 'reached'}: {spent}"
        if self.max_tokens is not None and self.tokens >= self.max_tokens:
            verb, why = ("exceeded", " by edits that were in flight") if self.is_passed else ("reached", "")
            used = f"{counted(self.tokens, 'token')} {were(self.tokens)} used in all."
            return f"max_tokens={self.max_tokens} is {verb}{why}: {used}"
        sent = f"{counted(self.edits, 'edit')} {were(self.edits)} sent so far"
        return f"max_edits={self.max_edits} is reached: {sent}, earlier runs included."


@define
class ReservedLimits(Limits):
    """The limits of a ledger that machines share: it counts, and reserves what is claimed. Here they are shown."""

    @classmethod
    def of(cls, limits: Limits, edits: int, tokens: int, cost: int) -> ReservedLimits:
        """The same limits, with what the ledger has counted."""
        return cls(limits.max_edits, limits.max_tokens, edits, tokens, limits.max_cost, cost, limits.pricing)

    def check(self) -> None:
        """What is claimed may be sent."""

    def has_room(self, most: int | None) -> bool:  # noqa: ARG002 - as the others
        """It is claimed, with what it costs at most."""
        return True

    def begin(self, most: int | None = None, edit: ImageEdit | None = None) -> None:
        """It is counted already."""

    def count(self, most: int | None = None) -> None:
        """The ledger does, with the end of the edit."""

    def ask_again(self, most: int | None = None) -> None:
        """It counts already, and is claimed as that."""

    def take_back(self, most: int | None = None) -> None:
        """It is claimed still; the ledger counts it until it is given back."""

    def spend(self, usage: Usage | None) -> None:
        """The ledger counts it with the end of the edit."""

    def settle(self, most: int | None, cost: int | None) -> None:
        """As tokens."""

    @property
    def is_passed(self) -> bool:
        """The next claim sees it."""
        return False
