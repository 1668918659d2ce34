"""Folds segments that dead processes left: what is of use goes into one segment, the rest is dropped. Blocking.

- A segment is folded under its lock, which a process that writes it holds: by one process at a time.
- A segment that came of it is whole. It says when a quarter of it will be of no use, and is folded again then.
- What a key that is claimed now has stays as it is, and so does what has a type that only a newer version knows.
- The new segment is durable before the old ones go: a crash leaves both, and equal lines count once.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from attrs import define, field, frozen

from asyncsdk.errors import JournalError
from asyncsdk.uploads.journal.codec import Turn, encode
from asyncsdk.uploads.journal.lookup import Fact, facts_in, known, look_up, settled_among, still_says_something
from asyncsdk.uploads.journal.purge import is_key
from asyncsdk.uploads.journal.reading import load
from asyncsdk.uploads.journal.retention import PURGE_EVERY_SECONDS, uploads_until
from asyncsdk.uploads.journal.small import SmallKeys
from asyncsdk.wal import NewerVersionError
from asyncsdk.wal.ranges import FOLDING, NoRangesError
from asyncsdk.wal.segments import remove, rewrite
from asyncsdk.wal.shared import MOST_BYTES, Left, abandoned, left_in, remove_unfinished

MOST_SEGMENTS = 64  # are open while they are folded into one
KEYS_AT_ONCE = 100  # are decided before it is seen that nobody waits any more

logger = logging.getLogger(__name__)


class _Stopped(Exception):  # noqa: N818 - never leaves this module
    """The caller does not wait any more."""


@frozen
class _Kept:
    """What stays of a key, and until when (unix time)."""

    lines: list[bytes]
    until: float


@define(eq=False)
class Folding:
    """One pass over the segments. `thorough`: also those that are not due, where a key is of no use any more."""

    _small: SmallKeys
    _now: float
    thorough: bool = field(kw_only=True)
    _is_stopped: bool = field(default=False, init=False)

    def stop(self) -> None:
        """End a fold that is under way; what it would have replaced is as it was."""
        self._is_stopped = True

    def units(self) -> list[list[Left]]:
        """Return the segments to fold, in groups that each become one. What can't be read is logged: then none."""
        try:
            self._small.end_segment()
            return list(_grouped([each for each in left_in(self._folder) if self._is_due(each)]))
        except (OSError, NewerVersionError) as error:
            logger.warning("%s: not folded: %s", self._folder, error)
            return []

    def fold(self, unit: Sequence[Left]) -> set[str]:
        """Fold these, and return the keys of which nothing is left. What can't be read or written is logged."""
        lock = self._small.locks.lock(FOLDING)
        try:
            if not lock.try_acquire():
                return set()
            remove_unfinished(self._folder)
            with abandoned(unit) as segments:
                return self._folded(segments) if segments else set()
        except (_Stopped, NoRangesError):
            return set()
        except (OSError, JournalError, NewerVersionError) as error:
            logger.warning("%s: not folded: %s", self._folder, error)
            return set()
        finally:
            lock.release()

    @property
    def _folder(self) -> Path:
        return self._small.layout.small

    def _is_due(self, left: Left) -> bool:
        return self.thorough or left.due is None or left.due <= self._now

    def _folded(self, segments: Sequence[Left]) -> set[str]:
        by_key: dict[str, list[Fact]] = defaultdict(list)
        for each in segments:
            for fact in facts_in(each.path):
                by_key[fact.turn.key].append(fact)
        holders = self._small.locks.holders()
        self._small.places.refresh()
        names, kept, removed = {each.path.name for each in segments}, list[_Kept](), set[str]()
        for number, (key, facts) in enumerate(by_key.items()):
            if self._is_stopped and number % KEYS_AT_ONCE == 0:
                raise _Stopped
            is_elsewhere = self._small.places.is_elsewhere(key, names)
            is_claimed = self._small.locks.pid_of(key, holders) is not None
            stays = self._kept(key, facts, is_elsewhere=is_elsewhere, is_claimed=is_claimed)
            if stays is not None:
                kept.append(stays)
            elif not is_elsewhere:
                removed.add(key)
        self._replace(segments, kept, before=sum(map(len, by_key.values())))
        return removed

    def _kept(self, key: str, facts: list[Fact], *, is_elsewhere: bool, is_claimed: bool) -> _Kept | None:
        """What stays of the `facts` of a key, given all that is known of it; None where that is of no use."""
        all_known = look_up(self._small.places, key) if is_elsewhere else known(facts)
        folder, records = self._small.layout.folder(key), all_known.records
        if is_key(key) and folder.exists():
            records += load(folder).records
        untils = uploads_until(records)
        until = max(untils.values(), default=0.0)
        if any(fact.record is None for fact in facts):
            until = max(until, self._now + PURGE_EVERY_SECONDS)
        if self._now >= until and not is_claimed:
            return None
        over = set() if is_claimed else {upload for upload, end in untils.items() if self._now >= end}
        settled = set() if is_claimed else settled_among(records)
        stay = [
            fact.line + b"\n"
            for fact in facts
            if still_says_something(fact.record, settled) and (fact.record is None or fact.record.upload not in over)
        ]
        turn = Turn(key, max(fact.turn.number for fact in facts))
        return _Kept([*dict.fromkeys(stay), *(encode(record, turn) for record in all_known.left)], until)

    def _replace(self, segments: Sequence[Left], kept: Sequence[_Kept], *, before: int) -> None:
        paths, lines = [each.path for each in segments], [line for each in kept for line in each.lines]
        if len(segments) == 1 and segments[0].due is not None and len(lines) == before:
            return
        if self._is_stopped:
            raise _Stopped
        if lines:
            untils = sorted(each.until for each in kept)
            rewrite(self._folder, paths, lines, due=untils[len(untils) // 4])
        else:
            remove(paths)


def _grouped(segments: Iterable[Left]) -> Iterator[list[Left]]:
    """In groups of about as much as a process writes into one."""
    group, size = list[Left](), 0
    for each in segments:
        if group and (size + each.size > MOST_BYTES or len(group) >= MOST_SEGMENTS):
            yield group
            group, size = [], 0
        group.append(each)
        size += each.size
    if group:
        yield group
