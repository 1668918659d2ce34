"""The options of a call of `edit_batch`, checked (pure)."""

from __future__ import annotations

import math

from attrs import frozen

from asyncsdk.errors import ConfigurationError
from asyncsdk.images.batch.cutting import MOST_LINES

FIRST_POLL, LONGEST_POLL, POLL_GROWS = 5.0, 60.0, 1.5  # seconds between two looks at a batch


@frozen(kw_only=True)
class BatchOptions:
    """How edits are put into batches, and whether these are waited for. Raises ConfigurationError.

    Args:
        size: The most edits of a batch; None: as many as the API takes.
        poll: Seconds between two looks at a batch; None: 5, growing to 60.
        detach: Whether to leave once all batches are created.
        keep_files: Whether the files on the server stay.
    """

    size: int | None = None
    poll: float | None = None
    detach: bool = False
    keep_files: bool = False

    def __attrs_post_init__(self) -> None:
        if self.size is not None and (type(self.size) is not int or not 1 <= self.size <= MOST_LINES):
            raise ConfigurationError(
                f"batch_size={self.size!r} is not a whole number from 1 to {MOST_LINES:,}. Nothing was sent."
            )
        is_number = isinstance(self.poll, int | float) and not isinstance(self.poll, bool)
        if self.poll is not None and not (is_number and math.isfinite(self.poll) and self.poll > 0):
            raise ConfigurationError(f"poll={self.poll!r} is not a number of seconds above 0. Nothing was sent.")

    def wait_after(self, wait: float | None) -> float:
        """How many seconds to wait before the next look; `wait` were waited before the last one."""
        if self.poll is not None:
            return self.poll
        return FIRST_POLL if wait is None else min(wait * POLL_GROWS, LONGEST_POLL)
