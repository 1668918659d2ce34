"""A database as one process uses it: two connections, one of them for the lease, open while something is held."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

import anyio
from attrs import define, field

from asyncsdk import tasks
from asyncsdk.clock import boot_time
from asyncsdk.postgres import DatabaseFault
from asyncsdk.postgres.commit import BatchWriter, Item
from asyncsdk.postgres.connection import PostgresConnection
from asyncsdk.postgres.faults import PATIENCE
from asyncsdk.postgres.lease import LeaseTerms, Renewal, is_good, is_steady, may_take_lapsed, until_renewal
from asyncsdk.postgres.machine import this_machine
from asyncsdk.postgres.url import DatabaseURL
from asyncsdk.wal.lock import this_host

if TYPE_CHECKING:
    import asyncpg

LEAST_SECONDS = 0.2  # for the answer to a renewal
FIRST_SECONDS = 5.0  # to the first one: nothing is held yet that may lapse meanwhile
RENEW_AGAIN_SECONDS = 1.0  # after a renewal that failed, as of a database that was dropped

logger = logging.getLogger(__name__)


@define(eq=False)
class Database:
    """One for each process and event loop.

    What is held in it is held under the lease of `holder`, or of a holder of one's own: all are renewed together.
    """

    _url: DatabaseURL
    _terms: LeaseTerms
    holder: uuid.UUID = field(factory=uuid.uuid4, init=False)
    _work: PostgresConnection = field(init=False)
    _lease: PostgresConnection = field(init=False)
    _users: int = field(default=0, init=False)
    _held: dict[uuid.UUID, Renewal | None] = field(factory=dict, init=False)  # and its last renewal
    _renewal: Renewal | None = field(default=None, init=False)  # the last one
    _steady_since: float | None = field(default=None, init=False)  # in seconds of elapsed time
    _owed: list[tuple[str, tuple[Any, ...]]] = field(factory=list, init=False)
    _renewing: anyio.Lock = field(factory=anyio.Lock, init=False)
    _keeping: anyio.Lock = field(factory=anyio.Lock, init=False)
    _batches: dict[Callable[..., Any], BatchWriter[Any]] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._work = PostgresConnection(self._url)
        self._lease = PostgresConnection(self._url, has_worked=True, is_quiet=True)  # it is used after the other

    @property
    def is_away(self) -> bool:
        """Whether the last attempt to use it failed, and is made again now."""
        return self._work.is_away

    async def run(
        self, name: str, *arguments: Any, writes: bool = True, patience: float = PATIENCE, lock: str | None = None
    ) -> Sequence[asyncpg.Record]:
        """Run a statement within a session, as `PostgresConnection.run` does."""
        return await self._work.run(name, *arguments, writes=writes, patience=patience, lock=lock)

    def batch(
        self, write: Callable[[Database, Sequence[Item]], Awaitable[Iterable[Exception | None]]]
    ) -> BatchWriter[Item]:
        """The one group commit of `write` into this database."""
        if write not in self._batches:
            self._batches[write] = BatchWriter(partial(write, self))
        return self._batches[write]

    def owe(self, name: str, *arguments: Any) -> None:
        """Run a statement once the lease is renewed next: one that gives back what could not be given back now."""
        self._owed.append((name, arguments))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """Keep the connections for the length of the block; the last one out closes them."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                await self._work.close()
                await self._lease.close()

    @asynccontextmanager
    async def holding(self, holder: uuid.UUID | None = None) -> AsyncIterator[None]:
        """A session in which the lease of this process is kept, or that of a `holder`, which ends with the block."""
        async with self.session():
            try:
                await self.ensure_lease(holder)
                async with tasks.group() as group:
                    group.start_soon(self._keep)
                    yield
                    group.cancel_scope.cancel()
            finally:
                if holder is not None:
                    self._held.pop(holder, None)

    async def ensure_lease(self, holder: uuid.UUID | None = None) -> None:
        """Return once the lease is good: something may begin. Raises DatabaseFault."""
        holder = holder or self.holder
        self._held.setdefault(holder, None)
        if self._owed or not is_good(self._held[holder], boot_time(), self._terms):
            async with self._renewing:
                if self._owed or not is_good(self._held.get(holder), boot_time(), self._terms):  # perhaps by another
                    await self._renew(self._work)

    async def may_take_lapsed(self) -> bool:
        """Whether what a lapsed lease holds may be taken now, as `lease` says. Raises DatabaseFault."""
        if not may_take_lapsed(self._steady_since, boot_time(), self._terms):
            return False
        await self._renew(self._work)
        return may_take_lapsed(self._steady_since, boot_time(), self._terms)

    @property
    def has_good_lease(self) -> bool:
        """Whether something may begin at this moment."""
        return is_good(self._renewal, boot_time(), self._terms)

    def is_held_since(self, moment: float) -> bool:
        """Whether something may begin now, and the lease did not lapse since `moment`, in seconds of elapsed time."""
        return self.has_good_lease and self._steady_since is not None and self._steady_since <= moment

    async def renew(self) -> None:
        """Renew the lease now: the database called it lapsed. Raises DatabaseFault."""
        async with self._renewing:
            await self._renew(self._work)

    async def _keep(self) -> None:
        """Renew the lease until this is cancelled: one of all that are here at a time, on a connection of its own."""
        async with self._keeping:
            while True:
                await anyio.sleep(until_renewal(self._renewal, boot_time(), self._terms))
                try:
                    await self._renew_somehow()
                except DatabaseFault as failed:
                    if not failed.passes:
                        logger.warning("%s: the lease was not renewed: %s", self._url.place, failed.reason)
                    await anyio.sleep(min(RENEW_AGAIN_SECONDS, self._terms.renew_every / 8))

    async def _renew_somehow(self) -> None:
        """Renew by the connection for that, else by the other: it may be dead, or a role may have no second one."""
        try:
            await self._renew(self._lease, patience=0)
        except DatabaseFault:
            await self._renew(self._work, patience=0)

    async def _renew(self, connection: PostgresConnection, patience: float = PATIENCE) -> None:
        asked = boot_time()  # before it: the lease that is answered for is no longer than this one
        held, here = list(self._held) or [self.holder], (os.getpid(), this_host(), this_machine(), self._terms.lease)
        least = FIRST_SECONDS if self._renewal is None else LEAST_SECONDS
        limit = max(self._terms.renew_every / 4, least)  # then it is asked again, on another connection
        for holder in held:
            [row] = await connection.run("holder_renew", holder, *here, patience=patience, seconds=limit)
        renewal = Renewal(asked, row["clock"])
        self._held |= {holder: renewal for holder in held if holder in self._held}
        if self._renewal is None or asked > self._renewal.asked:
            if not is_steady(self._renewal, renewal, self._terms):
                self._steady_since = asked
            self._renewal = renewal
        await self._run_owed(connection)

    async def _run_owed(self, connection: PostgresConnection) -> None:
        while self._owed:
            name, arguments = self._owed.pop()
            try:
                await connection.run(name, *arguments)
            except BaseException:
                self._owed.append((name, arguments))
                raise


_Databases: TypeAlias = dict[tuple[DatabaseURL, LeaseTerms], Database]
_databases: WeakKeyDictionary[asyncio.AbstractEventLoop, _Databases] = WeakKeyDictionary()


def shared_database(url: DatabaseURL, terms: LeaseTerms) -> Database:
    """The database as all of this process use it on the running loop: for whatever is kept there, two connections."""
    shared = _databases.setdefault(asyncio.get_running_loop(), {})
    if (url, terms) not in shared:
        shared[url, terms] = Database(url, terms)
    return shared[url, terms]
