"""Reading one key's segments, all together. Blocking, for threads."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from asyncsdk.errors import JournalVersionError
from asyncsdk.journal import Record, disk
from asyncsdk.journal.failures import not_read, worded
from asyncsdk.journal.layout import SEGMENT, TEMPORARY
from asyncsdk.journal.lines import parse

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
    for path in found:
        if path.suffix == SEGMENT:
            lines |= _parse(path)
    return Loaded(tuple(lines.values()), tuple(found), touched)


def find(folder: Path) -> list[Path]:
    """Return the segments of a folder, oldest first, with those that are not whole yet. Raises OSError."""
    try:
        disk.check_folder(folder)
        return sorted(path for path in folder.iterdir() if path.suffix in {SEGMENT, TEMPORARY})
    except FileNotFoundError:
        return []


def _parse(path: Path) -> dict[bytes, Record]:
    try:
        parsed = parse(disk.read(path))
    except JournalVersionError as error:
        raise JournalVersionError(f"{path}: {error}") from error
    if parsed.damaged:
        first = ", ".join(map(str, parsed.damaged[:10]))
        logger.warning("%s: %d damaged, not believed: line %s", path, len(parsed.damaged), first)
    return parsed.records
