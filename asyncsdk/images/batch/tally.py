"""Which edits of a batch have ended, and how, while its files are read (pure): none twice, and none forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from attrs import define, field

from asyncsdk.images.batch.verdicts import LineVerdict
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

    def take(self, verdict: LineVerdict) -> Taken:
        """What a line is: the first of its edit; a better one, such as a picture after an error; another one that
        changes nothing; or one of no edit of this batch, which is kept if it has pictures, and counts for nothing.
        """
        custom_id = verdict.custom_id
        if custom_id is None or custom_id not in self.items:
            self.unknown += 1
            return "unknown"
        before = self._ended.get(custom_id)
        if before is not None and _RANK[verdict.status] <= _RANK[before]:
            return "again"
        self._ended[custom_id] = verdict.status
        return "first" if before is None else "better"

    def rest(self) -> Iterator[str]:
        """The items of which no line came, once both files were read to their ends."""
        return (item for custom_id, item in self.items.items() if custom_id not in self._ended)
