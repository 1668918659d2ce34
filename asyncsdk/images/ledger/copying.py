"""Copies a ledger into a database and seals the one it came from, so that runs send from one of the two at any time.

Theory of operation. No run begins in the copy before it is whole, nor in the source once it is sealed; both are written
in one transaction, or one file, that no version of asyncsdk goes on from::

    the source    the copy        runs may send from    where the copying is killed then
    ──────────    ────────        ──────────────────    ─────────────────────────────────────────
    open          begun           the source            the same command makes the copy again
    sealed        begun           neither               the same command opens the copy
    sealed        open            the copy              it is done

Meanwhile the source is in use: a ledger in a directory is locked, one in a database has a run of this process alone. An
answer that comes late, to a process that was paused all the while, is kept in the sealed ledger: in the copy that edit
is uncertain, and so is not sent again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import anyio
from attrs import astuple, define, field, frozen

from asyncsdk import files
from asyncsdk.counts import are, counted
from asyncsdk.errors import ConfigurationError, LedgerBusyError, LedgerError
from asyncsdk.images.ledger.claims import worded
from asyncsdk.images.ledger.copied import COPIED_BY, COPIED_FROM, MOVED_TO, Chosen, Row, RowsDigest
from asyncsdk.images.ledger.file import FileLedger, open_ledger
from asyncsdk.images.ledger.index import Spent, spent_of
from asyncsdk.images.ledger.messages import in_batches, moved
from asyncsdk.images.ledger.postgres import PostgresLedger
from asyncsdk.images.ledger.seen import HOST_OF_BATCHES
from asyncsdk.images.ledger.shared import SharedLedger
from asyncsdk.images.ledger.states import is_not_delivered
from asyncsdk.postgres.database import Database
from asyncsdk.postgres.machine import is_gone_here
from asyncsdk.wal import Owner, name_of
from asyncsdk.wal.lock import this_host

PAGE = 1000  # edits in one statement
FORGOTTEN = 20_000
LOOK_AGAIN = 0.5  # seconds, whether leases have lapsed


@frozen(kw_only=True)
class CopiedLedger:
    """What was copied. `is_new`: by this call; else an earlier one had copied it, and all that was left was to open it.

    `others` are edits left out since another one has their id; `numbered` those whose id is a number, as rows without
    an id have.
    """

    edits: int = 0
    others: int = 0
    numbered: int = 0
    is_new: bool = True


class _Source(Protocol):
    """A ledger that nobody else uses meanwhile."""

    spent: Spent
    others: int
    numbered: int

    def pages(self) -> AsyncIterator[Sequence[Row]]:
        """All its rows, in the order of their keys."""

    async def seal(self, to: str, by: str) -> None:
        """Say that this attempt moved it. Raises LedgerError."""


async def copy_ledger(source: Path | PostgresLedger, target: PostgresLedger) -> CopiedLedger:
    """Copy a ledger into a database that has none yet, compare the two, seal the source, and open the copy.

    Raises LedgerBusyError where the source is in use, LedgerError and ConfigurationError where it can't be copied.
    Until it is sealed nothing has changed for its runs.
    """
    place, origin = target.url.place, _name_of(source)
    async with target.session() as database:
        try:
            async with _opened(source, target) as opened:
                copy = _Copy(database, place, origin)
                await copy.begin()
                digest = await copy.fill(opened)
                await copy.compare(opened, digest)
                await opened.seal(place, copy.by)
        except LedgerError as error:
            if error.moved_to != place:
                raise
            copied, by = CopiedLedger(is_new=False), error.copied_by
        else:
            copied, by = CopiedLedger(edits=digest[0], others=opened.others, numbered=opened.numbered), copy.by
        await _open(database, place, origin, by)
    return copied


async def _open(database: Database, place: str, origin: str, by: str | None) -> None:
    """Let runs begin in the copy that the attempt `by` has made. Raises LedgerError where it is not there any more."""
    with worded(place):
        if await database.run("ledger_open", by):
            return
        [state] = await database.run("ledger_state")
        is_other = COPIED_FROM in json.loads(state["options"])
        if is_other or not await database.run("edit_pages", "", 1):
            raise _lost(place, origin, "a copy of another one" if is_other else "no edit")


def _name_of(source: Path | PostgresLedger) -> str:
    return f"{source.resolve()} on {this_host()}" if isinstance(source, Path) else source.url.place


@define
class _Copy:
    """The copy, which this process alone writes to."""

    database: Database
    place: str
    origin: str
    by: str = field(factory=lambda: str(uuid.uuid4()), init=False)  # this attempt
    options: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.options = json.dumps({COPIED_FROM: self.origin, COPIED_BY: self.by}, sort_keys=True)

    async def begin(self) -> None:
        """Take the place, and forget what an earlier attempt has left there."""
        with worded(self.place, sent=False):
            [row] = await self.database.run("ledger_hold", self.options, self.origin, lock="ledger_lock")
            if not row["is_held"]:
                raise _taken(self.place, row)
            while (await self._ours("edit_forget", self.options, FORGOTTEN))["gone"]:
                pass

    async def fill(self, source: _Source) -> tuple[int, str]:
        """Write all rows. Returns how many, and their digest."""
        digest = RowsDigest()
        async for rows in source.pages():
            digest.add_all(rows)
            with worded(self.place, sent=False):
                await self._ours("edit_put", json.dumps(list(rows)), self.options)
        with worded(self.place, sent=False):
            await self._ours("ledger_sums", self.options, *astuple(source.spent))
        return digest.value

    async def compare(self, source: _Source, digest: tuple[int, str]) -> None:
        """Read all of it again. Raises LedgerError where it is not the same."""
        copied = RowsDigest()
        async for rows in _pages(self.database, self.place):
            copied.add_all(rows)
        with worded(self.place, sent=False):
            [state] = await self.database.run("ledger_state")
        if (copied.value, spent_of(state)) != (digest, source.spent):
            raise LedgerError(
                f"{self.place} has not what was copied there: {copied.rows:,} of {counted(digest[0], 'edit')}. The "
                "ledger that was copied is as before, and runs go on with it.\n  Does something else write there? Use "
                "a database of its own."
            )

    async def _ours(self, name: str, *arguments: Any) -> Mapping[str, Any]:
        rows: Sequence[Mapping[str, Any]] = await self.database.run(name, *arguments, lock="ledger_lock")
        if not rows or not rows[0].get("is_ours", True):
            raise LedgerBusyError(
                f"{self.place}: while this process was paused or cut off, another one began to copy that ledger again. "
                "This one has stopped."
            )
        return rows[0]


@asynccontextmanager
async def _opened(source: Path | PostgresLedger, target: PostgresLedger) -> AsyncIterator[_Source]:
    opened: AbstractAsyncContextManager[_Source]
    opened = _of_files(source) if isinstance(source, Path) else _of_database(source, target)
    async with opened as ledger:
        yield ledger


@define
class _Files:
    """A ledger in a directory, which is locked."""

    ledger: FileLedger
    chosen: Chosen

    spent = property(lambda self: self.ledger.spent)
    others = property(lambda self: self.chosen.others)
    numbered = property(lambda self: self.chosen.numbered)

    async def pages(self) -> AsyncIterator[Sequence[Row]]:
        rows: Iterator[Row] = self.chosen.rows(self.ledger.index.states)
        while page := await files.in_thread(lambda: list(islice(rows, PAGE))):
            yield page

    async def seal(self, to: str, by: str) -> None:
        await self.ledger.seal(to, by)


@asynccontextmanager
async def _of_files(directory: Path) -> AsyncIterator[_Files]:
    async with open_ledger(directory) as ledger:
        states = ledger.index.states
        if any(state.status == "batched" for _, state in states.items()):
            raise in_batches(directory)
        waiting = sum(is_not_delivered(state) for _, state in states.items())
        if waiting:
            raise LedgerError(
                f"{counted(waiting, 'edit')} in {directory} {are(waiting)} paid, and "
                f"{'its' if waiting == 1 else 'their'} pictures wait there for their bucket. "
                "Nothing was changed.\n  Run the same edit-many once more, which puts them there; then copy the ledger."
            )
        yield _Files(ledger, await files.in_thread(Chosen.of, states))


@define
class _InDatabase:
    """A ledger in a database, with a run that this process alone is in."""

    database: Database
    ledger: SharedLedger
    spent: Spent
    writes: int
    others: int = 0
    numbered: int = 0

    def pages(self) -> AsyncIterator[Sequence[Row]]:
        return _pages(self.database, self.ledger.place)

    async def seal(self, to: str, by: str) -> None:
        options = json.dumps({MOVED_TO: to, COPIED_BY: by}, sort_keys=True)
        with worded(self.ledger.place, sent=False):
            rows = await self.database.run("ledger_seal", self.ledger.options, options, self.writes, lock="ledger_lock")
        if not rows:
            raise LedgerBusyError(
                f"{self.ledger.place}: another process changed it while it was copied. It is as it was, and runs go on "
                "with it.\n  The same command copies it again."
            )


@asynccontextmanager
async def _of_database(source: PostgresLedger, target: PostgresLedger) -> AsyncIterator[_InDatabase]:
    if await source.show() is None:
        raise ConfigurationError(f"{source.url.place}: no ledger is there. Nothing was changed.")
    alone = source.open(Path(), {"copy": str(uuid.uuid4())})
    async with source.session() as database, target.session() as other, alone as ledger:
        with worded(source.url.place, sent=False):
            await _settle(database, ledger)
            [state] = await database.run("ledger_state")
        with worded(target.url.place, sent=False):
            [there] = await other.run("ledger_state")
        if state["place"] == there["place"]:
            raise ConfigurationError(f"{target.url.place} is the same database. Nothing was changed.")
        yield _InDatabase(database, ledger, spent_of(state), state["writes"])


async def _settle(database: Database, ledger: SharedLedger) -> None:
    """Bring all open claims to their ends, once the leases have lapsed under which they are. Raises LedgerBusyError."""
    while claims := await database.run("ledger_claims"):
        gone = {str(row["holder"]) for row in claims if is_gone_here(row["pid"], row["machine"])}
        rest = [row for row in claims if str(row["holder"]) not in gone]
        if any(row["host"] == HOST_OF_BATCHES for row in rest):
            raise in_batches(ledger.place)
        alive = next((row for row in rest if row["is_alive"]), None)
        if alive is not None:
            raise LedgerBusyError(
                f"{name_of(Owner(alive['pid'], alive['host']))} works with the ledger in {ledger.place} right now. "
                "Nothing was changed.\n  Wait until it has ended, or its lease has lapsed, and give the same command."
            )
        if rest and not await database.may_take_lapsed():
            await anyio.sleep(LOOK_AGAIN)
            continue
        held = json.dumps(sorted(gone))
        await database.run("edit_settle", held, ledger.holder, ledger.run, uuid.uuid4())


async def _pages(database: Database, place: str) -> AsyncIterator[Sequence[Row]]:
    after = ""
    while True:
        with worded(place, sent=False):
            rows = await database.run("edit_pages", after, PAGE)
        if rows:
            yield [json.loads(row["edit"]) for row in rows]
            after = rows[-1]["key"]
        if len(rows) < PAGE:
            return


def _lost(place: str, origin: str, found: str) -> LedgerError:
    return LedgerError(
        f"{origin} was moved to {place}, and that database has {found} now. Nothing was changed.\n  Bring back the one "
        "that has them: else what is paid would be paid again."
    )


def _taken(place: str, row: Mapping[str, Any]) -> LedgerError:
    if row["moved_to"] is not None:
        return moved(place, row["moved_to"], None)
    if row["is_in_use"]:
        return LedgerBusyError(f"a run works with the ledger in {place} right now. Nothing was changed.")
    what = f"a copy of {row['origin']} was begun there" if row["origin"] else "it has a ledger of its own already"
    return LedgerError(f"{place}: {what}. Nothing was changed.\n  Name a database without a ledger.")
