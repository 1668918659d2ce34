"""How batches are shown while they go, and what is said of those that have not ended (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from asyncsdk.cli import units
from asyncsdk.counts import are

if TYPE_CHECKING:
    from asyncsdk.images.batch.progress import BatchProgress

MOST_SHOWN = 6  # batches under way: with more, the first of them and a count


def shown(batches: Sequence[BatchProgress]) -> tuple[list[BatchProgress], int]:
    """The batches under way that are shown, and how many more there are."""
    under_way = [batch for batch in batches if batch.is_open]
    return under_way[:MOST_SHOWN], len(under_way[MOST_SHOWN:])


def batch_lines(batches: Sequence[BatchProgress], *, now: float) -> list[str]:
    """`batch 2: 412 of 500, 3 failed, 26 min left`: a line for each batch under way. `now` is in unix seconds."""
    first, more = shown(batches)
    lines = [f"batch {batch.number}: {', '.join(facts(batch, now=now))}" for batch in first]
    return [*lines, more_like_these(more)] if more else lines


def more_like_these(more: int) -> str:
    """`2 more batches under way`."""
    return f"{more:,} more {'batch' if more == 1 else 'batches'} under way"


def facts(batch: BatchProgress, *, now: float) -> list[str]:
    """How far one batch is, in words."""
    match batch.step:
        case "sending":
            return [f"{units.counted(batch.edits, 'edit')}, being sent"]
        case "validating":
            return [f"{units.counted(batch.edits, 'edit')}, being checked by the server"]
        case "reading":
            return [f"{batch.recorded:,} of {batch.edits:,} saved"]
        case "waiting":
            return [f"{units.counted(batch.edits, 'edit')}, waiting{f': {batch.reason}' if batch.reason else ''}"]
        case "finalizing":
            return [*_made(batch), "results are being written"]
    left = [] if batch.expected_end is None else [f"{units.duration(max(1.0, batch.expected_end - now))} left"]
    return [*_made(batch), *left]


def _made(batch: BatchProgress) -> list[str]:
    failed = [f"{batch.failed:,} failed"] if batch.failed else []
    return [f"{batch.completed + batch.failed:,} of {batch.edits:,}", *failed]


def seconds_left(batches: Sequence[BatchProgress], *, now: float) -> float | None:
    """Until the last batch under way is expected to end; None while that can't be said of each."""
    under_way = [batch for batch in batches if batch.is_open and batch.step not in {"reading", "finalizing"}]
    ends = [batch.expected_end for batch in under_way]
    known = [end for end in ends if end is not None]
    return max(known) - now if known and len(known) == len(ends) else None


def stopping(batches: Sequence[BatchProgress], grace: float) -> str:
    """The message after the first signal: what goes on without us, and what is still saved within `grace` seconds."""
    said = ["Stopping: nothing new is sent."]
    if under_way := sum(batch.is_open and batch.batch_id is not None for batch in batches):
        go_on = "1 batch goes on" if under_way == 1 else f"{under_way:,} batches go on"
        said.append(f"{go_on} at the server: the same command collects what is done there.")
    if any(batch.step == "reading" for batch in batches):
        said.append(
            f"Results that are being read are still saved, up to {grace:g} s. Ctrl-C again stops at once: the same "
            "command then reads them again."
        )
    return " ".join(said)


def in_batches(edits: int, *, direct: bool) -> str:
    """How to go on with edits whose batches have not ended; in a `direct` run another command does that."""
    command = "this command with --batch" if direct else "the same command"
    return (
        f"The {edits:,} in batches {are(edits)} with the server, which has up to a day: {command} goes on and saves "
        "what is done. Results are there for 7 days at least."
    )
