"""Small keys: all of a process append to one segment, with no folder, lock file and directory sync for each."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from weakref import WeakKeyDictionary

from attrs import define, field, frozen

from asyncsdk.errors import JournalError, JournalVersionError
from asyncsdk.threads import DaemonThreadPool, wait_through_cancellation
from asyncsdk.uploads.journal import JournalEntry, Opened, Owner, Record, lookup
from asyncsdk.uploads.journal.codec import Turn, encode
from asyncsdk.uploads.journal.lookup import Known, look_up
from asyncsdk.uploads.journal.messages import locking_failed, newer, not_read, worded, worded_write
from asyncsdk.uploads.journal.purge import Layout, make_small
from asyncsdk.uploads.journal.retention import sure_time
from asyncsdk.wal import ClosedError, NewerVersionError, ranges
from asyncsdk.wal.commit import DirectorySync, GroupCommit
from asyncsdk.wal.lock import this_host
from asyncsdk.wal.places import Places
from asyncsdk.wal.ranges import NoRangesError, RangeLock, RangeLocks
from asyncsdk.wal.segments import find, host_in_names, writer_of
from asyncsdk.wal.shared import SharedSegment

GATHERING_SECONDS = 0.002  # for which the records of several uploads wait for each other: a fraction of a round trip

logger = logging.getLogger(__name__)


@define(eq=False)
class SmallLog:
    """The log of one claim of a small key."""

    _records: list[Record]
    _turn: Turn
    _commits: GroupCommit
    _layout: Layout
    _purge: Callable[[float], Awaitable[None]]
    _release: Callable[[], None]
    _pending: set[asyncio.Future[None]] = field(factory=set, init=False)
    _is_over: bool = field(default=False, init=False)

    @property
    def records(self) -> Sequence[Record]:
        return tuple(self._records)

    async def append(self, record: Record) -> None:
        await self._finish(self._begin(record))

    async def append_final(self, record: Record) -> None:
        """Append `record`, which ends the claim; what it makes useless goes when the segment is folded."""
        written = self._begin(record, self._release)
        self._is_over = True  # at once: what came meanwhile would be written after the key was given up
        try:
            await self._finish(written)
        except Exception:
            self._is_over = False
            raise
        await self._purge(sure_time(self._records, record, local=time.time()))

    def _begin(self, record: Record, after: Callable[[], None] | None = None) -> asyncio.Future[None]:
        with worded_write(self._layout.small):
            if self._is_over:
                raise ClosedError(errno.EBADF, "the claim is over; the record was not written")
            written = self._commits.append(_Written(self._records, self._turn, record), after=after)
        self._pending.add(written)
        return written

    async def _finish(self, written: asyncio.Future[None]) -> None:
        with worded_write(self._layout.small):
            await asyncio.shield(written)  # a caller who leaves does not take it back: `close` waits for it
        self._pending.discard(written)

    async def close(self, *, seconds: float) -> None:
        """Take no more, and wait at most `seconds` until all is written; a thread goes on with what takes longer."""
        self._is_over = True
        if self._pending:
            await wait_through_cancellation(self._pending, seconds=seconds)


@frozen(eq=False)
class _Written:
    records: list[Record]
    turn: Turn
    record: Record


def _gathering(segment: SharedSegment) -> float:
    return GATHERING_SECONDS if segment.owners > 1 else 0.0


def _encode(written: _Written) -> bytes:
    return encode(written.record, written.turn)


def _keep(batch: list[_Written]) -> None:
    for written in batch:
        written.records.append(written.record)


@define(eq=False)
class SmallClaim:
    """One claim of a small key, begun and released in threads."""

    key: str
    _small: SmallKeys
    _lock: RangeLock | None
    segment: SharedSegment | None = field(default=None, init=False)
    has_folder: bool = field(default=False, init=False)  # then the key is claimed as those that are not small
    is_over: bool = field(default=False, init=False)
    _mutex: threading.Lock = field(factory=threading.Lock, init=False)

    def begin(self) -> Known | None:
        """Return what is known of the key once it is ours; None while another claim has it. Raises JournalError."""
        with self._mutex:
            if self.is_over or not (self._sees_folder() or self._is_ours()):
                return None
            if self._sees_folder():  # one that was made before the key was ours
                return Known()
            if self.segment is None:
                self.segment = self._small.enter()
            return self._small.read(self.key)

    def owner(self) -> Owner | None:
        """Return the process that has the key."""
        return self._small.owner(self.key)

    def release(self) -> None:
        """Let go of the key. The lock first: a write that hangs must not keep it from others."""
        with self._mutex:
            self.is_over = True
            if self._lock is not None:
                self._lock.release()
            segment, self.segment = self.segment, None
        if segment is not None:
            segment.leave()

    def _sees_folder(self) -> bool:
        self.has_folder = self.has_folder or self._small.has_folder(self.key)
        return self.has_folder

    def _is_ours(self) -> bool:
        small = self._small
        small.make(again=self._lock is None)  # a lock file that is not there says that they are gone
        if self._lock is None:
            return True
        try:
            return small.acquire(self._lock)
        except NoRangesError:
            small.works, self.has_folder = False, True
            return True
        except OSError as error:
            raise locking_failed(small.layout.small, error) from error


@define(eq=False)
class SmallKeys:
    """The small keys of one journal. `lock` is False where the file system has no locks.

    `works` is whether they may share a segment: where the file system locks no ranges, each has a folder of its own.
    """

    layout: Layout
    lock: bool
    _threads: DaemonThreadPool
    _sync_way: DirectorySync
    works: bool = field(init=False)
    places: Places = field(init=False)
    locks: RangeLocks = field(init=False)
    _folders: str = field(init=False)
    _is_made: bool = field(default=False, init=False)
    _segment: SharedSegment = field(init=False)
    _commits: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[SharedSegment, GroupCommit]] = field(
        factory=WeakKeyDictionary, init=False
    )

    def __attrs_post_init__(self) -> None:
        self.works = ranges.SUPPORTED or not self.lock
        self._folders = f"{self.layout.uploads}{os.sep}"
        self.places = Places(self.layout.small)
        self.locks = ranges.locks_at(self.layout.small_locks)
        self._segment = SharedSegment(self.layout.small, self._sync_way, self.places.note)

    def claim(self, key: str) -> SmallClaim:
        """Return a claim of `key`, to be begun."""
        return SmallClaim(key, self, self.locks.lock(key) if self.lock else None)

    def log(self, claim: SmallClaim, known: Known, purge: Callable[[float], Awaitable[None]]) -> SmallLog:
        """Return the log of a claim that was begun, for the running loop."""
        assert claim.segment is not None  # noqa: S101 - it was begun
        turn = Turn(claim.key, known.turn + 1)
        return SmallLog(list(known.records), turn, self._commits_to(claim.segment), self.layout, purge, claim.release)

    def make(self, *, again: bool = False) -> None:
        """Make the directories, once, or `again` where they are gone. Raises JournalError."""
        if again or not self._is_made:
            make_small(self.layout)
            self._is_made = True

    def has_folder(self, key: str) -> bool:
        """Whether `key` is one of those with a folder of its own."""
        return os.path.lexists(f"{self._folders}{key}")

    def enter(self) -> SharedSegment:
        """Return the segment to append to; `leave` it in the end. One that was displaced has another after it."""
        segment = self._segment  # once: another thread may put the next one in its place
        if segment.displaced is not None:
            segment = self._segment = SharedSegment(self.layout.small, self._sync_way, self.places.note)
        segment.enter()
        return segment

    def read(self, key: str) -> Known:
        """Return what is known of `key`. Raises JournalError."""
        with self._reading():
            return look_up(self.places, key)

    def entries(self, keys: Iterable[str]) -> list[JournalEntry]:
        """Return these keys, and the processes that have them. What can't be read is logged and left out."""
        try:
            with self._reading():
                found, owner = {key: look_up(self.places, key) for key in keys}, self._owners()
        except JournalError as error:
            logger.warning("%s", error)
            return []
        return [JournalEntry(key, known.records, owner(key)) for key, known in found.items() if known.records]

    def stream(self) -> Iterator[list[JournalEntry]]:
        """Yield all keys as `entries` does, some at a time, in no order."""
        try:
            with self._reading():
                owner = self._owners()
                for found in lookup.everything(self.places):
                    yield [JournalEntry(key, known.records, owner(key)) for key, known in found.items()]
        except JournalError as error:
            logger.warning("%s", error)

    def keys_with(self, words: Sequence[bytes]) -> set[str]:
        """Return the keys in whose lines one of `words` is found, and maybe others. What can't be read has none."""
        try:
            with self._reading():
                return lookup.keys_with(self.layout.small, words)
        except JournalError as error:
            logger.warning("%s", error)
            return set()

    def openings(self, above: int, since: float) -> list[Opened]:
        """Return how the uploads of files of more than `above` bytes began, `since` (unix time), or more of them."""
        return lookup.openings(self.layout.small, above, since)

    def acquire(self, lock: RangeLock) -> bool:
        """Try once. Raises OSError; NoRangesError where there are no such locks."""
        with suppress(FileNotFoundError):
            return lock.try_acquire()
        self.make(again=True)
        return lock.try_acquire()

    def try_with_folder(self, lock: RangeLock) -> bool:
        """Whether a key with a folder is not claimed as a small one by another. Raises OSError.

        Its folder is there: a claim as a small one that begins now sees it.
        """
        if not self.layout.small_locks.exists():
            return True
        try:
            return lock.try_acquire()
        except NoRangesError:
            return True

    def owner(self, key: str) -> Owner | None:
        """Return the process that has `key` as a small one."""
        with suppress(OSError):
            return self._owners()(key)
        return None

    def end_segment(self) -> None:
        """Let what this process has written be folded, too. Blocking."""
        self._segment.begin_next()

    def _owners(self) -> Callable[[str], Owner | None]:
        """Names the process that has a key now, as far as there are locks. Raises OSError.

        Its machine is in the name of its segment, and else is taken to be this one.
        """
        try:
            holders = self.locks.holders()
        except NoRangesError:
            holders = {}
        if not holders:
            return lambda _: None
        writers = [writer for path in find(self.layout.small) if (writer := writer_of(path.name))]
        hosts = {writer.pid: writer.host for writer in writers if writer.host != host_in_names()}
        pids = partial(self.locks.pid_of, holders=holders)
        return lambda key: None if (pid := pids(key)) is None else Owner(pid, hosts.get(pid, this_host()))

    def _commits_to(self, segment: SharedSegment) -> GroupCommit:
        """What writes to `segment` for all claims of the running loop."""
        loop = asyncio.get_running_loop()
        of, commits = self._commits.get(loop, (None, None))
        if commits is None or of is not segment:
            commits = GroupCommit(_encode, segment.append, self._threads, _keep, partial(_gathering, segment))
            self._commits[loop] = segment, commits
        return commits

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with worded(not_read, self.layout.small):
                yield
        except NewerVersionError as error:
            raise JournalVersionError(newer(error.path or self.layout.small, error.version)) from error
