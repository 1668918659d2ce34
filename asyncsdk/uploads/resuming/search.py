"""Searches a journal: the uploads of files that were renamed or moved since, and what is about an upload or a File."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Protocol, runtime_checkable

import anyio
from attrs import define, field

from asyncsdk.errors import ConfigurationError, JournalError
from asyncsdk.threads import DaemonThreadPool
from asyncsdk.uploads.journal import Completed, Journal, JournalEntry, Opened
from asyncsdk.uploads.resuming.moved import LEAST_BYTES, MovedSource, large, newest_first
from asyncsdk.uploads.resuming.resume import ResumeState, replay
from asyncsdk.uploads.sources.source import is_still_at

DAY = 86_400.0
CLOCKS_DIFFER = DAY  # seconds at most: that of the disk of a file, that of the journal's, and one that was set
MOST_BEGUN = 10_000  # uploads that are kept in memory, so that it has a bound

log = logging.getLogger(__name__)


@runtime_checkable
class QuickSearch(Protocol):
    """A journal that knows how its uploads began without reading all of them."""

    async def openings(self, *, above: int, since: float) -> Iterable[Opened]:
        """Return how all uploads that are meant began, or more.

        Args:
            above: Of files of more than so many bytes.
            since: That began then or later, in unix seconds.
        """


@runtime_checkable
class Searchable(Protocol):
    """A journal that finds what is about an upload or a File without parsing all of it."""

    async def entries_with(self, values: Collection[str | int]) -> Sequence[JournalEntry]:
        """Return all keys in whose records one of `values` is, and maybe others; takes no lock.

        Args:
            values: Ids, names and sizes.
        """


@runtime_checkable
class Streamable(Protocol):
    """A journal that reads its entries one after the other."""

    def stream(self) -> AsyncIterator[JournalEntry]:
        """Yield what `entries` returns, in no order."""


async def each_entry(journal: Journal) -> AsyncIterator[JournalEntry]:
    """Yield all keys of any journal, in no order; of one that can, with few at a time in memory."""
    if isinstance(journal, Streamable):
        async for entry in journal.stream():
            yield entry
    else:
        for entry in await journal.entries():
            yield entry


async def entries_with(journal: Journal, values: Collection[str | int]) -> Sequence[JournalEntry]:
    """The same for any journal: of one that can't search, all keys."""
    return await (journal.entries_with(values) if isinstance(journal, Searchable) else journal.entries())


async def state_of(journal: Journal, upload_id: str) -> ResumeState:
    """How far that upload is. Raises ConfigurationError where the journal does not hold it."""
    for entry in await entries_with(journal, [upload_id]):
        state = replay(entry.records)
        if state is not None and state.opened is not None and state.upload_id == upload_id:
            return state
    raise ConfigurationError(f"the journal holds no upload {upload_id}; see `asyncsdk uploads list`. Nothing was sent.")


async def file_ids_in(journal: Journal, file_ids: Collection[str]) -> frozenset[str]:
    """The ids of files in the journal, these if they are: none is that of a request whose response was lost."""
    entries = await entries_with(journal, file_ids)
    records = (record for entry in entries for record in entry.records)
    return frozenset(str(record.file.get("id")) for record in records if isinstance(record, Completed))


@define(eq=False)
class MovedFiles:
    """The uploads of large files that the journal held when it was first asked, and those that this uploader began.

    None began before its file was written: of a large journal, only what is as young as the file is looked at.
    """

    _journal: Journal
    _openings: Sequence[Opened] = field(default=(), init=False)
    _since: float = field(default=math.inf, init=False)
    _begun: deque[Opened] = field(factory=partial(deque, maxlen=MOST_BEGUN), init=False)
    _looking: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def earlier(self, moved: MovedSource, readers: DaemonThreadPool) -> list[Opened]:
        """Return the uploads that may have begun with this file at a path where it is not any more, newest first."""
        alike = newest_first(await self._known(moved), moved.may_be)
        # a hard link is another file to its owner, and may be wanted under both names
        still = [await readers.run(partial(is_still_at, opened.source, moved.inode)) for opened in alike]
        return [opened for opened, there in zip(alike, still, strict=True) if not there]

    async def otherwise(self, moved: MovedSource) -> list[Opened]:
        """Return the uploads that began with this file at its path, newest first: one of another key had other fields.

        For a file of which the own key has nothing.
        """
        return newest_first(await self._known(moved), moved.may_differ)

    async def named_otherwise(self, now: MovedSource, place: str) -> list[Opened]:
        """Return the uploads of the caller's own key that `place` has with another filename, newest first.

        For a key with which nothing has this filename.
        """
        return newest_first(await self._known(now), lambda opened: now.may_be_named(opened, place))

    async def _known(self, moved: MovedSource) -> Iterable[Opened]:
        return chain(await self._looked_through(moved.written_at), self._begun)

    def began(self, opened: Opened) -> None:
        """Note an upload of this uploader."""
        if opened.bytes > LEAST_BYTES:
            self._begun.append(opened)

    async def _looked_through(self, written_at: float) -> Sequence[Opened]:
        """What began since the day of `written_at` (unix time), one look for all of a day; the second is at all."""
        since = min(written_at, time.time()) // DAY * DAY - CLOCKS_DIFFER
        async with self._looking:
            if since < self._since:
                self._since = since if self._since == math.inf else -math.inf
                self._openings = await self._look(self._since)
            return self._openings

    async def _look(self, since: float) -> Sequence[Opened]:
        try:
            if isinstance(self._journal, QuickSearch):
                return list(await self._journal.openings(above=LEAST_BYTES, since=since))
            self._since = -math.inf
            return large(await self._journal.entries())
        except JournalError as error:
            log.warning("whether a file was moved can't be known: %s", error)
            return []
