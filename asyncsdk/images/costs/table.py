"""Where the table of prices comes from: the package's own, or a file of the caller's."""

from __future__ import annotations

import logging
import os
from datetime import UTC, date, datetime
from functools import cache
from pkgutil import get_data

from asyncsdk import files
from asyncsdk.errors import ConfigurationError
from asyncsdk.images.costs.prices import PriceTable, read_table

logger = logging.getLogger(__name__)
Prices = PriceTable | str | os.PathLike[str]

_LARGEST = 2**20  # bytes


def today() -> date:
    """The day that the age of prices is counted to."""
    return datetime.now(UTC).date()


@cache
def packaged() -> PriceTable:
    """The table of this version."""
    text = get_data(__package__, "prices.json")
    assert text is not None  # noqa: S101 - part of the package
    return read_table(text, "the package")


async def current_prices(given: Prices | None) -> PriceTable:
    """As `prices_from`, with a warning in the log if they are old. Raises ConfigurationError."""
    table = await prices_from(given)
    if (warning := table.warning(today())) is not None:
        logger.warning("%s", warning)
    return table


async def prices_from(given: Prices | None) -> PriceTable:
    """The table that is given, or in a file that is, or else the package's. Raises ConfigurationError."""
    if given is None:
        return packaged()
    if isinstance(given, PriceTable):
        return given
    name = os.fspath(given)
    try:
        return read_table(await files.read(name, limit=_LARGEST), name)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"the prices in {name} can't be read: {reason}. Nothing was sent.") from error
