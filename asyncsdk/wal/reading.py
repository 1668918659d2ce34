"""Reading one key's segments, all together. Blocking, for threads."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from asyncsdk.errors import JournalVersionError
from asyncsdk.uploads.journal import Cancelled, Completed, Expired, Opened, Record, unanswered
from asyncsdk.uploads.journal.codec import Home, home_of, parse
from asyncsdk.uploads.journal.messages import not_read, worded
from asyncsdk.wal import disk
from asyncsdk.wal.layout import SEGMENT, TEMPORARY
from asyncsdk.wal.lock import this_host

logger = logging.getLogger(__name__)


@frozen
class Loaded:
    """What the segments of a key say, oldest first; which they are; when one was written last.

    Their order is that of the segments' names, each of which comes after all that were there before it, and of the
    lines in them: the time in a record is that of a wall clock, which steps.
    """

    records: tuple[Record, ...]
    paths: tuple[Path, ...]
    touched: float | None


def load(folder: Path) -> Loaded:
    """Read all segments of a key, equal lines once; a key without a folder has none.

    Raises JournalError where they can't be read, JournalVersionError where one is newer.
    """
    with worded(not_read, folder):
        for _ in range(5):  # a segment that goes while we read was compacted: what it said is in a new one
            with suppress(FileNotFoundError):
                return _load(folder)
        return _load(folder)


def _load(folder: Path) -> Loaded:
    found = find(folder)
    touched = max((path.lstat().st_mtime for path in found), default=None)
    lines: dict[bytes, Record] = {}
    copied, own = set[str](), set[str]()
    for path in found:
        if path.suffix == SEGMENT:
            parsed, is_copy = _parse(path)
            lines |= parsed
            (copied if is_copy else own).update(each.upload for each in parsed.values() if isinstance(each, Opened))
    records = tuple(lines.values())
    left = [each for upload in copied - own for each in _left_to_the_original(upload, records)]
    return Loaded((*records, *left), tuple(found), touched)


def find(folder: Path) -> list[Path]:
    """Return the segments of a folder, oldest first, with those that are not whole yet. Raises OSError."""
    try:
        disk.check_folder(folder)
        return sorted(path for path in folder.iterdir() if path.suffix in {SEGMENT, TEMPORARY})
    except FileNotFoundError:
        return []


def _parse(path: Path) -> tuple[dict[bytes, Record], bool]:
    """A segment's records by their lines, and whether it is a copy of one that was written elsewhere."""
    try:
        data = disk.read(path)
        parsed = parse(data)
    except JournalVersionError as error:
        raise JournalVersionError(f"{path}: {error}") from error
    if parsed.damaged:
        first = ", ".join(map(str, parsed.damaged[:10]))
        logger.warning("%s: %d damaged, not believed: line %s", path, len(parsed.damaged), first)
    home = home_of(data)
    return parsed.records, home is not None and home.is_left(home_at(path, path.lstat().st_ino))


def home_at(path: Path, inode: int) -> Home:
    """Where the segment `path` is now."""
    return Home(this_host(), str(path.parent).encode(errors="replace").decode(), inode)


def _left_to_the_original(upload: str, records: Iterable[Record]) -> list[Record]:
    """What ends an open `upload` that only a copy of a journal knows of: its original may go on with it elsewhere.

    Two runs that shared it could each take the other's bytes for its own. One whose complete was asked is asked for.
    """
    own = [record for record in records if record.upload == upload]
    if unanswered(own) or any(isinstance(record, Completed | Cancelled | Expired) for record in own):
        return []
    logger.warning("%s was begun by another journal, of which this is a copy; it is left to that", upload)
    return [Expired(upload=upload, reason="it is left to the journal of which this is a copy", at=own[-1].at)]
