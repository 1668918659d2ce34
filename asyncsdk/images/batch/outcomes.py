"""`BatchOutcomes`: how the edits of batches end, and how far each batch is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define

from asyncsdk.images.batch.progress import BatchProgress
from asyncsdk.images.bulk.outcomes import Outcomes


@define(eq=False)
class BatchOutcomes(Outcomes):
    """How edits end that go in batches: iterate over it for an `EditOutcome` as each edit ends, in no order.

    An outcome has no `result`: its pictures are in its `files` or `objects`, and were never in memory as a whole. Its
    status is "batched" where its batch has not ended and is not waited for (`detach`, `stop`): the same call goes on.

    Attributes:
        batches: How far each batch is: those that this call created, and those of earlier ones that had not ended.
        counts: As of `Outcomes`, as all that is not described here.
        in_flight: How many edits are in batches that have not ended.
    """

    _progress: Mapping[str, BatchProgress]
    _leave: Callable[[], None]

    def stop(self, *, all_copies: bool = False) -> None:
        """Send nothing new, and wait for no batch: the results that are being read are still saved.

        Go on iterating for what has ended, and for what is in batches ("batched"): the same call collects it later.

        Args:
            all_copies: Also stop the other processes of this run, where the ledger is in a database.
        """
        super().stop(all_copies=all_copies)
        self._leave()

    @property
    def batches(self) -> tuple[BatchProgress, ...]:
        """How far each batch is, in the order of their numbers."""
        return tuple(sorted(self._progress.values(), key=lambda batch: batch.number))

    @property
    def in_flight(self) -> int:
        """How many edits are in batches that have not ended."""
        return sum(batch.edits - batch.recorded for batch in self._progress.values() if batch.is_open)
