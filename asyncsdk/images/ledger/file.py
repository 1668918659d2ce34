"""The memory of edits, beside their pictures: what was sent, paid and saved, durably, so that nothing is paid twice.

Lines, segments, group commit and lock are the journal's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field

from asyncsdk import files
from asyncsdk.error_details import LedgerDamage
from asyncsdk.errors import JournalError, JournalVersionError, LedgerBusyError, LedgerError
from asyncsdk.images.ledger.damage import damaged
from asyncsdk.images.ledger.index import LedgerIndex, Spent, usage_fields
from asyncsdk.images.ledger.recall import Recalled, recall
from asyncsdk.images.ledger.states import ItemState, problem_fields
from asyncsdk.images.outcome import Problem, Status
from asyncsdk.models import Usage
from asyncsdk.threads import DaemonThreadPool, NoThreadError, wait_through_cancellation
from asyncsdk.timing import DEFAULT_TIMING
from asyncsdk.uploads.journal.codec import encode_line, iso
from asyncsdk.uploads.journal.messages import DisplacedError
from asyncsdk.wal import disk
from asyncsdk.wal.commit import GroupCommit
from asyncsdk.wal.dirsync import DirectorySync
from asyncsdk.wal.lock import KeyLock, owner
from asyncsdk.wal.permissions import NotPrivateError
from asyncsdk.wal.reading import find
from asyncsdk.wal.segments import Anchor, Segments

WRITE_SECONDS, RELEASE_SECONDS = 2.0, 0.5  # on leaving: for what is being written, then to close and to unlock
COMPACT_ABOVE = 10_000  # lines; below that they are read in a moment
COMPACT_FACTOR = 1.5  # lines for each edit; a run writes two
DAMAGED = ".damaged"  # behind the name of a segment that was believed in part

_NAME_ANOTHER = "It lies beside the pictures: name a directory for them that can be made and written."
_GO_ON = (
    "It remembers what was paid. Make room or mend the disk, and the same call goes on; another directory starts anew, "
    "and pays anew."
)
_MADE_PRIVATE = (
    "It remembers what was paid. Change that where it is, and the same call goes on; another directory starts over, "
    "and pays again."
)
_PUT_BACK = (
    "It remembers what was paid. Put the directory back where it was: the same call goes on and pays nothing twice. "
    "Without it nothing is remembered, and the same call would pay again for all."
)

logger = logging.getLogger(__name__)
Fact = tuple[dict[str, Any], float]


@define(eq=False)
class Ledger:
    """What is known of each edit, by its item: the SHA-256 of what it is, `#`, and its ordinal among equal ones.

    `damage` is what can't be believed of it.
    """

    directory: Path
    book: LedgerIndex
    damage: tuple[LedgerDamage, ...] = ()
    _commits: GroupCommit | None = field(default=None, repr=False)
    _anchors: list[Anchor] = field(factory=list, repr=False)

    async def watch(self, out: Path) -> None:
        """Take no more facts once `out`, where the pictures go, is not the directory any more that it is now.

        Raises OSError. That a ledger which lies in it is still there tells as much at no cost.
        """
        if self.directory.parent != out:
            self._anchors.append(await files.in_thread(Anchor.at, out))

    def drafts_for(self, out: Path) -> Path | None:
        """Where pictures for `out` are written before they take their place; None for a ledger that lies elsewhere."""
        return self.directory / "drafts" if self.directory.parent == out else None

    @property
    def spent(self) -> Spent:
        """What was paid, or may have been, over all runs."""
        return self.book.spent

    def state(self, item: str) -> ItemState | None:
        """How an edit stands; None for one that was never sent."""
        return self.book.state_of(item)

    def owner_of(self, stem: str) -> str | None:
        """The edit that has, or may have, written a picture of this name: relative to the directory, no suffix."""
        return self.book.owner_of(stem)

    async def intend(
        self,
        item: str,
        *,
        id: str,  # noqa: A002 - the name for the edit
        n: int,
        source: str | None = None,
    ) -> None:
        """Write down that `item` is about to be sent, with the name of its `n` pictures. Raises LedgerError.

        `source` is a digest of where its first picture comes from.

        Cancelled, it is taken back once it is written; where that can't be awaited, it counts as uncertain.
        """
        known = {} if source is None else {"source": source}
        written = self._add({"t": "intent", "item": item, "id": id, "n": n, **known})
        written.add_done_callback(_look_away)
        try:
            await asyncio.wait([written])
        except asyncio.CancelledError:
            if await wait_through_cancellation([written], seconds=WRITE_SECONDS) and written.exception() is None:
                self.release(item)
            raise
        with _worded(self.directory, sent=True):
            written.result()

    def release(self, item: str) -> None:
        """Write down that the server did nothing for `item`. Where that is lost it counts as uncertain, at no cost."""
        if self._commits is not None:
            self._commits.add(_now({"t": "released", "item": item})).add_done_callback(_look_away)

    async def end(
        self,
        item: str,
        status: Status,
        *,
        id: str,  # noqa: A002 - as above
        problem: Problem | None = None,
        files: tuple[str, ...] = (),
        usage: Usage | None = None,
        images: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """Write down how `item` ended: what went wrong with it, what is on disk, what it cost. Raises LedgerError."""
        known: dict[str, Any] = {"files": list(files), "images": images, "request_id": request_id}
        if usage is not None:
            known["usage"] = usage_fields(usage)
        if problem is not None:
            known["problem"] = problem_fields(problem)
        await self._write({"t": status, "item": item, "id": id} | {name: told for name, told in known.items() if told})

    async def moved(self, item: str, files: Mapping[str, str]) -> None:
        """Write down that pictures of `item` make way for those of another: where each was, and where it goes."""
        await self._write({"t": "moved", "item": item, "files": dict(files)})

    async def redo_before(self, asked: float) -> float:
        """Up to when a redo as of `asked` (unix time) reaches; where that is ahead of the clock, it is written down.

        A ledger that is only read is left as it is. Raises LedgerError.
        """
        now = time.time()
        before = self.book.redo_before(asked, now)
        if before == now and self._commits is not None:
            await self._write({"t": "redo", "before": asked})
        return before

    async def _write(self, fact: dict[str, Any]) -> None:
        written = self._add(fact)
        with _worded(self.directory, sent=True):
            await written

    def _add(self, fact: dict[str, Any]) -> asyncio.Future[None]:
        if self._commits is None:
            raise LedgerError(f"{self.directory}: the ledger was opened to be read only")
        with _worded(self.directory, sent=True):
            return self._commits.add(_now(fact))


@asynccontextmanager
async def open_ledger(
    directory: Path, *, accept_damage: bool = False, idle: float = DEFAULT_TIMING.thread_idle
) -> AsyncIterator[Ledger]:
    """Own the ledger in `directory`, made if missing, for the length of the block.

    With `accept_damage` what is intact of a damaged one is believed, and written again; the damaged file is kept.
    `idle` is for how many seconds its threads wait for another job.

    Raises LedgerBusyError where another process has it, LedgerDamagedError where it is damaged, LedgerError where it
    can't be read or written, JournalVersionError where a newer asyncsdk wrote it.
    """
    threads, lock = DaemonThreadPool("asyncsdk-ledger", 4, idle=idle), KeyLock(directory / "ledger.lock")
    try:
        with _worded(directory):
            await threads.run(partial(_make, directory))
            if not await threads.run(lock.take):
                raise _busy(directory, lock.path)
            segments = Segments(directory / "ledger", _way(directory), patient=True)
            recalled = await threads.run(partial(_recall, segments, accept_damage=accept_damage))
        book, anchors = recalled.book, list[Anchor]()
        write = partial(_append, segments, anchors)
        commits = GroupCommit(segments.folder, write, threads, partial(_apply, book), encode=_encode)
        try:
            yield Ledger(directory, book, recalled.damage, commits, anchors)
        finally:
            await commits.leave(seconds=WRITE_SECONDS)
            await _let_go(threads, segments.close)
    finally:
        await _let_go(threads, lock.leave)


async def load_ledger(directory: Path) -> Ledger:
    """Read the ledger in `directory`, empty where there is none, and keep nobody out.

    What is damaged is left out, and reported as its `damage`. Raises as `open_ledger` does otherwise.
    """
    with _worded(directory):
        recalled = await DaemonThreadPool("asyncsdk-ledger", 1).run(partial(_look, directory))
    return Ledger(directory, recalled.book, recalled.damage)


async def _let_go(threads: DaemonThreadPool, job: Callable[[], object]) -> None:
    """Do what ends in a moment, however the call ends; where there is no thread for it, right here."""
    done = threads.start(job)
    done.add_done_callback(_look_away)
    await wait_through_cancellation([done], seconds=RELEASE_SECONDS)
    if done.done() and isinstance(done.exception(), NoThreadError):
        job()


def _append(segments: Segments, anchors: Iterable[Anchor], lines: bytes) -> None:
    for anchor in anchors:
        anchor.check()
    segments.append(lines)


def _make(directory: Path) -> None:
    files.make_directory(directory.parent)
    disk.check_place(directory)
    disk.make_folder(directory)
    disk.make_folder(directory / "ledger")
    disk.make_folder(directory / "drafts")
    _way(directory)()


def _way(directory: Path) -> DirectorySync:
    return DirectorySync((directory, directory.parent))


def _recall(segments: Segments, *, accept_damage: bool) -> Recalled:
    files.clear_drafts(segments.folder.parent / "drafts")
    segments.adopt(find(segments.folder))
    recalled = recall(segments.folder)
    if recalled.damage and not accept_damage:
        raise damaged(segments.folder.parent, recalled.damage)
    book = recalled.book
    if recalled.damage or (book.lines > COMPACT_ABOVE and book.lines > COMPACT_FACTOR * len(book.states)):
        try:
            for damage in recalled.damage:
                disk.keep_beside(damage.path, DAMAGED)
            segments.compact(map(_encode, book.facts()))
        except OSError as error:  # such as too little room for a second copy: it is as good as before
            logger.warning("%s: not compacted: %s", segments.folder, error)
    return recalled


def _look(directory: Path) -> Recalled:
    with suppress(FileNotFoundError):
        disk.check_place(directory)
        disk.check_folder(directory)
    return recall(directory / "ledger")


def _apply(book: LedgerIndex, facts: list[Fact]) -> None:
    for fields, at in facts:
        book.apply(fields, at)


def _now(fields: dict[str, Any]) -> Fact:
    return fields, round(time.time(), 3)


def _encode(fact: Fact) -> bytes:
    fields, at = fact
    return encode_line({**fields, "at": iso(at)})


def _look_away(future: Any) -> None:
    if not future.cancelled():
        future.exception()


@contextmanager
def _worded(directory: Path, *, sent: bool = False) -> Iterator[None]:
    """The journal's failures, in words about edits; `sent` tells whether some may be on their way already."""
    try:
        yield
    except (LedgerError, JournalVersionError):
        raise
    except (JournalError, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        reason = (cause.strerror if isinstance(cause, OSError) else None) or str(cause or error)
        if isinstance(cause, NotADirectoryError):
            reason = "a file stands where a directory should be"
        safe = "Nothing more was sent; saved pictures are safe." if sent else "Nothing was sent."
        if isinstance(cause, DisplacedError):
            raise _displaced(cause) from cause
        advice = _GO_ON if sent or os.path.lexists(directory) else _NAME_ANOTHER
        if isinstance(cause, NotPrivateError) and advice == _GO_ON:
            advice = _MADE_PRIVATE
        raise LedgerError(f"can't keep the ledger in {directory} ({reason}). {safe}\n  {advice}") from cause


def _displaced(cause: DisplacedError) -> LedgerError:
    """The same call is no way on by itself: it would make another ledger, and pay again for all."""
    error = LedgerError(
        f"{cause.filename} is not where it was when the run began: {cause.strerror}. Nothing more was sent; what was "
        f"under way is in memory, or on disk where it is named.\n  {_PUT_BACK}"
    )
    error.resumable = False
    return error


def _busy(directory: Path, lock: Path) -> LedgerBusyError:
    known = owner(lock)
    who = f"process {known.pid} on {known.host}" if known else "another process"
    error = LedgerBusyError(
        f"{who} is editing into {directory.parent} right now. Nothing was sent by this call.\n"
        "  Wait for it, or edit into another directory."
    )
    if known:
        error.pid, error.host = known.pid, known.host
    return error
