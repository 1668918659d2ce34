"""The limits that a caller sets on a run, counted over all runs of one ledger (pure)."""

from __future__ import annotations

from attrs import define

from asyncsdk.errors import ConfigurationError, LimitReachedError
from asyncsdk.models import Usage

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
