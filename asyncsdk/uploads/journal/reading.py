"""Reads the records of a key from all its segments; a copied journal resumes none of its original's. Blocking."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from asyncsdk.errors import JournalVersionError
from asyncsdk.uploads.journal import Cancelled, Completed, Expired, JournalEntry, Opened, Record, may_be_a_file
from asyncsdk.uploads.journal.codec import parse
from asyncsdk.uploads.journal.messages import newer, not_read, worded
from asyncsdk.wal import NewerVersionError, disk, segments
from asyncsdk.wal.line import home_of

OPENED = re.compile(rb'\{"t":"(?:opened|posting)",[^\n]*?"bytes":(\d+),')  # and of how many bytes

logger = logging.getLogger(__name__)


@frozen
class Loaded:
    """The records of a key's segments, oldest first; their paths; the unix time at which one was written last."""

    records: tuple[Record, ...]
    paths: tuple[Path, ...]
    touched: float | None


def load(folder: Path) -> Loaded:
    """Read all segments of a key, equal lines once; a key without a folder has none.

    Raises JournalError where they can't be read, JournalVersionError where one is newer.
    """
    with worded(not_read, folder):
        return segments.read(folder, replay)


def replay(paths: Sequence[Path]) -> Loaded:
    """Read these segments. Raises OSError, JournalVersionError."""
    touched = segments.written_at(paths)
    lines: dict[bytes, Record] = {}
    copied, own = set[str](), set[str]()
    for path in paths:
        if path.suffix == segments.SEGMENT:
            records, is_copy = _read(path)
            lines |= records
            (copied if is_copy else own).update(each.upload for each in records.values() if isinstance(each, Opened))
    left = left_to_the_original(copied - own, lines.values())
    return Loaded((*lines.values(), *left), tuple(paths), touched)


def joined(small: Sequence[Record], own: Sequence[Record]) -> list[Record]:
    """What is known of a key as a small one, and then in its folder: a key that has a folder is not small any more."""
    return [*(record for record in small if record not in own), *own]


def merged(small: Iterable[JournalEntry], own: Iterable[JournalEntry]) -> list[JournalEntry]:
    """All keys: small ones, those with a folder, and those that are both."""
    entries = {entry.key: entry for entry in small}
    for entry in own:
        before = entries.get(entry.key, entry)
        records = joined(before.records, entry.records)
        entries[entry.key] = JournalEntry(entry.key, tuple(records), entry.owner or before.owner)
    return [entries[key] for key in sorted(entries)]


def openings(folder: Path, above: int) -> list[Opened]:
    """Return how the uploads of files of more than `above` bytes began, among all segments of a key.

    For a look through a whole journal: only what may be one of these is parsed. What can't be read has none.
    """
    found: dict[str, Opened] = {}
    with suppress(OSError, NewerVersionError):
        for path in segments.find(folder):
            data = disk.read(path)
            if any(int(size) > above for size in OPENED.findall(data)):
                records = parse(data).records.values()
                found |= {each.upload: each for each in records if isinstance(each, Opened) and each.bytes > above}
    return list(found.values())


def has_one(folder: Path, words: Sequence[bytes]) -> bool:
    """Return whether one of `words` is found in the lines of a key. What can't be read may have it."""
    try:
        return any(word in data for data in map(disk.read, segments.find(folder)) for word in words)
    except OSError:
        return True


def words_of(values: Iterable[str | int]) -> list[bytes]:
    """What each value is in the lines that contain it."""
    return [json.dumps(value).encode() for value in values]


def lines_with(data: bytes, words: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of `data` in which one of `words` is found, once for each."""
    for word in words:
        at = data.find(word)
        while at >= 0:
            begin, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
            yield data[begin : end if end >= 0 else len(data)]
            at = data.find(word, end) if end >= 0 else -1


def _read(path: Path) -> tuple[dict[bytes, Record], bool]:
    """A segment's records by their lines, and whether it is a copy of one that was written elsewhere."""
    data = disk.read(path)
    try:
        parsed = parse(data)
    except NewerVersionError as error:
        raise JournalVersionError(newer(path, error.version)) from error
    if parsed.damaged:
        first = ", ".join(map(str, parsed.damaged[:10]))
        logger.warning("%s: %d damaged, not believed: line %s", path, len(parsed.damaged), first)
    return parsed.records, segments.is_copy(path, home_of(data))


def left_to_the_original(uploads: Iterable[str], records: Collection[Record]) -> list[Record]:
    """What ends those open `uploads` that only a copy of a journal contains: its original may go on with them.

    Two runs that shared one could each take the other's bytes for its own. One whose complete was asked is asked for.
    """
    return [each for upload in uploads for each in _left(upload, records)]


def _left(upload: str, records: Iterable[Record]) -> list[Record]:
    own = [record for record in records if record.upload == upload]
    if may_be_a_file(own) or any(isinstance(record, Completed | Cancelled | Expired) for record in own):
        return []
    logger.warning("%s was begun by another journal, of which this is a copy; it is left to that", upload)
    return [Expired(upload=upload, reason="it is left to the journal of which this is a copy", at=own[-1].at)]
