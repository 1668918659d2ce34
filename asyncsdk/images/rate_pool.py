"""The rate of a run: a limit of this process alone, or a pool that the processes of a shared ledger have together."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from asyncsdk.errors import ConfigurationError
from asyncsdk.images.ledger.file import FileLedger
from asyncsdk.images.ledgers import ChosenLedger, LedgerPlace, database_of
from asyncsdk.limiter import Limiter, RateLimiter
from asyncsdk.ratelimit import INPUT_IMAGES

if TYPE_CHECKING:
    from asyncsdk.images.ledger.shared import SharedLedger

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(?!sk-)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_EACH_ITS_OWN = (
    "other processes work with the ledger in %s, and each copy has its own limit of the rate: together they send up to "
    "that many times as much. rate_pool='NAME' for all copies (--rate-pool NAME) makes it one limit."
)


def check_pool(name: object, ledger: ChosenLedger) -> None:
    """Raise ConfigurationError unless a run with this `ledger` can use a pool of this name, or none."""
    if name is None:
        return
    if not isinstance(name, str) or not _NAME.fullmatch(name):  # it is not repeated: it may be a key
        raise ConfigurationError(
            "the name of a rate pool is up to 64 letters of ASCII, digits, dots, dashes and underscores, and does not "
            "begin with sk-: it is kept in the database, where no key may be. Nothing was sent."
        )
    if database_of(ledger) is None:
        raise ConfigurationError(
            f"rate_pool={name} needs a ledger in a database (ledger='postgresql://…'), which is where processes share "
            "it. Nothing was sent.\n  One process alone needs no pool: give its limit with images_per_minute=N."
        )


@asynccontextmanager
async def limiter_of(
    place: LedgerPlace | None, ledger: FileLedger | SharedLedger | None, *, per_minute: float | None
) -> AsyncIterator[Limiter]:
    """The limiter of a run, for the length of the block. Raises ConfigurationError, LedgerError."""
    INPUT_IMAGES.checked(per_minute)
    if place is None or place.shared is None or ledger is None or isinstance(ledger, FileLedger):
        yield RateLimiter(INPUT_IMAGES, per_minute)
    elif place.rate_pool is None:
        if ledger.hosts:
            logger.warning(_EACH_ITS_OWN, ledger.place)
        yield RateLimiter(INPUT_IMAGES, per_minute)
    else:
        from asyncsdk.images.ledger.claims import worded
        from asyncsdk.postgres.database import shared_database
        from asyncsdk.postgres.rate_pool import PoolLimiter

        database = shared_database(place.shared.url, place.shared.terms)
        limiter = PoolLimiter(
            INPUT_IMAGES, per_minute, place.rate_pool, ledger.run, database, partial(worded, ledger.place)
        )
        async with limiter.open():
            yield limiter
