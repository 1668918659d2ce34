"""The policy of a run: whether to send, skip or report an edit, and the limits over all runs of a ledger (pure)."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal, get_args

from attrs import define, field, frozen

from asyncsdk.errors import ConfigurationError, LimitReachedError
from asyncsdk.images.ledger.states import ItemState, is_not_delivered
from asyncsdk.models import Usage

OnUncertain = Literal["report", "retry", "stop"]
EditStatus = Literal["new", "done", "failed", "refused", "uncertain", "batched"]
Decision = Literal["send", "skip", "refused", "uncertain", "batched", "leave"]

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

    `redo` are ids that are sent again, unless that was done since `redo_before` (unix time). Raises ConfigurationError
    for an unknown value.
    """

    on_uncertain: OnUncertain = "report"
    redo: frozenset[str] = field(default=frozenset(), converter=_names)
    redo_before: float = 0.0
    only: frozenset[str] | None = field(default=None, converter=_names_if_any)

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
        self, edit_id: str, state: ItemState | None, *, is_in_redo: bool = False, maybe_paid: bool = False
    ) -> Decision:
        """What to do with an edit of this state. "leave": the edit is outside this run's `only` filter. "batched": it
        is left to its batch.

        `is_in_redo`: `redo` names it, perhaps by the id of an earlier edit of the same picture. `maybe_paid`: another
        run left it as uncertain, which counts where this ledger does not know the edit.
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
        if status == "uncertain":
            return "send" if self.on_uncertain == "retry" else "uncertain"
        return "send"

    def takes(self, status: str, *, is_in_redo: bool) -> bool:
        """Whether an edit of this status is within this run's `only` filter."""
        return self.only is None or status in self.only or (is_in_redo and "redo" in self.only)


def status_of_state(state: ItemState | None) -> EditStatus:
    """The status of an edit in the ledger. An intent without an end is uncertain: the process ended between them."""
    if state is None:
        return "new"
    return "uncertain" if state.status == "sent" else state.status


_GO_ON = "With a higher limit the same call goes on."


@define
class Limits:
    """The limits over all runs. `edits` and `tokens` are what was used so far, of edits that are or may be paid."""

    max_edits: int | None = None
    max_tokens: int | None = None
    edits: int = 0
    tokens: int = 0

    def __attrs_post_init__(self) -> None:
        for name, limit in (("max_edits", self.max_edits), ("max_tokens", self.max_tokens)):
            if limit is not None and (type(limit) is not int or limit < 1):
                raise ConfigurationError(f"{name}={limit!r} is not a whole number above 0. Nothing was sent.")

    def after(self, edits: int, tokens: int) -> Limits:
        """The same limits, with what earlier runs used."""
        return Limits(self.max_edits, self.max_tokens, edits, tokens)

    @property
    def allowed(self) -> int | None:
        """How many further edits may be sent; None for any number."""
        if self.is_reached:
            return 0
        return None if self.max_edits is None else self.max_edits - self.edits

    @property
    def is_reached(self) -> bool:
        """Whether no further edit may be sent."""
        edits_are_used = self.max_edits is not None and self.edits >= self.max_edits
        return edits_are_used or (self.max_tokens is not None and self.tokens >= self.max_tokens)

    def check(self) -> None:
        """Raise LimitReachedError if no further edit may be sent."""
        if self.is_reached:
            raise self.reached()

    def begin(self) -> None:
        """Count an edit that is about to be sent. Raises LimitReachedError instead if that exceeds a limit."""
        self.check()
        self.edits += 1

    def take_back(self) -> None:
        """Stop counting an edit that was begun, for which the server did nothing."""
        self.edits -= 1

    def spend(self, usage: Usage | None) -> None:
        """Count what an edit used; edits in flight may exceed the limit."""
        self.tokens += (usage.total_tokens or 0) if usage is not None else 0

    @property
    def is_passed(self) -> bool:
        """Whether edits in flight used more tokens than were allowed."""
        return self.max_tokens is not None and self.tokens > self.max_tokens

    def reached(self) -> LimitReachedError:
        """The error of the limit that stops a run, with the current counts over all runs."""
        return LimitReachedError(f"{self.in_words()} Nothing more was sent. {_GO_ON}")

    def in_words(self) -> str:
        """Which limit is reached, with the current counts over all runs."""
        if self.max_tokens is not None and self.tokens >= self.max_tokens:
            verb, why = ("exceeded", " by edits that were in flight") if self.is_passed else ("reached", "")
            return f"max_tokens={self.max_tokens} is {verb}{why}: {self.tokens:,} tokens were used in all."
        return f"max_edits={self.max_edits} is reached: {self.edits:,} edits were sent so far, earlier runs included."


@define
class ReservedLimits(Limits):
    """The limits of a ledger that machines share: it counts, and reserves what is claimed. Here they are shown."""

    def check(self) -> None:
        """What is claimed may be sent."""

    def begin(self) -> None:
        """It is counted already."""

    def take_back(self) -> None:
        """It is claimed still; the ledger counts it until it is given back."""

    def spend(self, usage: Usage | None) -> None:
        """The ledger counts it with the end of the edit."""

    @property
    def is_passed(self) -> bool:
        """The next claim sees it."""
        return False
