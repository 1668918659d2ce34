"""`FileJournal`: the journal as files under one directory, for all processes of one machine."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import anyio
from attrs import define, field, setters

from asyncsdk.errors import JournalError
from asyncsdk.postgres.url import is_database_url
from asyncsdk.remote.address import local_directory
from asyncsdk.threads import DaemonThreadPool, NoThreadError, wait_through_cancellation
from asyncsdk.uploads.journal import Journal, JournalEntry, Log, Opened, Owner, Record, purge
from asyncsdk.uploads.journal.codec import encode
from asyncsdk.uploads.journal.folding import Folding
from asyncsdk.uploads.journal.memory import MemoryJournal
from asyncsdk.uploads.journal.messages import (
    kept_in_memory,
    not_made,
    not_read,
    report_busy,
    worded,
    worded_lock,
    worded_write,
)
from asyncsdk.uploads.journal.purge import Layout, check_key
from asyncsdk.uploads.journal.reading import joined, merged, replay, words_of
from asyncsdk.uploads.journal.retention import compacted, purge_is_due, sure_time
from asyncsdk.uploads.journal.small import SmallKeys
from asyncsdk.wal import disk
from asyncsdk.wal.commit import DirectorySync, GroupCommit
from asyncsdk.wal.lock import KeyLock, owner, pauses
from asyncsdk.wal.ranges import RangeLock
from asyncsdk.wal.segments import Segments

WRITE_SECONDS = 0.3  # on leaving a claim: for what is being written
RELEASE_SECONDS = 0.1  # and then to unlock and close; a thread goes on with what takes longer
PURGE_SECONDS = 2.0
KEYS_AT_ONCE = 200  # are looked at by one job of a thread: a cancelled caller leaves it no more than that
MOST_WORDS = 32  # are looked for one by one; of more, all is read
FEW_RECORDS = 8  # take about a block of the disk; to write them again costs a small file more than all else
SILENT_ATTEMPTS = 2  # a process that only looks has a lock for a moment: that is not reported

T = TypeVar("T")
logger = logging.getLogger(__name__)


@define(eq=False)
class FileLog:
    """The log of one claim. After `append_final` no more records of that upload follow."""

    _commits: GroupCommit
    _records: list[Record]
    _segments: Segments
    _lock: KeyLock | None
    _purge: Callable[[float], Awaitable[None]]

    @property
    def records(self) -> Sequence[Record]:
        return tuple(self._records)

    async def append(self, record: Record) -> None:
        with worded_write(self._segments.folder):
            await self._commits.append(record)

    async def append_final(self, record: Record) -> None:
        """Append `record`, then compact if that frees room; where it fails the record is safe, and it is logged.

        Once a day what is of no use any more is purged from the whole journal: now, since the server has just
        responded, and the local clock alone is not trusted.
        """
        await self.append(record)
        now = sure_time(self._records, record, local=time.time())
        if self._lock is not None and not (self._segments.single and len(self._records) <= FEW_RECORDS):
            await self._compact(record, self._lock)
        await self._purge(now)

    async def _compact(self, record: Record, lock: KeyLock) -> None:
        self._records[:] = compacted(self._records, record)
        compact = partial(self._segments.compact, [encode(record) for record in self._records])
        try:
            await self._commits.threads.run(partial(lock.run_if_held, compact))
        except OSError as error:
            logger.warning("%s: not compacted: %s", self._segments.folder, error)


def _release(lock: KeyLock | None, shared: RangeLock | None, segments: Segments) -> None:
    """Let go of a key. The locks first: a write that hangs must not keep it from others."""
    try:
        if lock is not None:
            lock.release()
        if shared is not None:
            shared.release()
    finally:
        segments.close()


def _next(entries: Iterator[list[JournalEntry]]) -> list[JournalEntry]:
    """The next of them that are any; none at the end."""
    return next(filter(None, entries), [])


def _to_path(given: str | os.PathLike[str] | None) -> Path:
    return _users_path() if given is None else Path(given).absolute()


def _users_path() -> Path:
    from platformdirs import user_state_path

    homeless = not_made(Path("~"), "no home directory")
    try:
        path = user_state_path("asyncsdk", appauthor=False)
    except RuntimeError as error:
        raise JournalError(homeless) from error
    if not path.is_absolute():  # older platformdirs return that; it would be a `~` in the working directory
        raise JournalError(homeless)
    return path


@define(eq=False)
class FileJournal:
    """A journal in a directory: append-only segments, one for each writing process, and a lock for each key.

    Args:
        path: The directory, by default `asyncsdk` in the user's state directory.
        lock: False for file systems without locks: two processes can then send one file at once, and nothing is ever
            compacted or purged.
    """

    path: Path = field(default=None, converter=_to_path, on_setattr=setters.frozen)
    lock: bool = field(default=True, kw_only=True)
    _threads: DaemonThreadPool = field(factory=lambda: DaemonThreadPool("asyncsdk-journal", 8), init=False, repr=False)
    _sync_way: DirectorySync = field(init=False, repr=False)
    _small: SmallKeys = field(init=False, repr=False)
    _purged_at: float | None = field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        root = self._layout.root
        self._sync_way = DirectorySync((self._layout.uploads, root, root.parent))
        self._small = SmallKeys(self._layout, self.lock, self._threads, DirectorySync((root, root.parent)))

    def claim(
        self,
        key: str,
        *,
        wait: bool = True,
        on_busy: Callable[[Owner | None], None] | None = None,
        small: bool = False,
    ) -> AbstractAsyncContextManager[Log]:
        """Own `key` for the length of the block, as `Journal.claim` describes.

        Args:
            key: As there.
            wait: As there.
            on_busy: As there.
            small: Whether the key has few records: it shares a segment with others, unless it has a folder already.
        """
        check_key(key)
        if small and self._small.works:
            return self._small_claim(key, wait=wait, on_busy=on_busy)
        return self._folder_claim(key, wait=wait, on_busy=on_busy)

    @asynccontextmanager
    async def _folder_claim(
        self, key: str, *, wait: bool, on_busy: Callable[[Owner | None], None] | None
    ) -> AsyncIterator[Log]:
        """The claim of a key with a folder of its own."""
        lock = KeyLock(self._layout.lock(key)) if self.lock else None
        shared = self._small.locks.lock(key) if self.lock else None
        segments = Segments(self._layout.folder(key), self._sync_way)
        begin = partial(self._begin, key, lock, shared, segments)
        try:
            records = list(await self._begun(begin, partial(self._owner, key, lock), wait=wait, on_busy=on_busy))
            commits = GroupCommit(encode, segments.append, self._threads, records.extend)
            try:
                yield FileLog(commits, records, segments, lock, self._purge_daily)
            finally:
                await commits.close(seconds=WRITE_SECONDS)
        finally:
            await self._leave(partial(_release, lock, shared, segments))

    @asynccontextmanager
    async def _small_claim(
        self, key: str, *, wait: bool, on_busy: Callable[[Owner | None], None] | None
    ) -> AsyncIterator[Log]:
        """The claim of a small key; of one that has a folder, the other kind."""
        claim = self._small.claim(key)
        try:
            known = await self._begun(claim.begin, claim.owner, wait=wait, on_busy=on_busy)
            if not claim.has_folder:
                log = self._small.log(claim, known, self._purge_daily)
                try:
                    yield log
                finally:
                    await log.close(seconds=WRITE_SECONDS)
                return
        finally:
            if not claim.is_over:
                await self._leave(claim.release)
        async with self._folder_claim(key, wait=wait, on_busy=on_busy) as own:
            yield own

    async def _leave(self, release: Callable[[], None]) -> None:
        leaving = self._threads.start(release)
        if leaving.done() and isinstance(leaving.exception(), NoThreadError):
            release()  # it may hold the loop up; else the key were held until this process ends
        await wait_through_cancellation([leaving], seconds=RELEASE_SECONDS)

    async def entries(self) -> Sequence[JournalEntry]:
        """Return all keys with their records, for a list to show; takes no lock for long."""
        return sorted([entry async for entry in self.stream()], key=attrgetter("key"))

    async def stream(self) -> AsyncIterator[JournalEntry]:
        """Yield what `entries` returns, in no order, with few keys at a time in memory."""
        keys = await self._threads.run(partial(purge.keys, self._layout))
        for start in range(0, len(keys), KEYS_AT_ONCE):
            for entry in await self._look(keys[start : start + KEYS_AT_ONCE]):
                yield entry
        own, small = frozenset(keys), self._small.stream()
        while some := await self._threads.run(partial(_next, small)):
            for entry in some:
                if entry.key not in own:
                    yield entry

    async def _look(self, keys: Collection[str]) -> list[JournalEntry]:
        """What is known of `keys`, as small ones and in their folders."""
        small = await self._threads.run(partial(self._small.entries, keys))
        own = [await self._threads.run(partial(purge.look, self._layout, key)) for key in keys]
        return merged(small, [entry for entry in own if entry is not None])

    async def held(self, keys: Collection[str]) -> Collection[str]:
        """Return those of `keys` that a process has now, as far as they have records; takes no lock for long."""
        return [entry.key for entry in await self._look(keys) if entry.owner is not None] if self.lock else []

    async def entries_with(self, values: Collection[str | int]) -> Sequence[JournalEntry]:
        """Return all keys in whose records one of `values` is, and maybe others; takes no lock for long."""
        words = words_of(values)
        if len(words) > MOST_WORDS:
            return await self.entries()
        keys = await self._threads.run(partial(purge.keys, self._layout))
        found = await self._threads.run(partial(self._small.keys_with, words))
        for start in range(0, len(keys), KEYS_AT_ONCE):
            batch = keys[start : start + KEYS_AT_ONCE]
            found |= await self._threads.run(partial(purge.keys_with, self._layout, batch, words))
        return await self._look(found)

    async def openings(self, *, above: int, since: float = -math.inf) -> Sequence[Opened]:
        """Return how the uploads of files of more than `above` bytes began, `since` (unix time); takes no lock."""
        keys = await self._threads.run(partial(purge.keys, self._layout, since=since))
        found: list[Opened] = []
        for start in range(0, len(keys), KEYS_AT_ONCE):
            batch = keys[start : start + KEYS_AT_ONCE]
            found += await self._threads.run(partial(purge.openings, self._layout, batch, above))
        return found + await self._threads.run(partial(self._small.openings, above, since))

    async def purge(self, *, now: float | None = None) -> int:
        """Remove the keys that are of no use any more and not claimed; return how many. None without locks."""
        return await self._purge(time.time() if now is None else now, thorough=True) if self.lock else 0

    async def _purge(self, now: float, *, thorough: bool) -> int:
        """Once a day not thoroughly: each key gets its turn some day, and a segment is rewritten when it is due."""
        kinds = partial(self._forget_keys, now), partial(self._fold, now, thorough=thorough)
        first, second = random.sample(kinds, 2)  # the first one may take all the time there is
        return await first() + await second()

    async def _forget_keys(self, now: float) -> int:
        keys = await self._threads.run(partial(purge.keys, self._layout))
        random.shuffle(keys)  # it may be cut short
        return sum([await self._forget(key, now) for key in keys])

    async def _fold(self, now: float, *, thorough: bool) -> int:
        folding = Folding(self._small, now, thorough=thorough)
        removed: set[str] = set()
        try:
            for unit in await self._threads.run(folding.units):
                removed |= await self._threads.run(partial(folding.fold, unit))
        finally:
            folding.stop()
        return len(removed)

    async def _forget(self, key: str, now: float) -> bool:
        try:
            return await self._threads.run(partial(purge.forget, self._layout, key, now))
        except JournalError as error:  # such as one of a newer version: it stays, and the others go
            logger.warning("not purged: %s", error)
            return False

    async def _purge_daily(self, now: float) -> None:
        if not self.lock or not purge_is_due(self._purged_at, now):
            return
        try:
            if await self._threads.run(partial(purge.begin_daily_purge, self._layout, now)):
                with anyio.move_on_after(PURGE_SECONDS):
                    await self._purge(now, thorough=False)
        except (OSError, JournalError) as error:
            logger.warning("%s: not purged: %s", self.path, error)
        self._purged_at = now

    async def _begun(
        self,
        begin: Callable[[], T | None],
        owner: Callable[[], Owner | None],
        *,
        wait: bool,
        on_busy: Callable[[Owner | None], None] | None,
    ) -> T:
        """What `begin` returns, once the key is ours."""
        attempts = enumerate(pauses())
        while (known := await self._threads.run(begin)) is None:
            attempt, pause = next(attempts)
            if self.lock and attempt == SILENT_ATTEMPTS:
                report_busy(await self._threads.run(owner), wait=wait, on_busy=on_busy)
            await asyncio.sleep(pause)
        return known

    def _begin(
        self, key: str, lock: KeyLock | None, shared: RangeLock | None, segments: Segments
    ) -> list[Record] | None:
        """One job in a thread, not one for each step: most of the cost of a small file is such hops."""
        purge.make(self._layout)
        with worded_lock(self._layout.locks):
            if lock is not None and not lock.try_acquire():
                return None
        with worded(not_made, segments.folder):
            is_new = disk.make_directory(segments.folder)
        with worded_lock(self._layout.locks):
            if shared is not None and not self._small.try_with_folder(shared):
                return None
        small = self._small.read(key).records
        with worded(not_read, segments.folder):
            return joined(small, () if is_new else segments.read(replay).records)

    def _owner(self, key: str, lock: KeyLock | None) -> Owner | None:
        held = lock is not None and lock.is_held
        return self._small.owner(key) if held or lock is None else owner(lock.path)

    @property
    def _layout(self) -> Layout:
        return Layout(self.path)


VARIABLE = "ASYNCSDK_JOURNAL"
_in_memory: dict[str, MemoryJournal] = {}  # by why they are not on disk: one is shared by all uploaders


def open_journal(
    setting: str | os.PathLike[str] | Journal | None = None, *, lock: bool = True, or_memory: bool = False
) -> Journal:
    """Return the journal that `setting` names: a directory, `"memory"`, the URL of a Postgres database
    (`postgresql://…`), or a Journal of your own, returned as it is.

    None means the environment's ASYNCSDK_JOURNAL, else a directory in the user's state directory.
    A directory that is called memory is `./memory`.
    `lock=False` is for a directory on a file system without locks. Nothing is made before the first claim.
    `or_memory=True`: in place of the user's state directory, where none can be kept there, as in a container, a journal
    in memory, one for the whole process, with a warning once. One that was named is used or fails.
    """
    chosen = os.environ.get(VARIABLE) or None if setting is None else setting
    if chosen == "memory":
        return MemoryJournal()
    if chosen is None:
        return _users_journal(lock=lock) if or_memory else FileJournal(lock=lock)
    if isinstance(chosen, str) and is_database_url(chosen):
        from asyncsdk.uploads.journal.postgres import PostgresJournal

        return PostgresJournal(chosen)
    if isinstance(chosen, str | os.PathLike):
        return FileJournal(local_directory(chosen, "the journal").expanduser(), lock=lock)
    return chosen


def _users_journal(*, lock: bool) -> Journal:
    try:
        path = _users_path()
    except JournalError:
        path = Path("~")
    if path.is_absolute() and disk.is_writable(path):
        return FileJournal(path, lock=lock)
    why = kept_in_memory(path)
    if why not in _in_memory:
        _in_memory[why] = MemoryJournal(why)
        logger.warning("%s", why)
    return _in_memory[why]
