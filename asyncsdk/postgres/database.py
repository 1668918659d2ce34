"""A database as one process uses it: two connections, one of them for the lease, open while something is held."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Any

import anyio
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.clock import boot_time
from asyncsdk.postgres import DatabaseFault
from asyncsdk.postgres.connection import PostgresConnection
from asyncsdk.postgres.faults import PATIENCE
from asyncsdk.postgres.lease import LeaseTerms, is_good, may_take_lapsed, until_renewal
from asyncsdk.postgres.machine import this_machine
from asyncsdk.postgres.url import DatabaseURL
from asyncsdk.wal.lock import this_host

if TYPE_CHECKING:
    import asyncpg

RENEW_AGAIN_SECONDS = 1.0  # after a renewal that failed, as of a database that was dropped

logger = logging.getLogger(__name__)


@define(eq=False)
class Database:
    """One for each process and event loop. All that it holds, it holds under the lease of `holder`."""

    _url: DatabaseURL
    _terms: LeaseTerms
    holder: uuid.UUID = field(factory=uuid.uuid4, init=False)
    _work: PostgresConnection = field(init=False)
    _lease: PostgresConnection = field(init=False)
    _users: int = field(default=0, init=False)
    _renewed: float | None = field(default=None, init=False)
    _keeping: anyio.Lock = field(factory=anyio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._work = PostgresConnection(self._url)
        self._lease = PostgresConnection(self._url, has_worked=True, is_quiet=True)  # it is used after the other

    @property
    def is_in_use(self) -> bool:
        """Whether a block of `session` runs."""
        return self._users > 0

    async def run(self, name: str, *arguments: Any, writes: bool = True) -> Sequence[asyncpg.Record]:
        """Run a statement within a session, as `PostgresConnection.run` does."""
        return await self._work.run(name, *arguments, writes=writes)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """Keep the connections for the length of the block; the last one out closes them."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._renewed = None
                await self._work.close()
                await self._lease.close()

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """A session in which the lease of this process is kept."""
        async with self.session():
            await self.ensure_lease()
            async with tasks.group() as group:
                group.start_soon(self._keep)
                yield
                group.cancel_scope.cancel()

    async def ensure_lease(self) -> None:
        """Return once the lease is good: something may begin. Raises DatabaseFault."""
        if not is_good(self._renewed, boot_time(), self._terms):
            await self._renew(self._work)

    @property
    def may_take_lapsed(self) -> bool:
        """Whether what a lapsed lease holds may be taken now."""
        return may_take_lapsed(self._work.connected, boot_time(), self._terms)

    async def _keep(self) -> None:
        """Renew the lease until this is cancelled: one of all that are here at a time, on a connection of its own."""
        async with self._keeping:
            while True:
                await anyio.sleep(until_renewal(self._renewed, boot_time(), self._terms))
                try:
                    await self._renew(self._lease, patience=inf)
                except DatabaseFault as failed:
                    logger.warning("%s: the lease was not renewed: %s", self._url.place, failed.reason)
                    await anyio.sleep(RENEW_AGAIN_SECONDS)

    async def _renew(self, connection: PostgresConnection, patience: float = PATIENCE) -> None:
        asked = boot_time()  # before it: the lease that is answered for is no longer than this one
        mine = self.holder, os.getpid(), this_host(), this_machine(), self._terms.lease
        await connection.run("holder_renew", *mine, patience=patience)
        self._renewed = max(asked, self._renewed or asked)
