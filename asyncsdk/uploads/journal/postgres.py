"""`PostgresJournal`: the journal in a database, for processes on any number of machines."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import anyio
from attrs import define, field, frozen, setters

from asyncsdk import tasks
from asyncsdk.errors import JournalError
from asyncsdk.postgres import DatabaseFault, NotMadeError
from asyncsdk.postgres.database import Database, shared_database
from asyncsdk.postgres.lease import LeaseTerms
from asyncsdk.postgres.machine import is_gone_here
from asyncsdk.postgres.takeover import NONE, given_up
from asyncsdk.postgres.url import DatabaseURL, database_url
from asyncsdk.unique import token
from asyncsdk.uploads.journal import JournalEntry, Opened, Owner, Record
from asyncsdk.uploads.journal.claims import AWAY_SECONDS, KeyClaim, claim_keys, read_keys, release_keys
from asyncsdk.uploads.journal.codec import decode, encode, kind_of
from asyncsdk.uploads.journal.messages import (
    not_appended,
    not_in_order,
    not_listed,
    not_opened,
    report_busy,
    taken_over,
)
from asyncsdk.uploads.journal.purge import check_key
from asyncsdk.uploads.journal.reading import words_of
from asyncsdk.uploads.journal.retention import compacted, keep_until, purge_is_due, sure_time
from asyncsdk.wal.line import Damaged, decode_line
from asyncsdk.wal.lock import pauses

WRITE_SECONDS = 2.0  # on leaving a claim: for what is being written
RELEASE_SECONDS = 2.0  # and then to give the key back; else that is owed
PURGE_SECONDS = 2.0
PAGE = 200  # keys
FEW_RECORDS = 8  # are left as they are: to remove them costs a small file as much as to write them
SILENT_ATTEMPTS = 2  # a claim that ends just now is not reported

logger = logging.getLogger(__name__)


@frozen(eq=False)
class RecordRow:
    """A record as a row: its number counts within the claim of its key that wrote it, which has this epoch."""

    epoch: int
    number: int
    record: Record
    line: str


@frozen(eq=False)
class RowToWrite:
    """A row, and the log that it is of."""

    log: PostgresLog
    row: RecordRow


@define(eq=False)
class PostgresLog:
    """The log of one claim."""

    key: str
    epoch: int
    _journal: PostgresJournal
    _database: Database
    rows: list[RecordRow]
    _count: int = field(default=0, init=False)
    _is_over: bool = field(default=False, init=False)

    @property
    def records(self) -> Sequence[Record]:
        return _distinct(self.rows)

    async def append(self, record: Record) -> None:
        """Return once the record is committed under the epoch of this claim."""
        if self._is_over:
            raise JournalError("the claim is over; the record was not written")
        self._count += 1
        row = RecordRow(self.epoch, self._count, record, encode(record).decode().rstrip("\n"))
        with self._journal.worded(not_appended):
            await self._database.ensure_lease()
            await self._database.batch(_appended).append(RowToWrite(self, row))

    async def append_final(self, record: Record) -> None:
        """Append `record`, then remove what it makes useless where that frees room; once a day, purge."""
        await self.append(record)
        now = sure_time(self.records, record, local=time.time())
        if len(self.rows) > FEW_RECORDS:
            await self._compact(record)
        await self._journal.purge_daily(now)

    async def close(self) -> None:
        """Take no more, and wait a moment until all is written."""
        self._is_over = True
        seconds = AWAY_SECONDS if self._database.is_away else WRITE_SECONDS
        await self._database.batch(_appended).finish(lambda waiting: waiting.log is self, seconds=seconds)

    async def _compact(self, last: Record) -> None:
        kept = set(map(id, compacted(self.records, last)))
        gone = [row for row in self.rows if id(row.record) not in kept]
        which = json.dumps([{"epoch": row.epoch, "number": row.number} for row in gone])
        try:
            await self._database.run("upload_compact", self._database.holder, self.key, self.epoch, which)
        except DatabaseFault as failed:  # the record is safe
            logger.warning("%s: not compacted: %s", self.key, failed.reason)
            return
        self.rows[:] = [row for row in self.rows if id(row.record) in kept]


@frozen(eq=False)
class _KnownKey:
    """What is known of a key. `has_rows`: it has records, which may be such as can't be read."""

    entry: JournalEntry
    epoch: int
    has_rows: bool


def _to_url(given: str | DatabaseURL) -> DatabaseURL:
    return database_url(given) if isinstance(given, str) else given


@define(eq=False)
class PostgresJournal:
    """A journal in a Postgres database, which several machines may share. Needs asyncpg.

    What a process has claimed, it has under a lease of 60 seconds, which it renews every 20; one that is killed, cut
    off or paused for longer loses it to the next that asks, and nothing that it writes afterwards counts. The tables
    are in a schema `asyncsdk`, made at the first claim. A pooler in transaction mode works. A process has at most two
    connections, and none while it uploads nothing.

    Args:
        url: `postgresql://USER@HOST:PORT/DATABASE`, as libpq takes it. A password is better in PGPASSWORD or PGSERVICE:
            the command line of a process can be seen by others.
        terms: The lease; all processes that share a database need the same.

    Raises:
        ConfigurationError: The URL can't be read. The error does not contain it.
    """

    url: DatabaseURL = field(converter=_to_url, on_setattr=setters.frozen)
    terms: LeaseTerms = field(factory=LeaseTerms, kw_only=True, repr=False, on_setattr=setters.frozen)
    _purged_at: float | None = field(default=None, init=False, repr=False)

    @asynccontextmanager
    async def claim(
        self, key: str, *, wait: bool = True, on_busy: Callable[[Owner | None], None] | None = None
    ) -> AsyncIterator[PostgresLog]:
        """Own `key` for the length of the block, as `Journal.claim` describes."""
        check_key(key)
        database = self._database()
        async with AsyncExitStack() as stack:
            with self.worded(not_opened):
                await stack.enter_async_context(database.holding())
            claim, log = KeyClaim(key), None
            try:
                epoch = await self._claimed(database, claim, wait=wait, on_busy=on_busy)
                if epoch > 1:
                    with self.worded(not_opened):
                        await database.batch(read_keys).append(claim)
                log = PostgresLog(key, epoch, self, database, list(_read(key, claim.rows)))
                try:
                    yield log
                except Exception as failed:
                    if not isinstance(failed, JournalError) and await self._is_taken(database, log):
                        raise taken_over(key) from failed  # such as a part that is refused: its upload is completed
                    raise
            finally:
                await tasks.to_the_end(partial(self._leave, database, claim, log))

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Keep the lease for the length of the block: who has kept one may take what another has let lapse."""
        async with AsyncExitStack() as stack:
            with self.worded(not_opened):
                await stack.enter_async_context(self._database().holding())
            yield

    async def held(self, keys: Collection[str]) -> Collection[str]:
        """Return those of `keys` that a living process has now; takes no lock."""
        rows = await self._looked_up("upload_held", json.dumps(list(keys)))
        return [row["key"] for row in rows if not is_gone_here(row["pid"], row["machine"])]

    async def entries(self) -> Sequence[JournalEntry]:
        """Return all keys with their records, for a list to show; takes no lock."""
        return [entry async for entry in self.stream()]

    async def stream(self) -> AsyncIterator[JournalEntry]:
        """Yield what `entries` returns, with few keys at a time in memory."""
        async with self._database().session(), aclosing(self._pages()) as pages:
            async for known in pages:
                for each in known:
                    if each.has_rows or each.entry.owner:
                        yield each.entry

    async def entries_with(self, values: Collection[str | int]) -> Sequence[JournalEntry]:
        """Return all keys in whose records one of `values` is, and maybe others; takes no lock."""
        words = json.dumps([word.decode() for word in words_of(values)])
        return [each.entry for each in _known(await self._looked_up("upload_search", words))]

    async def openings(self, *, above: int, since: float = -math.inf) -> Sequence[Opened]:
        """Return how the uploads of files of more than `above` bytes began, `since` (unix time); takes no lock."""
        rows = await self._looked_up("upload_beginnings", since)
        records = _distinct(_read("a key", rows))
        return [record for record in records if isinstance(record, Opened) and record.bytes > above]

    async def purge(self, *, now: float | None = None) -> int:
        """Remove the keys that are of no use any more and not claimed; return how many."""
        return await self._purge(time.time() if now is None else now, seconds=math.inf)

    async def purge_daily(self, now: float) -> None:
        """Purge, if no process did so for a day, for a moment: each key gets its turn some day.

        Args:
            now: Unix time in seconds.
        """
        if not purge_is_due(self._purged_at, now):
            return
        self._purged_at = now
        database = self._database()
        try:
            async with database.session():
                if await database.run("upload_purge_begin"):
                    await database.run("holder_purge")
                    await self._purge(now, seconds=PURGE_SECONDS, after=token())
        except (DatabaseFault, JournalError) as failed:
            logger.warning("not purged: %s", failed)

    @contextmanager
    def worded(self, say: Callable[[str, DatabaseFault], JournalError]) -> Iterator[None]:
        """Raise what the database can't do as a JournalError.

        Args:
            say: Makes it, of the URL for people and the fault.
        """
        try:
            yield
        except DatabaseFault as failed:
            raise say(self.url.place, failed) from failed

    def _database(self) -> Database:
        return shared_database(self.url, self.terms)

    async def _claimed(
        self,
        database: Database,
        claim: KeyClaim,
        *,
        wait: bool,
        on_busy: Callable[[Owner | None], None] | None,
    ) -> int:
        """The epoch of our claim, once the key is ours."""
        tries = enumerate(pauses())
        while True:
            with self.worded(not_opened):
                await database.ensure_lease()
                await database.batch(claim_keys).append(claim)
                if claim.epoch is not None:
                    return claim.epoch
                before, claim.theirs = claim.theirs, await given_up(database, claim.row)
            if claim.theirs not in (NONE, before):
                continue
            number, pause = next(tries)
            if number == SILENT_ATTEMPTS:
                owner = None if claim.row["pid"] is None else Owner(claim.row["pid"], claim.row["host"])
                report_busy(owner, wait=wait, on_busy=on_busy)
            await asyncio.sleep(pause)

    async def _is_taken(self, database: Database, log: PostgresLog) -> bool:
        """Whether it is known that another process has claimed the key of this log."""
        with anyio.move_on_after(AWAY_SECONDS if database.is_away else RELEASE_SECONDS), suppress(DatabaseFault):
            return any(row["epoch"] > log.epoch for row in await database.run("upload_epoch", log.key, writes=False))
        return False

    async def _leave(self, database: Database, claim: KeyClaim, log: PostgresLog | None) -> None:
        """Write what waits, and give the key back, if it is ours: of a claim that was cancelled that is not known."""
        if log is not None:
            await log.close()
        claim.is_left = True
        await database.batch(claim_keys).finish(lambda waiting: waiting is claim, seconds=0)
        with anyio.move_on_after(AWAY_SECONDS if database.is_away else RELEASE_SECONDS), suppress(DatabaseFault):
            await database.batch(release_keys).append(claim)
            return
        database.owe(*claim.release(database))
        lease = self.terms.lease
        logger.info("%s: not given back yet: by the next renewal, or as its lease of %d s ends", claim.key, lease)

    async def _pages(self, after: str = "") -> AsyncGenerator[list[_KnownKey], None]:
        while True:
            page = _known(await self._looked_up("upload_page", after, PAGE))
            if not page:
                return
            yield page
            after = page[-1].entry.key

    async def _purge(self, now: float, *, seconds: float, after: str = "") -> int:
        database = self._database()
        removed, until = 0, time.monotonic() + seconds
        async with database.session():
            async for known in self._pages(after):
                useless = [each for each in known if _is_useless(each, now)]
                if useless:
                    keys = json.dumps([{"key": each.entry.key, "epoch": each.epoch} for each in useless])
                    with self.worded(not_appended):
                        removed += len(await database.run("upload_forget", keys))
                if time.monotonic() > until:
                    break
        return removed

    async def _looked_up(self, name: str, *arguments: Any) -> Sequence[Any]:
        """The rows of a statement that only reads; none where the schema is not made yet."""
        database = self._database()
        with self.worded(not_listed), suppress(NotMadeError):
            async with database.session():
                return await database.run(name, *arguments, writes=False)
        return []


async def _appended(database: Database, waiting: Sequence[RowToWrite]) -> list[Exception | None]:
    """Write rows of any keys in one statement; an error for each whose claim another process has taken."""
    rows = [
        {
            "key": each.log.key,
            "epoch": each.row.epoch,
            "number": each.row.number,
            "at": each.row.record.at,
            "kind": kind_of(each.row.record),
            "line": each.row.line,
        }
        for each in waiting
    ]
    there = {tuple(row) for row in await database.run("upload_append", database.holder, json.dumps(rows))}
    ours = {(key, epoch) for key, epoch, _ in there}
    errors: list[Exception | None] = []
    for each in waiting:
        claim = each.log.key, each.row.epoch
        if (*claim, each.row.number) in there:
            each.log.rows.append(each.row)
            errors.append(None)
        else:
            errors.append(not_in_order(each.log.key) if claim in ours else taken_over(each.log.key))
    return errors


def _read(key: str, rows: Iterable[Any]) -> Iterator[RecordRow]:
    """The rows whose records can be read. Those of a kind that this version does not know are left alone."""
    for row in rows:
        try:
            record = decode(decode_line(row["line"].encode()))
        except Damaged as damaged:
            where = row["number"], row["epoch"]
            logger.warning("%s: damaged, not believed: row %d of claim %d: %s", key, *where, damaged)
        else:
            if record is not None:
                yield RecordRow(row["epoch"], row["number"], record, row["line"])


def _distinct(rows: Iterable[RecordRow]) -> tuple[Record, ...]:
    """Their records, equal ones once."""
    distinct: dict[str, Record] = {}
    for row in rows:
        distinct.setdefault(row.line, row.record)
    return tuple(distinct.values())


def _known(rows: Iterable[Any]) -> list[_KnownKey]:
    """Rows of keys, each with a record or none, by their keys."""
    known: list[_KnownKey] = []
    for key, group in groupby(rows, itemgetter("key")):
        own = list(group)
        records = list(_read(key, (row for row in own if row["line"] is not None)))
        first = own[0]
        is_held = first["pid"] is not None and not is_gone_here(first["pid"], first["machine"])
        owner = Owner(first["pid"], first["host"]) if is_held else None
        has_rows = first["line"] is not None
        known.append(_KnownKey(JournalEntry(key, _distinct(records), owner), first["claim"], has_rows=has_rows))
    return known


def _is_useless(known: _KnownKey, now: float) -> bool:
    entry = known.entry
    if entry.owner is not None or (known.has_rows and not entry.records):  # what can't be read may be a newer one's
        return False
    return now >= keep_until(entry.records, touched=None)
