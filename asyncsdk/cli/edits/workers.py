"""Says which process edits into a directory while another command looks at it."""

from __future__ import annotations

from pathlib import Path

from asyncsdk.cli.output import complain


async def tell_who_works(directory: Path) -> None:
    """Say that a run has the ledger in `directory`, where one has: what is in flight is found there as uncertain."""
    from asyncsdk.images.ledger.file import owner_of
    from asyncsdk.wal import name_of

    owner = await owner_of(directory)
    if owner is not None:
        complain(
            f"note: {name_of(owner)} is editing there right now: what it has in flight counts as uncertain for now."
        )
