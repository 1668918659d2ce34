"""A journal's directory as a whole: made, listed, and rid of what nobody can use. Blocking, for threads."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from asyncsdk.errors import JournalError
from asyncsdk.uploads.journal import JournalEntry
from asyncsdk.uploads.journal.messages import not_made, not_read, not_written, worded
from asyncsdk.uploads.journal.retention import keep_until, purge_is_due
from asyncsdk.wal import disk
from asyncsdk.wal.layout import Layout, is_key
from asyncsdk.wal.lock import current_owner, try_lock
from asyncsdk.wal.reading import Loaded, load

logger = logging.getLogger(__name__)


def make(layout: Layout) -> None:
    """Make the directories. Raises JournalError where they can't be made or are somebody else's links."""
    with worded(not_made, layout.root):
        disk.make_root(layout.root)
        disk.make_folder(layout.locks)
        disk.make_folder(layout.uploads)


def keys(layout: Layout) -> list[str]:
    """Return the keys that have a folder. A journal that is not there has none."""
    with worded(not_read, layout.root), suppress(FileNotFoundError):
        disk.check_root(layout.root)
        disk.check_folder(layout.uploads)
        with os.scandir(layout.uploads) as found:
            return sorted(item.name for item in found if is_key(item.name) and item.is_dir(follow_symlinks=False))
    return []


def look(layout: Layout, key: str) -> JournalEntry | None:
    """Return one key's entry; None where there is nothing. What can't be read is logged, its entry has no records."""
    try:
        owner = current_owner(layout.lock(key))
        records = load(layout.folder(key)).records
    except JournalError as error:
        logger.warning("%s", error)
        return JournalEntry(key, (), None)
    return JournalEntry(key, records, owner) if records or owner else None


def forget(layout: Layout, key: str, now: float) -> bool:
    """Remove a key that nobody can use any more and nobody holds; tell whether it is gone. Raises JournalError."""
    folder = layout.folder(key)
    if _is_of_use(load(folder), now):
        return False
    with try_lock(layout.lock(key)) as free, worded(not_written, folder):
        if not free:
            return False
        loaded = load(folder)  # again: until now somebody could write
        return not _is_of_use(loaded, now) and _remove(folder, loaded.paths)


def begin_daily_purge(layout: Layout, now: float) -> bool:
    """Tell whether a purge is due, and note that it was begun. Raises OSError."""
    if not purge_is_due(_purged_at(layout), now):
        return False
    disk.write_small(layout.purged, repr(now).encode())
    return True


def _is_of_use(loaded: Loaded, now: float) -> bool:
    return now < keep_until(loaded.records, touched=loaded.touched)


def _remove(folder: Path, segments: Iterable[Path]) -> bool:
    for path in segments:
        path.unlink(missing_ok=True)
    with suppress(OSError):  # something else is in it
        folder.rmdir()
    return not folder.exists()


def _purged_at(layout: Layout) -> float | None:
    try:
        return float(disk.read(layout.purged))
    except (FileNotFoundError, ValueError):
        return None
