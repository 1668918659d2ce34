"""A journal's directory as a whole: made, listed, purged of what no upload can use any more. Blocking, for threads."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import field, frozen

from asyncsdk.errors import ConfigurationError, JournalError
from asyncsdk.uploads.journal import JournalEntry, Opened, reading
from asyncsdk.uploads.journal.messages import not_made, not_read, not_written, worded, worded_lock
from asyncsdk.uploads.journal.reading import Loaded, load
from asyncsdk.uploads.journal.retention import keep_until, purge_is_due
from asyncsdk.wal import disk
from asyncsdk.wal.lock import current_owner, try_lock

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")

logger = logging.getLogger(__name__)


@frozen
class Layout:
    """The paths below `root`; `small` is for the segments that small uploads share."""

    root: Path
    small: Path = field(init=False)  # made once: each record of a small upload asks for it

    @small.default
    def _small(self) -> Path:
        return self.root / "small"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def small_locks(self) -> Path:
        return self.small / "keys.lock"

    @property
    def purged(self) -> Path:
        """The file that contains when the journal was purged last."""
        return self.root / "purged"

    def folder(self, key: str) -> Path:
        return self.uploads / key

    def lock(self, key: str) -> Path:
        return self.locks / f"{key}.lock"


def is_key(name: str) -> bool:
    """Return whether `name` can name a key's folder: it is short, and does not lead elsewhere."""
    return _KEY.fullmatch(name) is not None


def check_key(key: str) -> None:
    """Raise ConfigurationError for what can't be a key."""
    if not is_key(key):
        raise ConfigurationError(f"{key!r} can't be a journal's key: letters, digits, `_`, `-` and `.` only")


def make(layout: Layout) -> None:
    """Make the directories. Raises JournalError where they can't be made or are another user's links."""
    with worded(not_made, layout.root):
        disk.make_root(layout.root)
        disk.make_directory(layout.locks)
        disk.make_directory(layout.uploads)


def make_small(layout: Layout) -> None:
    """Make the directories for small uploads. Raises JournalError, as `make` does."""
    with worded(not_made, layout.root):
        disk.make_root(layout.root)
        disk.make_directory(layout.small)


def keys(layout: Layout, *, since: float = -math.inf) -> list[str]:
    """Return the keys that have a folder, written `since` (unix time). A journal that is not there has none."""
    with worded(not_read, layout.root), suppress(FileNotFoundError):
        disk.check_root(layout.root)
        disk.check_directory(layout.uploads)
        return sorted(filter(is_key, disk.subdirectories(layout.uploads, since=since)))
    return []


def look(layout: Layout, key: str) -> JournalEntry | None:
    """Return one key's entry; None where there is nothing. What can't be read is logged, its entry has no records."""
    try:
        with worded_lock(layout.locks):
            owner = current_owner(layout.lock(key))
        records = load(layout.folder(key)).records
    except JournalError as error:
        logger.warning("%s", error)
        return JournalEntry(key, (), None)
    return JournalEntry(key, records, owner) if records or owner else None


def openings(layout: Layout, keys: Iterable[str], above: int) -> list[Opened]:
    """Return how the uploads under `keys` began, of files of more than `above` bytes."""
    return [opened for key in keys for opened in reading.openings(layout.folder(key), above)]


def keys_with(layout: Layout, keys: Iterable[str], words: Sequence[bytes]) -> set[str]:
    """Return those of `keys` in whose lines one of `words` is found, and those that can't be read."""
    return {key for key in keys if reading.has_one(layout.folder(key), words)}


def forget(layout: Layout, key: str, now: float) -> bool:
    """Remove a key that is of no use and that no process has; return whether it is gone. Raises JournalError."""
    folder = layout.folder(key)
    if _is_of_use(load(folder), now):
        return False
    with worded_lock(layout.locks), try_lock(layout.lock(key)) as free, worded(not_written, folder):
        if not free:
            return False
        loaded = load(folder)  # again: until now another process could write
        return not _is_of_use(loaded, now) and disk.remove_directory(folder, loaded.paths)


def begin_daily_purge(layout: Layout, now: float) -> bool:
    """Return whether a purge is due, and note that it was begun. Raises OSError."""
    if not purge_is_due(_purged_at(layout), now):
        return False
    disk.write_small(layout.purged, repr(now).encode())
    return True


def _is_of_use(loaded: Loaded, now: float) -> bool:
    return now < keep_until(loaded.records, touched=loaded.touched)


def _purged_at(layout: Layout) -> float | None:
    try:
        return float(disk.read(layout.purged))
    except (FileNotFoundError, ValueError):
        return None
