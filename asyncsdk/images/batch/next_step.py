"""What the state of a whole batch asks for next: to wait, to read its files, or to do something else (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from attrs import field, frozen

from asyncsdk.batches import Batch, BatchProblem
from asyncsdk.counts import counted

Step = Literal["poll", "read", "wait_for_another", "cut_again", "give_up"]

MOST_ROUNDS = 3  # of a file whose lines were refused
SETTLING_SECONDS = 600.0  # after its end, in which its counts and its files may still disagree
_QUEUE_IS_FULL = "token_limit_exceeded"


@frozen(kw_only=True)
class NextStep:
    """What to do next about a batch.

    Attributes:
        step: "poll": ask again later; "read": read its files, they do not change any more; "wait_for_another": create
            it again once another batch of ours has ended; "cut_again": end the refused lines, and put the others into
            new files; "give_up": its other edits failed, and nothing was paid.
        refused: The lines of its input file that are refused, from 1, each with why.
        reason: Why it failed as a whole, or why it is asked for again.
    """

    step: Step
    refused: Mapping[int, BatchProblem] = field(factory=dict)
    reason: str = ""


def next_step(batch: Batch, *, now: float, rounds: int = 0) -> NextStep:
    """What the state of a batch asks for. `now` is the server's time, `rounds` how often its edits were cut again."""
    if not batch.is_ended:
        return NextStep(step="poll", reason=batch.status or "without a status")
    if disagreement := _disagreement(batch):
        ended_at = _ended_at(batch)
        if ended_at is not None and now - ended_at < SETTLING_SECONDS:
            return NextStep(step="poll", reason=disagreement)
    if batch.status != "failed" or has_begun(batch):
        return NextStep(step="read", reason=disagreement or "")
    problems = (batch.errors.data if batch.errors is not None else None) or ()
    reason = "; ".join(dict.fromkeys(filter(None, (problem.message or problem.code for problem in problems))))
    if any(problem.code == _QUEUE_IS_FULL for problem in problems):
        return NextStep(step="wait_for_another", reason=reason)
    refused = _refused_lines(problems)
    if refused and rounds < MOST_ROUNDS:
        return NextStep(step="cut_again", refused=refused, reason=reason)
    return NextStep(step="give_up", refused=refused, reason=reason or "the server does not say why")


def has_begun(batch: Batch) -> bool:
    """Whether some of its edits may be done, and paid."""
    counts, usage = batch.request_counts, batch.usage
    is_counted = counts is not None and (counts.completed or counts.failed)
    return bool(
        batch.in_progress_at
        or batch.output_file_id
        or batch.error_file_id
        or is_counted
        or (usage is not None and usage.total_tokens)
    )


def _refused_lines(problems: Iterable[BatchProblem]) -> dict[int, BatchProblem]:
    """The lines that are named, from 1. None where one has the number 0: that server counts them in another way."""
    refused: dict[int, BatchProblem] = {}
    for problem in problems:
        if problem.line is not None:
            refused.setdefault(problem.line, problem)
    return {} if any(line < 1 for line in refused) else refused


def _disagreement(batch: Batch) -> str | None:
    """What of its counts and its files shows that these are not all there yet."""
    counts = batch.request_counts
    if counts is None:
        return None
    completed, failed = counts.completed or 0, counts.failed or 0
    if completed and not batch.output_file_id:
        return f"{counted(completed, 'request')} succeeded, and there is no output file"
    if batch.status == "completed" and counts.total is not None and completed + failed < counts.total:
        return f"{completed + failed:,} of {counted(counts.total, 'request')} ended"
    if batch.status == "completed" and failed and not batch.error_file_id:
        return f"{counted(failed, 'request')} failed, and there is no error file"
    return None


def _ended_at(batch: Batch) -> int | None:
    ends = {
        "completed": batch.completed_at,
        "failed": batch.failed_at,
        "expired": batch.expired_at,
        "cancelled": batch.cancelled_at,
    }
    return ends.get(batch.status or "")
