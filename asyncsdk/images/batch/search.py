"""Where a batch is looked for whose create was sent, and whose response was lost (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import define, field

from asyncsdk.batches import Batch

BEFORE_INTENT = 300.0  # seconds: how far back the list is read


@define(eq=False, kw_only=True)
class CreateSearch:
    """Looks for the batch of a create whose response was lost, in the pages of the list, the newest first.

    Its input file names it: no other create has the same. Where a server leaves that out, its metadata does.

    Args:
        input_file_id: The file that it was created with.
        metadata: What it was created with.
        intended_at: When it was about to be created, in the server's unix time.
    """

    input_file_id: str
    metadata: Mapping[str, str]
    intended_at: float
    found: dict[str, Batch] = field(factory=dict, init=False)
    is_over: bool = field(default=False, init=False)  # the rest of the list is older

    def look(self, page: Iterable[Batch]) -> None:
        """Look at the next page. Two batches may be found: a gateway may repeat a request."""
        for batch in page:
            if self._is_it(batch):  # however old: clocks differ
                self.found.setdefault(batch.id, batch)
            elif batch.created_at is not None and batch.created_at < self.intended_at - BEFORE_INTENT:
                self.is_over = True

    def _is_it(self, batch: Batch) -> bool:
        if batch.input_file_id is not None:
            return batch.input_file_id == self.input_file_id
        there = batch.metadata or {}
        return bool(self.metadata) and all(there.get(name) == value for name, value in self.metadata.items())
