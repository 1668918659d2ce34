"""One connection to a database: made when it is needed, made again after an outage, one statement at a time."""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from attrs import define, field

from asyncsdk.clock import boot_time
from asyncsdk.errors import ConfigurationError
from asyncsdk.extras import install_command
from asyncsdk.postgres import DatabaseFault, NotMadeError
from asyncsdk.postgres.faults import (
    PATIENCE,
    READ_ONLY,
    VERSION,
    Facts,
    Passing,
    Trouble,
    fault,
    keeps_connection,
    not_brought_up,
    not_fit,
    passing,
    pause_after,
)
from asyncsdk.postgres.statements import first_version, schema_steps, statement
from asyncsdk.postgres.url import DatabaseURL
from asyncsdk.threads import DaemonThreadPool

if TYPE_CHECKING:
    import asyncpg

CONNECT_SECONDS = 10.0
STATEMENT_SECONDS = 30.0
SCHEMA_SECONDS = 60.0  # for the tables, and to wait for others who make them
CLOSE_SECONDS = 0.3
REFUSED_SECONDS = 1.0  # after a database that never worked has failed, others fail without an attempt

_NUMERIC_OR_PATH = re.compile(r"[/@].*|[^:]*:.*|[0-9.]*")

_names = DaemonThreadPool("asyncsdk-postgres-dns", limit=2)

logger = logging.getLogger(__name__)


class _ReadOnlyError(Exception):
    """The server takes no writes now: a primary that fails over is such for a while."""


@define(eq=False)
class PostgresConnection:
    """Runs statements that may be run twice: one whose answer was lost is run again, on a new connection.

    So each statement is a transaction of its own, as a pooler wants it, and written so that a second time changes
    nothing. Lists go as JSON: of an array asyncpg first asks what it is, and changes settings of the session for that.
    """

    _url: DatabaseURL
    _has_worked: bool = field(default=False, kw_only=True)  # so its address is good, and an outage is one
    _is_quiet: bool = field(default=False, kw_only=True)  # another connection reports the same outage
    _connection: asyncpg.Connection | None = field(default=None, init=False, repr=False)
    _turn: anyio.Lock = field(factory=anyio.Lock, init=False, repr=False)
    _facts: Facts | None = field(default=None, init=False)
    _refusal: tuple[float, DatabaseFault] | None = field(default=None, init=False)  # with its boot time
    _first: int = field(default=0, init=False)  # of several hosts: one that is silent is not asked first again
    _is_reported: bool = field(default=False, init=False)  # that it is away
    is_away: bool = field(default=False, init=False)  # the last attempt failed, and another one is to be made

    async def run(
        self,
        name: str,
        *arguments: Any,
        writes: bool = True,
        patience: float = PATIENCE,
        seconds: float = STATEMENT_SECONDS,
        lock: str | None = None,
    ) -> Sequence[asyncpg.Record]:
        """Run the statement `name`; with `lock` after that one, in one transaction.

        An outage is waited for, for `patience` seconds, once the database has worked.

        An attempt that takes longer than `seconds` is lost with its connection, and made again; to make the tables, the
        first of all has a limit of its own.

        Raises:
            DatabaseFault: It can't be run.
            NotMadeError: It only reads, and nothing was ever written.
        """
        began, attempt = boot_time(), 0
        async with self._turn:
            self._check_refusal(began)
            while True:
                try:
                    rows = await self._run(name, arguments, writes=writes, seconds=seconds, lock=lock)
                except (ConfigurationError, DatabaseFault, NotMadeError):
                    raise
                except Exception as error:  # noqa: BLE001 - asyncpg raises many kinds, and `fault` words what is unknown
                    trouble = _trouble(error)
                    if not keeps_connection(trouble):
                        self.drop()
                    attempt += 1
                    await self._pause(trouble, attempt, boot_time() - began, patience)
                except BaseException:
                    self.drop()  # what a cancelled statement has done is not known; nothing waits for it
                    raise
                else:
                    if self._is_reported:
                        logger.info("%s: it answers again", self._url.place)
                    self._has_worked, self.is_away, self._is_reported = True, False, False
                    return rows

    async def close(self) -> None:
        """Close it; the next statement makes another."""
        connection, self._connection, self.is_away = self._connection, None, False
        if connection is not None:
            with anyio.CancelScope(shield=True), suppress(Exception):
                await connection.close(timeout=CLOSE_SECONDS)

    def drop(self) -> None:
        """Let go of it at once."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # its loop may be closed
                connection.terminate()

    async def _pause(self, trouble: Trouble, attempt: int, waited: float, patience: float) -> None:
        """Wait before the next attempt. Raises DatabaseFault where there is none."""
        how = passing(trouble, has_worked=self._has_worked)
        pause = pause_after(how, attempt, waited, has_worked=self._has_worked, patience=patience)
        if pause is None:
            failure = fault(trouble, passes=how is not Passing.NEVER)
            if failure.passes and not self._has_worked:
                self._refusal = boot_time(), failure
            raise failure from None
        if how is not Passing.AT_ONCE:
            self.is_away = True
            if attempt == 2 and self._has_worked and not (self._is_quiet or self._is_reported):
                logger.warning("%s: %s. It is waited for", self._url.place, fault(trouble).reason)
                self._is_reported = True
        await anyio.sleep(pause)

    def _check_refusal(self, began: float) -> None:
        """Raise the DatabaseFault that was met just now: of many files, each would find out by itself in turn."""
        if self._refusal is not None and not self._has_worked and began < self._refusal[0] + REFUSED_SECONDS:
            raise self._refusal[1].again()

    async def _run(
        self, name: str, arguments: Sequence[Any], *, writes: bool, seconds: float, lock: str | None
    ) -> Sequence[asyncpg.Record]:
        if self._connection is None:
            first, self._first = self._first, self._first + 1
            self._connection = await connect(self._url, first=first)
            self._facts, self._first = None, first  # which answered
        with anyio.fail_after(seconds):
            facts = self._facts = self._facts or await facts_of(self._connection)
        problem = not_fit(facts, writes=writes)
        if problem is not None:
            raise problem
        if writes and facts.is_read_only:
            raise _ReadOnlyError
        if facts.version != VERSION:
            if writes:
                with anyio.fail_after(max(seconds, SCHEMA_SECONDS)):  # cut short, it would be begun again each time
                    await make_schema(self._connection)
                    self._facts = await facts_of(self._connection)
            elif (facts.version or 0) < first_version(name):
                raise NotMadeError
        with anyio.fail_after(seconds):
            if lock is None:
                return list(await self._connection.fetch(statement(name), *arguments))
            # what the lock waited for is seen only by a statement that begins after it
            async with self._connection.transaction(isolation="read_committed"):
                await self._connection.fetch(statement(lock))
                return list(await self._connection.fetch(statement(name), *arguments))


async def connect(url: DatabaseURL, *, first: int = 0) -> asyncpg.Connection:
    """Return a new connection; of several hosts, the one of this number is asked first.

    Raises ConfigurationError where asyncpg is not installed, and what that raises.
    """
    try:
        import asyncpg
    except ImportError:
        raise ConfigurationError(
            f"{url.place} needs asyncpg: {install_command('postgres')}. Nothing was sent."
        ) from None
    name = {} if "application_name=" in url.dsn else {"application_name": os.environ.get("PGAPPNAME") or "asyncsdk"}
    with anyio.fail_after(CONNECT_SECONDS + 1):
        await _look_up(url.hosts or tuple(os.environ.get("PGHOST", "").split(",")))
        return await asyncpg.connect(
            url.dsn,
            service=os.environ.get("PGSERVICE"),  # of libpq's variables, the one that asyncpg does not read by itself
            timeout=CONNECT_SECONDS,  # for all hosts together
            **({} if "PGPORT" in os.environ else url.from_host(first)),
            statement_cache_size=0,  # a pooler lends another session for the next statement
            server_settings=name,
        )


async def _look_up(hosts: Sequence[str]) -> None:
    """Resolve names in daemon threads before asyncpg does so in one that the exit of the program waits for."""
    with anyio.move_on_after(CONNECT_SECONDS) as scope:
        for host in hosts:
            if not _NUMERIC_OR_PATH.fullmatch(host):
                with suppress(OSError, UnicodeError):  # asyncpg meets it too, and says so
                    await _names.run(partial(socket.getaddrinfo, host, None))
    if scope.cancelled_caught:
        raise socket.gaierror(socket.EAI_AGAIN, "not resolved in time")


async def facts_of(connection: asyncpg.Connection) -> Facts:
    """Look at the server."""
    [row] = await connection.fetch(statement("facts"))
    version = None
    if row["is_made"]:
        [made] = await connection.fetch(statement("version"))
        version = made["version"]
    return Facts(row["server_version"], row["synchronous_commit"], row["is_read_only"], version)


async def make_schema(connection: asyncpg.Connection) -> None:
    """Make the schema, or bring it to this version, in one transaction; once, also where many begin at once."""
    import asyncpg

    made = None
    try:
        async with connection.transaction(isolation="read_committed"):  # in others it sees what was before the lock
            await connection.fetch(statement("schema_lock"))
            made = (await facts_of(connection)).version  # again: another process may just have done it
            for step in schema_steps(made, VERSION):
                await connection.execute(step)
    except asyncpg.InsufficientPrivilegeError:
        if made is None:
            raise
        raise not_brought_up(made) from None


def _trouble(error: Exception) -> Trouble:
    """What is known of an error, with nothing of the URL."""
    import asyncpg

    if isinstance(error, _ReadOnlyError):
        return Trouble(READ_ONLY)
    if isinstance(error, asyncpg.PostgresError):
        message = "" if error.sqlstate is None or error.sqlstate[:2] in {"28", "3D"} else str(error).partition("\n")[0]
        return Trouble(error.sqlstate or "XX000", message)
    for kinds, word in _WORDS:
        if isinstance(error, kinds):
            return Trouble(kind=word)
    if isinstance(error, asyncpg.ClientConfigurationError | ValueError | TypeError):
        return Trouble(kind="settings")
    if type(error) is ConnectionError:  # asyncpg's own; the system raises its subclasses
        return Trouble(kind="not postgres" if "rejected SSL" in str(error) else "cut")
    if isinstance(error, asyncpg.InternalClientError | asyncpg.UnsupportedClientFeatureError):
        return Trouble(kind="not postgres")
    return Trouble(kind="cut" if isinstance(error, asyncpg.InterfaceError) else "refused")


_WORDS: list[tuple[type[Exception] | tuple[type[Exception], ...], str]] = [
    (ssl.SSLCertVerificationError, "certificate"),
    (ssl.SSLError, "not postgres"),
    (TimeoutError, "silent"),
    (socket.gaierror, "unresolved"),
    ((FileNotFoundError, NotADirectoryError, PermissionError), "file"),
    ((ConnectionResetError, ConnectionAbortedError, BrokenPipeError, EOFError), "cut"),
]
