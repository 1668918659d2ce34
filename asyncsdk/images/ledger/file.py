"""The ledger of edits: the facts that it records of each (sent, paid, saved), durably, so that none is paid twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from attrs import define, field

from asyncsdk import files
from asyncsdk.error_details import LedgerDamage
from asyncsdk.errors import LedgerError
from asyncsdk.images.destination import UNDELIVERED
from asyncsdk.images.idempotency import EditKey
from asyncsdk.images.ledger import KnownItem
from asyncsdk.images.ledger.book import BatchBook
from asyncsdk.images.ledger.index import LedgerIndex, Spent, usage_fields
from asyncsdk.images.ledger.messages import busy, worded
from asyncsdk.images.ledger.owner import PictureOwner
from asyncsdk.images.ledger.reading import (
    WITH_BATCHES,
    Fact,
    encoded,
    load_segments,
    look_at_segments,
    seal_segments,
)
from asyncsdk.images.ledger.states import ItemState, problem_fields
from asyncsdk.images.names import safe_name
from asyncsdk.images.outcome import Problem, Status
from asyncsdk.models import Usage
from asyncsdk.threads import DaemonThreadPool, NoThreadError, wait_through_cancellation
from asyncsdk.timing import DEFAULT_TIMING
from asyncsdk.wal import Owner, disk
from asyncsdk.wal.commit import DirectorySync, GroupCommit
from asyncsdk.wal.line import VERSION
from asyncsdk.wal.lock import KeyLock, current_owner, pauses
from asyncsdk.wal.segments import Anchor, Segments

LOCK = "ledger.lock"
TRIES = 3  # before the lock counts as taken
WRITE_SECONDS, RELEASE_SECONDS = 2.0, 0.5  # on leaving: for what is being written, then to close and to unlock


@define(eq=False)
class FileLedger:
    """The state of each edit, by its item: the SHA-256 of its content, `#`, and its ordinal among equal ones.

    `damage` is what of it is not as it was written.
    """

    directory: Path
    index: LedgerIndex
    damage: tuple[LedgerDamage, ...] = ()
    _commits: GroupCommit | None = field(default=None, repr=False)
    _anchors: list[Anchor] = field(factory=list, repr=False)

    async def watch(self, out: Path) -> None:
        """Take no more facts once `out`, where the pictures go, is not the directory any more that it is now.

        Raises OSError. For a ledger in `out` its own segments are looked at already, at no cost.
        """
        if self.directory.parent != out:
            self._anchors.append(await files.in_thread(Anchor.at, out))

    def drafts_for(self, out: Path) -> Path | None:
        """Where pictures for `out` are written before they take their place; None for a ledger that is elsewhere."""
        is_near = out == self.directory.parent or out.parent == self.directory / UNDELIVERED
        return self.directory / "drafts" if is_near else None

    @property
    def patience(self) -> float:
        """None: a disk that is away makes the write fail."""
        return 0.0

    @property
    def whole(self) -> None:
        """There are no copies."""

    def stop_copies(self) -> None:
        """There are none."""

    def owner(self, item: str | None) -> PictureOwner:
        """An edit, for who gives its pictures their names."""
        return PictureOwner(self, item)

    async def look_up(self, ids: Sequence[str]) -> Sequence[ItemState | None]:
        """The states of the edits that have, or may have, pictures of these names."""
        known = await self.owners_of([safe_name(each) for each in ids])
        return [None if each is None else each.state for each in known]

    async def owners_of(self, stems: Sequence[str]) -> Sequence[KnownItem | None]:
        """The edits that have, or may have, pictures of these names."""
        items = list(map(self.owner_of, stems))
        states = [None if item is None else self.state(item) for item in items]
        return [KnownItem(item, state) if item and state else None for item, state in zip(items, states, strict=True)]

    @property
    def spent(self) -> Spent:
        """What was paid, or may have been, over all runs."""
        return self.index.spent

    def state(self, item: str) -> ItemState | None:
        """The state of an edit; None for one that was never sent."""
        return self.index.state_of(item)

    def owner_of(self, stem: str) -> str | None:
        """The edit that has, or may have, written a picture of this name: relative to the directory, no suffix."""
        return self.index.owner_of(stem)

    async def intend(
        self,
        item: str,
        *,
        id: str,  # noqa: A002 - the name for the edit
        n: int,
        source: str | None = None,
        cost: int | None = None,
        key: EditKey | None = None,
        again: bool = False,
    ) -> None:
        """Write down that `item` is about to be sent, with the name of its `n` pictures. Raises LedgerError.

        `source` is a digest of where its first picture comes from; `cost` is what it costs at most. What is asked for
        `again` is written down already.

        Cancelled, it is taken back once it is written; where that can't be awaited, it counts as uncertain.
        """
        if again:
            return
        known: dict[str, Any] = {"source": source, "cost": cost}
        known |= (
            {} if key is None else {"generation": key.generation, "tried": round(key.tried, 3), "header": key.header}
        )
        known = {name: value for name, value in known.items() if value is not None}
        written = self._add({"t": "intent", "item": item, "id": id, "n": n, **known})
        written.add_done_callback(_look_away)
        try:
            await asyncio.wait([written])
        except asyncio.CancelledError:
            if await wait_through_cancellation([written], seconds=WRITE_SECONDS) and written.exception() is None:
                self.release(item)
            raise
        with worded(self.directory, sent=True):
            written.result()

    def may_send(self, item: str) -> bool:  # noqa: ARG002 - as the protocol
        """Always: its lock is held as long as its process lives."""
        return True

    def release(self, item: str) -> None:
        """Write down that the server did nothing for `item`. Where that is lost it counts as uncertain, at no cost."""
        if self._commits is not None:
            self._commits.append(_now({"t": "released", "item": item})).add_done_callback(_look_away)

    async def end(
        self,
        item: str,
        status: Status,
        *,
        id: str,  # noqa: A002 - as above
        problem: Problem | None = None,
        files: tuple[str, ...] = (),
        usage: Usage | None = None,
        cost: int | None = None,
        again: bool = False,
        images: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """Write down how `item` ended: what went wrong with it, what is on disk, what it cost. Raises LedgerError."""
        fields: dict[str, Any] = {"files": list(files), "images": images, "request_id": request_id}
        if usage is not None:
            fields["usage"] = usage_fields(usage)
        if problem is not None:
            fields["problem"] = problem_fields(problem)
        known: dict[str, Any] = {"again": True} if again else {}
        known |= {} if cost is None else {"cost": cost}
        known |= {name: value for name, value in fields.items() if value}
        await self._write({"t": status, "item": item, "id": id} | known)

    async def moved(self, item: str, files: Mapping[str, str]) -> None:
        """Write down that pictures of `item` are moved aside for those of another: from where to where each."""
        await self._write({"t": "moved", "item": item, "files": dict(files)})

    async def delivered(self, item: str, files: Iterable[str], status: Status) -> None:
        """Write down that pictures of `item`, which waited in the ledger's directory, are in their bucket now.

        `files` are all its pictures, by their names there, and `status` is what the edit is with them. Versions before
        this one do not read it: to them the edit stays uncertain, and is not sent again.
        """
        await self._write({"t": "delivered", "item": item, "files": list(files), "status": status})

    async def seal(self, to: str, by: str) -> None:
        """Write down that an attempt moved it `to` another place: from now on it is not opened. Raises LedgerError."""
        with worded(self.directory, sent=True):
            await files.in_thread(seal_segments, self.directory, to, by)

    async def redo_before(self, requested: float) -> float:
        """Up to when a redo as of `requested` (unix time) reaches; one that is ahead of the clock is written down.

        A ledger that is only read is left as it is. Raises LedgerError.
        """
        now = time.time()
        before = self.index.redo_before(requested, now)
        if before == now and self._commits is not None:
            await self._write({"t": "redo", "before": requested})
        return before

    @property
    def book(self) -> BatchBook:
        """The batches."""
        return self.index.book

    def of_batch(self, batch: str) -> Iterator[tuple[str, ItemState]]:
        """The edits that are in a batch, or ended in it, in the order of its lines."""
        return self.index.states.of_batch(batch)

    async def note(self, *facts: Mapping[str, Any]) -> None:
        """Write down facts about batches, in this order. Raises LedgerError."""
        written = [self._add(dict(fact)) for fact in facts]
        for each in written:
            each.add_done_callback(_look_away)
        with worded(self.directory, sent=True):
            for each in written:
                await each

    async def _write(self, fact: dict[str, Any]) -> None:
        written = self._add(fact)
        with worded(self.directory, sent=True):
            await written

    def _add(self, fact: dict[str, Any]) -> asyncio.Future[None]:
        if self._commits is None:
            raise LedgerError(f"{self.directory}: the ledger was opened to be read only")
        with worded(self.directory, sent=True):
            return self._commits.append(_now(fact))


@asynccontextmanager
async def open_ledger(
    directory: Path,
    *,
    accept_damage: bool = False,
    idle: float = DEFAULT_TIMING.thread_idle,
    for_batches: bool = False,
) -> AsyncIterator[FileLedger]:
    """Own the ledger in `directory`, made if missing, for the length of the block.

    With `accept_damage` what is intact of a damaged one is believed, and written again; the damaged file is kept.
    `idle` is for how many seconds its threads wait for another job. `for_batches`: edits are put into batches, which
    versions before do not know.

    Raises LedgerBusyError where another process has it, LedgerDamagedError where it is damaged, LedgerError where it
    can't be read or written, or where a newer asyncsdk wrote it.
    """
    threads, lock = DaemonThreadPool("asyncsdk-ledger", 4, idle=idle), KeyLock(directory / LOCK)
    try:
        with worded(directory):
            await threads.run(partial(_make, directory))
            if not await _acquire(threads, lock):
                raise busy(directory, lock.path)
            log = Segments(directory / "ledger", _way(directory), patient=True)
            content = await threads.run(partial(load_segments, log, accept_damage=accept_damage))
        log.version = WITH_BATCHES if for_batches else VERSION
        index, anchors = content.index, list[Anchor]()
        commits = GroupCommit(encoded, partial(_append, log, anchors), threads, partial(_apply, index))
        try:
            yield FileLedger(directory, index, content.damage, commits, anchors)
        finally:
            await commits.close(seconds=WRITE_SECONDS)
            await _let_go(threads, log.close)
    finally:
        await _let_go(threads, lock.release)


async def load_ledger(directory: Path) -> FileLedger:
    """Read the ledger in `directory`, empty where there is none, without a lock.

    What is damaged is left out, and reported as its `damage`. Raises as `open_ledger` does otherwise.
    """
    with worded(directory):
        content = await DaemonThreadPool("asyncsdk-ledger", 1).run(partial(look_at_segments, directory))
    return FileLedger(directory, content.index, content.damage)


async def holder_of(directory: Path) -> Owner | None:
    """The process that has the ledger in `directory` now; None if there is none, or it can't be known.

    As where the disk is read-only, or the lock another user's: what can be read there is worth no less.
    """
    threads, holder = DaemonThreadPool("asyncsdk-ledger", 1), None
    with suppress(OSError):
        for pause in _tries():
            await asyncio.sleep(pause)
            holder = await threads.run(partial(current_owner, directory / LOCK))
            if holder is None:
                break
    return holder


async def _acquire(threads: DaemonThreadPool, lock: KeyLock) -> bool:
    for pause in _tries():
        await asyncio.sleep(pause)
        if await threads.run(lock.try_acquire):
            return True
    return False


def _tries() -> Iterator[float]:
    """Seconds before each try: who only looks whether the lock is free has it for a moment."""
    return chain([0.0], islice(pauses(), TRIES - 1))


async def _let_go(threads: DaemonThreadPool, job: Callable[[], object]) -> None:
    """Run `job`, which ends in a moment, also after a cancellation; where there is no thread for it, right here."""
    done = threads.start(job)
    done.add_done_callback(_look_away)
    await wait_through_cancellation([done], seconds=RELEASE_SECONDS)
    if done.done() and isinstance(done.exception(), NoThreadError):
        job()


def _append(log: Segments, anchors: Iterable[Anchor], lines: bytes) -> None:
    for anchor in anchors:
        anchor.check()
    log.append(lines)


def make_place(directory: Path) -> None:
    """Make the directory of a ledger, private; also where the ledger itself is in a database. Raises OSError."""
    files.make_directory(directory.parent)
    disk.check_place(directory)
    disk.make_directory(directory)


def _make(directory: Path) -> None:
    make_place(directory)
    disk.make_directory(directory / "ledger")
    disk.make_directory(directory / "drafts")
    _way(directory)()


def _way(directory: Path) -> DirectorySync:
    return DirectorySync((directory, directory.parent))


def _apply(index: LedgerIndex, facts: list[Fact]) -> None:
    for fields, at in facts:
        index.apply(fields, at)


def _now(fields: dict[str, Any]) -> Fact:
    return fields, round(time.time(), 3)


def _look_away(future: Any) -> None:
    if not future.cancelled():
        future.exception()
