"""Which ledger a run has: none, the one in a directory, or one in a database that machines share."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen

from asyncsdk import files
from asyncsdk.images.bulk.policy import Limits, ReservedLimits
from asyncsdk.images.costs.pricing import Pricing
from asyncsdk.images.destination import LEDGER, OWN_DIRECTORY
from asyncsdk.images.ledger.file import FileLedger, load_ledger, make_place, open_ledger
from asyncsdk.images.ledger.messages import worded
from asyncsdk.postgres.url import is_database_url
from asyncsdk.remote.address import SCHEMES, local_directory
from asyncsdk.timing import DEFAULT_TIMING
from asyncsdk.version import __version__
from asyncsdk.wal.lock import this_host

if TYPE_CHECKING:
    from asyncsdk.images.ledger.postgres import PostgresLedger
    from asyncsdk.images.ledger.shared import SharedLedger

logger = logging.getLogger(__name__)

_SPREAD = (
    "these edits are also made on %s: %s has to be a directory that all of these machines share. Else each of them has "
    "the pictures that it made, and no other."
)
VARIABLE = "ASYNCSDK_LEDGER"
_OF_FILES = {"file", *SCHEMES}  # URLs of files: what is wrong with them is said where they become a directory
ChosenLedger: TypeAlias = "str | os.PathLike[str] | PostgresLedger | None"


def ledger_from(given: ChosenLedger) -> ChosenLedger:
    """The ledger that a caller named, else the one of ASYNCSDK_LEDGER: a directory, or a database.

    Raises ConfigurationError for a URL that can't be read.
    """
    chosen = given if given is not None else os.environ.get(VARIABLE) or None
    if isinstance(chosen, str) and is_database_url(chosen) and chosen.partition(":")[0].lower() not in _OF_FILES:
        from asyncsdk.images.ledger.postgres import PostgresLedger

        return PostgresLedger(chosen)
    return chosen


def database_of(ledger: ChosenLedger) -> PostgresLedger | None:
    """The ledger, if it is in a database."""
    return None if ledger is None or isinstance(ledger, str | os.PathLike) else ledger


def directory_of(ledger: ChosenLedger, out: Path | None) -> Path:
    """The directory of this machine that a ledger has: `out` is where the pictures go, if that is on this machine.

    Raises ConfigurationError for a URL of something else.
    """
    if isinstance(ledger, str | os.PathLike):
        return local_directory(ledger, LEDGER)
    if out is not None or ledger is None:
        return (out or Path()) / OWN_DIRECTORY
    from platformdirs import user_state_path

    name = hashlib.sha256(ledger.url.place.encode()).hexdigest()[:16]
    return user_state_path("asyncsdk", appauthor=False) / "ledgers" / name


@frozen(kw_only=True)
class LedgerPlace:
    """The ledger of a run: a directory, and the database if it is there. `out` is where the pictures go.

    `is_remote`: that is in a bucket. `rate_pool`: which pool there has the rate of the run.
    """

    directory: Path
    shared: PostgresLedger | None = None
    out: str | None = None
    is_remote: bool = False
    accept_damage: bool = False
    rate_pool: str | None = None
    idle: float = DEFAULT_TIMING.thread_idle

    @asynccontextmanager
    async def open(self, *, for_batches: bool = False) -> AsyncIterator[FileLedger | SharedLedger]:
        """Own it, or join the run that has it, for the length of the block. Raises LedgerError."""
        if self.shared is None:
            options: dict[str, Any] = {"accept_damage": self.accept_damage, "idle": self.idle}
            async with open_ledger(self.directory, for_batches=for_batches, **options) as ledger:
                yield ledger
            return
        with worded(self.directory):
            await files.in_thread(make_place, self.directory)
        options = {"asyncsdk": __version__} | ({} if self.out is None else {"out": self.out})
        async with self.shared.open(self.directory, options) as shared:
            if shared.hosts - {this_host()} and not self.is_remote:
                logger.warning(_SPREAD, ", ".join(sorted(shared.hosts - {this_host()})), self.out or "their place")
            yield shared

    @asynccontextmanager
    async def look(self) -> AsyncIterator[FileLedger | SharedLedger]:
        """Read it only, for the length of the block. Raises LedgerError."""
        if self.shared is None:
            yield await load_ledger(self.directory)
            return
        async with self.shared.look(self.directory) as shared:
            yield shared


def limits_with(limits: Limits, ledger: FileLedger | SharedLedger | None, pricing: Pricing) -> Limits:
    """The limits, with the prices of a run and with what earlier ones used: a shared ledger counts by itself."""
    limits.pricing = pricing
    if ledger is None:
        return limits
    spent = ledger.spent
    used = spent.edits, spent.tokens, spent.most(pricing.table.dearest)
    return limits.after(*used) if isinstance(ledger, FileLedger) else ReservedLimits.of(limits, *used)
