"""Says which process edits into a directory while another command looks at it."""

from __future__ import annotations

from asyncsdk.cli.output import complain
from asyncsdk.wal import Owner, name_of


def tell_who_works(holder: Owner | None) -> None:
    """Say that a process has the ledger, if one has: what it has in flight is found there as uncertain.

    It is asked for before the ledger is read, or one that ends meanwhile would leave what it had unexplained.
    """
    if holder is not None:
        complain(
            f"note: {name_of(holder)} is editing there right now: what it has in flight counts as uncertain for now."
        )
