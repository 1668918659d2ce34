"""What of a ledger's file can't be believed, and what that means for money (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asyncsdk.error_details import LedgerDamage
from asyncsdk.errors import LedgerDamagedError

_PRINTABLE = bytes(range(0x20, 0x7F))


def is_torn(line: bytes, rest: bytes) -> bool:
    """Whether `rest`, which can't be read of the last `line` of a file, is the beginning of one that was cut off.

    A crash cuts a line off; it neither changes what is before the cut nor ends it with a newline.
    """
    return not line.endswith(b"\n") and line.endswith(rest) and not rest.strip(_PRINTABLE)


def damaged(directory: Path, damage: Sequence[LedgerDamage]) -> LedgerDamagedError:
    """The error of a run that may not begin without the caller's consent."""
    error = LedgerDamagedError(
        f"the ledger in {directory} is damaged: {'; '.join(map(str, damage))}. Edits recorded there may have been "
        "paid, and would be paid again. Nothing was sent.\n"
        "  Put a good copy of the file in its place if there is one. Else the same call with accept_damage=True goes "
        "on with what is intact; the damaged file is kept beside it."
    )
    error.damage = tuple(damage)
    return error
