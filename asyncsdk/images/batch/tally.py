"""Which edits of a batch have ended, and how, while its files are read (pure): none twice, and none forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from attrs import define, field

from asyncsdk.batches import Batch
from asyncsdk.counts import are, counted, were
from asyncsdk.images.batch.next_step import has_begun
from asyncsdk.images.batch.verdicts import LineVerdict, verdict_of_none
from asyncsdk.images.outcome import Status

Taken = Literal["first", "better", "again", "unknown"]

_RANK: dict[Status, int] = {"failed": 0, "refused": 1, "uncertain": 2, "done": 3}


@define(eq=False)
class Tally:
    """The edits of one batch.

    Args:
        items: The item of the ledger by its `custom_id`, for each line of the input file.
    """

    items: Mapping[str, str]
    unknown: int = field(default=0, init=False)  # lines whose custom_id is not of this batch
    _ended: dict[str, Status] = field(factory=dict, init=False)
    _succeeded: set[str] = field(factory=set, init=False)  # those with a response that is not an error
    _is_cut: bool = field(default=False, init=False)

    def take(self, verdict: LineVerdict) -> Taken:
        """What a line is: the first of its edit; a better one, such as a picture after an error; another one, which
        changes nothing; or one of no edit of this batch. The pictures of the last two are paid, too: keep them.
        """
        custom_id = verdict.custom_id
        self._is_cut = self._is_cut or not verdict.is_whole
        if custom_id is None or custom_id not in self.items:
            self.unknown += 1
            return "unknown"
        if verdict.status in {"done", "uncertain"} and getattr(verdict.error, "status_code", None) is None:
            self._succeeded.add(custom_id)
        before = self._ended.get(custom_id)
        if before is not None and _RANK[verdict.status] <= _RANK[before]:
            return "again"
        self._ended[custom_id] = verdict.status
        return "first" if before is None else "better"

    def fork(self) -> Tally:
        """The same, to read a file with that may have to be read again."""
        other = Tally(self.items)
        other.unknown, other._ended, other._is_cut = self.unknown, dict(self._ended), self._is_cut
        other._succeeded = set(self._succeeded)
        return other

    def rest(self) -> Iterator[str]:
        """The items of which no line came, once both files were read to their ends."""
        return (item for custom_id, item in self.items.items() if custom_id not in self._ended)

    def verdict_of_rest(self, batch: Batch | None, *, are_files_read: bool = True) -> LineVerdict:
        """How each edit of `rest` ended: unpaid only where surely none of its lines is missing.

        Args:
            batch: The batch at its end; None where it can't be found any more.
            are_files_read: Whether all its files were read to their ends.
        """
        if batch is None:
            return verdict_of_none(None)
        doubt = self._doubt(batch) if are_files_read else "a file with its results can't be read"
        return verdict_of_none(batch.status, doubt=doubt)

    def _doubt(self, batch: Batch) -> str:
        """Why a line may be missing; empty where none can be."""
        counts = batch.request_counts
        if self._is_cut:
            return "a line can't be read to its end"
        if self.unknown:
            return f"{counted(self.unknown, 'line')} {are(self.unknown)} of none of its edits"
        if counts is None or counts.completed is None:
            return "the server does not say how many of its edits were done"
        if counts.completed > len(self._succeeded):
            done = counts.completed
            return f"{done:,} of its edits {were(done)} done, and its files have {len(self._succeeded):,}"
        if has_begun(batch) and (counts.total or 0) < len(self.items):
            return f"the server counts {counted(counts.total or 0, 'edit')}, and it has {len(self.items):,}"
        return ""
