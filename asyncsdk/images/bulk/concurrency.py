"""How many edits of a run may run at a time, here."""

from __future__ import annotations

import logging

from asyncsdk import files, open_files
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.bulk.intake import thread_errors_typed

MOST_AT_ONCE = 256
_WHOLE = f"whole number from 1 to {MOST_AT_ONCE}"

logger = logging.getLogger(__name__)


def check_concurrency(concurrency: object) -> None:
    """Raise ConfigurationError for what is not a number of edits."""
    if type(concurrency) is not int or not 1 <= concurrency <= MOST_AT_ONCE:
        raise ConfigurationError(f"concurrency={concurrency!r} is not a {_WHOLE}. Nothing was sent.")


async def possible(concurrency: int) -> int:
    """`concurrency`, or fewer if this process may open too few files. Raises ConfigurationError for less than one."""
    with thread_errors_typed():
        most = await files.in_thread(open_files.most_edits)
    if most is None or most >= concurrency:
        return concurrency
    if most == 0:
        raise ConfigurationError(
            f"this process may open {open_files.limit_of_files()} files, too few to save the pictures of one edit. "
            "Nothing was sent.\n  Let it open more (ulimit -n 1024), or close what it has open."
        )
    logger.warning("%s", open_files.lowered(concurrency, most))
    return most
