"""What becomes of an edit of a run: send it, skip it or report it, within the limits of all runs of a ledger (pure)."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Literal

from attrs import define, field, frozen

from asyncsdk.errors import ConfigurationError, LimitReachedError
from asyncsdk.images.ledger.states import ItemState
from asyncsdk.models import Usage

OnUncertain = Literal["report", "retry", "stop"]
Standing = Literal["new", "done", "failed", "refused", "uncertain"]
Verdict = Literal["send", "skip", "refused", "uncertain", "leave"]

_STANDINGS = frozenset({"new", "done", "failed", "refused", "uncertain"})


def _names(given: Collection[str]) -> frozenset[str]:
    if isinstance(given, str):
        raise ConfigurationError(f"{given!r} is one text where several are meant: [{given!r}]. Nothing was sent.")
    return frozenset(given)


def _names_if_any(given: Collection[str] | None) -> frozenset[str] | None:
    return None if given is None else _names(given)


@frozen(kw_only=True)
class Policy:
    """What a caller wants sent again. `redo` names ids; what was done to them since `redo_before` stands.

    Raises ConfigurationError for what is not known.
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
        for name in (self.only or frozenset()) - _STANDINGS:
            raise ConfigurationError(f"only={name!r} is not known: {', '.join(sorted(_STANDINGS))}. Nothing was sent.")

    def verdict(self, edit_id: str, state: ItemState | None) -> Verdict:
        """What becomes of an edit that stands so: "leave" is for one that this run is not about."""
        stands = standing(state)
        if state is not None and edit_id in self.redo and stands != "failed" and state.at < self.redo_before:
            return "send"
        if self.only is not None and stands not in self.only:
            return "leave"
        if stands == "done":
            return "skip"
        if stands == "refused":
            return "send" if self.only else "refused"
        if stands == "uncertain":
            return "send" if self.on_uncertain == "retry" else "uncertain"
        return "send"


def standing(state: ItemState | None) -> Standing:
    """An intent without a last word is uncertain: the process ended between the two."""
    if state is None:
        return "new"
    return "uncertain" if state.status == "sent" else state.status


_GO_ON = "With a higher limit the same call goes on."


@define
class Limits:
    """`edits` and `tokens` are what was spent before; both count what was sent and paid, or may have been."""

    max_edits: int | None = None
    max_tokens: int | None = None
    edits: int = 0
    tokens: int = 0

    def __attrs_post_init__(self) -> None:
        for name, limit in (("max_edits", self.max_edits), ("max_tokens", self.max_tokens)):
            if limit is not None and (type(limit) is not int or limit < 1):
                raise ConfigurationError(f"{name}={limit!r} is not a whole number above 0. Nothing was sent.")

    def after(self, edits: int, tokens: int) -> Limits:
        """The same limits, where so much was spent by earlier runs."""
        return Limits(self.max_edits, self.max_tokens, edits, tokens)

    def begin(self) -> None:
        """Count an edit that is about to be sent. Raises LimitReachedError instead where that is one too many."""
        edits_are_spent = self.max_edits is not None and self.edits >= self.max_edits
        if edits_are_spent or (self.max_tokens is not None and self.tokens >= self.max_tokens):
            raise self.reached()
        self.edits += 1

    def take_back(self) -> None:
        """The server did nothing for an edit that was begun."""
        self.edits -= 1

    def spend(self, usage: Usage | None) -> None:
        """Count what an edit used; edits in flight may go over the limit."""
        self.tokens += (usage.total_tokens or 0) if usage is not None else 0

    @property
    def is_passed(self) -> bool:
        """Whether edits that were in flight used more tokens than were allowed."""
        return self.max_tokens is not None and self.tokens > self.max_tokens

    def reached(self) -> LimitReachedError:
        """What is told of the limit that stops a run, with what is counted now, over all runs."""
        if self.max_tokens is not None and self.tokens >= self.max_tokens:
            verb, why = ("passed", " (edits in flight may go over it)") if self.is_passed else ("reached", "")
            told = f"max_tokens={self.max_tokens} is {verb}{why}: {self.tokens:,} tokens were used in all."
        else:
            told = f"max_edits={self.max_edits} is reached: {self.edits:,} edits were sent in all."
        return LimitReachedError(f"{told} Nothing more was sent. {_GO_ON}")
