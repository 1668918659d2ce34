"""How the edits of a run ended, counted, and what that comes to as an exit code (pure)."""

from __future__ import annotations

from collections import Counter

from attrs import define, field

from asyncsdk.cli.exits import Exit
from asyncsdk.images.outcome import Problem

_BAD = ("refused", "failed", "uncertain", "unsaved", "gone", "malformed", "left out")


@define
class Tally:
    """`counts` by status; what is paid and not saved counts as *unsaved*, and as *gone* what was saved once.

    Rows that are no edits are *malformed*; what could not be looked at in a folder is *left out*. `reasons` tell why
    edits were refused.
    """

    counts: Counter[str] = field(factory=Counter)
    reasons: Counter[str] = field(factory=Counter)

    def add(self, status: str, problem: Problem | None) -> None:
        """Count an edit that ended."""
        self.counts[kind_of(status, problem)] += 1
        if status == "refused":
            self.reasons[reason_of(problem)] += 1

    @property
    def code(self) -> Exit:
        """The exit code of a run that saw all its edits."""
        if not any(self.counts[status] for status in _BAD):
            return Exit.DONE
        unsent = self.reasons["before sending"] + self.counts["malformed"]
        return Exit.USAGE if unsent == self.counts.total() else Exit.SOME_FAILED


def kind_of(status: str, problem: Problem | None) -> str:
    """What an edit counts as: its status, or *unsaved* or *gone* where it is paid and pictures are not on disk."""
    if problem is None or problem.type != "SaveError":
        return status
    return "gone" if status == "skipped" else "unsaved"


def reason_of(problem: Problem | None) -> str:
    """Who refused an edit."""
    if problem is not None and (problem.moderation is not None or problem.code == "moderation_blocked"):
        return "moderation"
    return "before sending" if problem is None or problem.status_code is None else "by the server"
