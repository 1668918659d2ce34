"""`PostgresLedger`: the ledger of edits in a database, for processes on any number of machines."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import define, field, setters

from asyncsdk import tasks
from asyncsdk.errors import LedgerBusyError, LedgerError
from asyncsdk.images.costs.money import NANOS
from asyncsdk.images.ledger.claims import check_is_here, rewound, worded
from asyncsdk.images.ledger.index import spent_of
from asyncsdk.images.ledger.rows import ANSWER_LIMIT
from asyncsdk.images.ledger.shared import SharedLedger
from asyncsdk.images.ledger.whole import WholeWatch
from asyncsdk.postgres import NotMadeError
from asyncsdk.postgres.database import Database, shared_database
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.postgres.machine import is_gone_here
from asyncsdk.postgres.url import DatabaseURL, database_url
from asyncsdk.wal import Owner, name_of

PAGE = 500


def _to_url(given: str | DatabaseURL) -> DatabaseURL:
    return database_url(given, others="a directory") if isinstance(given, str) else given


@define(eq=False)
class PostgresLedger:
    """A ledger in a Postgres database, which several machines may share. Needs asyncpg.

    The same call may run as often as you like at the same time: each edit is sent by one of them. An edit is known by
    its `id`, or by the name that the command line makes of its path; each needs one. One database has one ledger. The
    tables are in a schema `asyncsdk`, made by the first that writes.

    Args:
        url: `postgresql://USER@HOST:PORT/DATABASE`, as libpq takes it. A password is better in PGPASSWORD or PGSERVICE:
            the command line of a process can be seen by others.
        options: In what all that run at the same time have to be alike, such as the prompt. Only a digest of each value
            is kept.
        terms: The lease; all processes that share a database need the same.
        part_of: The run to join, by its number and begin, for a copy that another process started: in another database
            it would send everything again.

    Raises:
        ConfigurationError: The URL can't be read. The error does not contain it.
    """

    url: DatabaseURL = field(converter=_to_url, on_setattr=setters.frozen)
    options: Mapping[str, Any] = field(factory=dict, kw_only=True, repr=False)
    terms: LeaseTerms = field(factory=LeaseTerms, kw_only=True, repr=False, on_setattr=setters.frozen)
    part_of: tuple[int, float] | None = field(default=None, kw_only=True, repr=False)

    @asynccontextmanager
    async def open(self, directory: Path, options: Mapping[str, Any]) -> AsyncIterator[SharedLedger]:
        """Join the run that is alive, or begin one, for the length of the block.

        Args:
            directory: For what came in the place of pictures.
            options: What all who join have to have alike.

        Raises:
            LedgerBusyError: The run that is alive has other options.
            LedgerRewoundError: The database lost what it had acknowledged.
            LedgerError: It can't be read or written.
        """
        database, place, holder = self._database(), self.url.place, uuid.uuid4()  # a run that is over holds nothing
        with worded(place, sent=False):
            async with database.holding(holder), tasks.group() as group:
                text = json.dumps(digests({**self.options, **options}), sort_keys=True)
                run, begun, hosts = await _joined(database, holder, place, text)
                if self.part_of not in {None, (run, begun)}:
                    await database.run("ledger_leave", holder)
                    raise _another_run(place)
                whole = WholeWatch(database, holder)
                ledger = SharedLedger(
                    place=place,
                    directory=directory,
                    run=run,
                    begun=begun,
                    terms=self.terms,
                    options=text,
                    database=database,
                    holder=holder,
                    group=group,
                    hosts=hosts,
                    whole=whole,
                )
                group.start_soon(ledger.stop_when_asked)
                group.start_soon(whole.keep)
                try:
                    yield ledger
                finally:
                    await tasks.to_the_end(ledger.leave)
                    group.cancel_scope.cancel()

    @asynccontextmanager
    async def look(self, directory: Path) -> AsyncIterator[SharedLedger]:
        """Read it only, for the length of the block: what is claimed is a preview.

        Args:
            directory: As for `open`.

        Raises:
            LedgerError: It can't be read.
        """
        shown = await self.show() or {}
        check_is_here(self.url.place, shown.get("options", {}))
        spent = spent_of(shown)
        async with self.session() as database:
            yield SharedLedger(
                place=self.url.place, directory=directory, run=-1, begun=time.time(), terms=self.terms, options="",
                database=database, holder=database.holder, spent=spent,
            )  # fmt: skip

    async def show(self) -> dict[str, Any] | None:
        """What the ledger has, in numbers; None where nothing was ever written."""
        rows = await self._looked_up("ledger_show")
        return json.loads(rows[0]["shown"]) if rows else None

    async def entries(self, status: str | None = None) -> AsyncIterator[dict[str, Any]]:
        """Yield edits by their keys.

        Args:
            status: Those that ended so; None: all.
        """
        after = ""
        while True:
            rows = await self._looked_up("edit_page", after, PAGE, status)
            for row in rows:
                yield _entry(row)
            if len(rows) < PAGE:
                return
            after = rows[-1]["key"]

    async def release(self, keys: Sequence[str] | None, *, force: bool = False) -> tuple[list[str], dict[str, float]]:
        """Let uncertain edits be sent again.

        Args:
            keys: Those of the edits; None: all.
            force: Also those to which an answer may yet come.

        Returns:
            The ids of those that are free now, and of the others from when on (unix time) they can be.
        """
        await self._check_is_here()
        asked = None if keys is None else json.dumps(list(keys))
        rows = await self._run("edit_release", asked, force, ANSWER_LIMIT + self.terms.lease, uuid.uuid4())
        return [row["id"] for row in rows if row["is_old"]], {
            row["id"]: row["free_at"] for row in rows if not row["is_old"]
        }

    async def accept(self) -> None:
        """Accept the database as it is, whatever it has lost. Raises LedgerError."""
        await self._check_is_here()
        await self._run("ledger_accept")

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Database]:
        """Keep the connections for the length of the block."""
        database = self._database()
        async with database.session():
            yield database

    async def _check_is_here(self) -> None:
        shown = await self.show()
        if shown is not None:
            check_is_here(self.url.place, shown["options"])

    def _database(self) -> Database:
        return shared_database(self.url, self.terms)

    async def _run(self, name: str, *arguments: Any) -> Sequence[Any]:
        with worded(self.url.place, sent=False):
            async with self.session() as database:
                return await database.run(name, *arguments)

    async def _looked_up(self, name: str, *arguments: Any) -> Sequence[Any]:
        with worded(self.url.place, sent=False), suppress(NotMadeError):
            async with self.session() as database:
                return await database.run(name, *arguments, writes=False)
        return []


async def _joined(database: Database, holder: uuid.UUID, place: str, text: str) -> tuple[int, float, frozenset[str]]:
    """The run that this process is part of now, when it began by the database's clock, and who else is of it."""
    gone = set[str]()
    while True:
        rows = await database.run("ledger_join", holder, text, json.dumps(sorted(gone)), lock="ledger_lock")
        first = rows[0]
        check_is_here(place, json.loads(first["options"]))
        if first["is_rewound"] or not first["is_same"]:
            raise rewound(place)
        if first["run"] is not None:
            await database.run("ledger_fold", lock="ledger_lock")
            return first["run"], first["begun"], frozenset(row["host"] for row in rows if row["host"])
        lost = {str(row["id"]) for row in rows if is_gone_here(row["pid"], row["machine"])}
        if lost <= gone:
            raise _other_options(
                place, json.loads(text), json.loads(first["options"]), Owner(first["pid"], first["host"])
            )
        gone |= lost


def digests(options: Mapping[str, Any]) -> dict[str, str]:
    """The options, each as a digest: a prompt is nobody else's business."""
    return {
        name: hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
        for name, value in options.items()
    }


def _other_options(place: str, mine: Mapping[str, str], live: Mapping[str, str], owner: Owner) -> LedgerBusyError:
    names = sorted(name for name in {*mine, *live} if mine.get(name) != live.get(name))
    names = ["the version of asyncsdk" if name == "asyncsdk" else name for name in names]
    error = LedgerBusyError(
        f"{name_of(owner)} works with the ledger in {place} right now, with other options: {', '.join(names)}. "
        "Nothing was sent by this call.\n  Give the same ones, or wait until it has ended, or use another database."
    )
    error.pid, error.host = owner.pid, owner.host
    return error


def _another_run(place: str) -> LedgerError:
    error = LedgerError(
        f"{place} is not the ledger of the process that started this one, or that process has ended. Nothing was sent "
        "from here.\n  ASYNCSDK_LEDGER has to name the same database on each worker."
    )
    error.resumable = False
    return error


def _entry(row: Any) -> dict[str, Any]:
    fields = {name: row[name] for name in ("id", "status", "epoch", "n", "request_id", "at", "started")}
    fields |= {name: json.loads(row[name]) for name in ("files", "usage", "problem", "late") if row[name] is not None}
    fields |= {} if row["cost"] is None else {"cost": row["cost"] / NANOS}
    return {name: value for name, value in fields.items() if value is not None}
