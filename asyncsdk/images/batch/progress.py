"""How far a batch is, as a value that a display shows (pure)."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from asyncsdk.batches import Batch

BatchStep = Literal["sending", "validating", "in_progress", "finalizing", "reading", "waiting", "ended", "uncertain"]
_STEPS: dict[str | None, BatchStep] = {
    "validating": "validating",
    "in_progress": "in_progress",
    "finalizing": "finalizing",
    "cancelling": "finalizing",
}


@frozen(kw_only=True)
class BatchProgress:
    """How far one batch is.

    Attributes:
        number: Its number in the ledger, from 1.
        model: The model of its edits.
        step: "sending": its input file is uploaded, and it is created; "validating", "in_progress", "finalizing": as
            the server says, "in_progress" also for what this version does not know; "reading": its results are read
            and saved; "waiting": the server has too much of ours, and it is created again once another has ended;
            "ended": all its edits are recorded; "uncertain": it can't be found, and its edits may be paid.
        edits: How many edits are in it.
        completed: How many the server has done so far.
        failed: How many have failed there so far.
        recorded: How many are recorded here, with their pictures.
        batch_id: The server's id of it; None before it is created.
        expires_at: When what is not done by then is dropped, in unix seconds.
        expected_end: When it ends at its pace so far, in unix seconds; None while that can't be said.
        reason: Why it waits, or failed as a whole.
    """

    number: int
    model: str
    step: BatchStep
    edits: int
    completed: int = 0
    failed: int = 0
    recorded: int = 0
    batch_id: str | None = None
    expires_at: float | None = None
    expected_end: float | None = None
    reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether something of it is yet to come."""
        return self.step not in {"ended", "uncertain"}


def progress_of(batch: Batch, *, number: int, edits: int, now: float) -> BatchProgress:
    """How far a batch is that the server reports as `batch` at `now`, by its own clock."""
    counts = batch.request_counts
    completed, failed = (0, 0) if counts is None else (counts.completed or 0, counts.failed or 0)
    return BatchProgress(
        number=number,
        model=batch.model or "",
        step="reading" if batch.is_ended else _STEPS.get(batch.status, "in_progress"),
        edits=edits,
        completed=completed,
        failed=failed,
        batch_id=batch.id,
        expires_at=batch.expires_at,
        expected_end=_expected_end(batch, completed + failed, edits, now),
    )


def _expected_end(batch: Batch, done: int, edits: int, now: float) -> float | None:
    """At the pace since it was begun: no earlier than now, no later than it expires."""
    began = batch.in_progress_at or batch.created_at
    if batch.is_ended or began is None or not done or now <= began:
        return None
    end = now + (now - began) * max(0, edits - done) / done
    return end if batch.expires_at is None else min(end, batch.expires_at)
