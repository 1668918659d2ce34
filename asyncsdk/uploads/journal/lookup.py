"""Reads the records of small keys from the segments that they share. Blocking, for threads."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from operator import attrgetter
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from asyncsdk.uploads.journal import Cancelled, Completed, Opened, Record
from asyncsdk.uploads.journal.codec import Turn, decode, turn_of
from asyncsdk.uploads.journal.reading import OPENED, left_to_the_original, lines_with
from asyncsdk.wal import NewerVersionError, disk
from asyncsdk.wal.line import home_of, is_intact, read_lines
from asyncsdk.wal.places import KEYED, Places
from asyncsdk.wal.segments import SEGMENT, find, is_copy, written_at

_SETTLED = (Completed, Cancelled)
_SETTLED_LINE = re.compile(rb'^\{"t":"(?:completed|cancelled)","k":"[^"]+","n":\d+,"u":"([^"\n]+)"[^\n]*', re.MULTILINE)
_OTHER_LINE = re.compile(
    rb'^\{"t":"(?:part|completing|refused|expired)","k":"[^"]+","n":\d+,"u":"([^"\n]+)"[^\n]*', re.MULTILINE
)
_ATTEMPTS = 5

logger = logging.getLogger(__name__)


@frozen
class Fact:
    """A line of a segment of many keys. `record` is None for a type that this version does not know."""

    turn: Turn
    segment: str
    place: int
    line: bytes
    record: Record | None
    is_copy: bool


@frozen
class Known:
    """The records of a key, oldest first, and the number of its last claim.

    `left` are those of them that end uploads which only a copy of a journal contains.
    """

    records: tuple[Record, ...] = ()
    turn: int = 0
    left: tuple[Record, ...] = ()


def look_up(places: Places, key: str) -> Known:
    """Return what the segments contain of `key`. Raises OSError, NewerVersionError."""
    facts: list[Fact] = []
    for line in places.lines(key):
        found, damaged = _read([line.data], line.segment, line.offset, is_copy=line.is_copy)
        facts += (fact for fact in found if fact.turn.key == key)
        if damaged:
            logger.warning("%s: damaged, not believed: the line at byte %d", line.segment, line.offset)
    return known(facts)


def known(facts: Iterable[Fact]) -> Known:
    """Put the facts of one key in order, each once."""
    ordered = sorted(facts, key=attrgetter("turn.number", "segment", "place"))
    lines = {fact.line: fact.record for fact in ordered if fact.record is not None}
    copied, own = set[str](), set[str]()
    for fact in ordered:
        if isinstance(fact.record, Opened):
            (copied if fact.is_copy else own).add(fact.record.upload)
    left = left_to_the_original(copied - own, lines.values())
    return Known((*lines.values(), *left), ordered[-1].turn.number if ordered else 0, tuple(left))


def facts_in(path: Path, *, needed: Callable[[bytes], bytes] = bytes) -> list[Fact]:
    """Return all that is in a segment, or what is `needed` of it. Damaged lines are left out and logged.

    Raises OSError, NewerVersionError.
    """
    data = disk.read(path)
    try:
        facts, damaged = _read(BytesIO(needed(data)), path.name, 0, is_copy=is_copy(path, home_of(data)))
    except NewerVersionError as error:
        raise NewerVersionError(error.version, path) from error
    if damaged:
        first = ", ".join(map(str, damaged[:10]))
        logger.warning("%s: %d damaged, not believed: line %s", path, len(damaged), first)
    return facts


def settled_among(records: Iterable[Record | None]) -> set[str]:
    """The uploads that have ended, by what no later record of them changes."""
    return {record.upload for record in records if isinstance(record, _SETTLED)}


def still_says_something(record: Record | None, settled: Collection[str]) -> bool:
    """Whether a record is still needed once the uploads `settled` have ended. One of an unknown type may be."""
    return record is None or isinstance(record, (Opened, *_SETTLED)) or record.upload not in settled


def everything(places: Places) -> Iterator[dict[str, Known]]:
    """Yield what the segments contain, some keys at a time, each once; of a settled upload how it began and ended.

    Raises OSError, NewerVersionError.
    """
    read, listed = set[str](), set[str]()
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):  # folded into another meanwhile
            yield from _everything(places, read, listed)
            return
    yield from _everything(places, read, listed)


def keys_with(folder: Path, words: Sequence[bytes]) -> set[str]:
    """Return the keys in whose lines one of `words` is found; others may be among them. Raises OSError."""
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):  # folded into another meanwhile
            return _keys_with(folder, words)
    return _keys_with(folder, words)


def openings(folder: Path, above: int, since: float) -> list[Opened]:
    """Return how the uploads of files of more than `above` bytes began, `since` (unix time), or more of them.

    What can't be read has none.
    """
    found: list[Opened] = []
    with suppress(OSError, NewerVersionError):
        for path in _segments(folder):
            if (written_at([path]) or 0.0) >= since and any(
                int(size) > above for size in OPENED.findall(disk.read(path))
            ):
                found += (fact.record for fact in facts_in(path) if isinstance(fact.record, Opened))
    return list({opened.upload: opened for opened in found if opened.bytes > above}.values())


def _everything(places: Places, read: set[str], listed: set[str]) -> Iterator[dict[str, Known]]:
    """The same for the segments that are not among those `read` and the keys that are not `listed`; both are added."""
    places.refresh()
    for path in _segments(places.folder):
        if path.name in read:
            continue
        by_key: dict[str, list[Fact]] = defaultdict(list)
        for fact in facts_in(path, needed=_without_what_is_over):
            if fact.turn.key not in listed:
                by_key[fact.turn.key].append(fact)
        elsewhere = {key for key in by_key if places.is_elsewhere(key, [path.name])}
        found = {
            key: _brief(look_up(places, key) if key in elsewhere else known(facts)) for key, facts in by_key.items()
        }
        read.add(path.name)
        listed.update(by_key)
        yield found


def _brief(known: Known) -> Known:
    settled = settled_among(known.records)
    return evolve(known, records=tuple(each for each in known.records if still_says_something(each, settled)))


def _without_what_is_over(data: bytes) -> bytes:
    """Empty the lines in `data` of what an upload needed until it was settled: to read them takes longest."""
    settled = {match[1] for match in _SETTLED_LINE.finditer(data) if is_intact(match[0])}

    def emptied(match: re.Match[bytes]) -> bytes:
        return b"" if match[1] in settled and match[0].count(b'{"t":"') == 1 else match[0]

    return _OTHER_LINE.sub(emptied, data)


def _keys_with(folder: Path, words: Sequence[bytes]) -> set[str]:
    return {
        match[1].decode(errors="replace")
        for path in _segments(folder)
        for line in lines_with(disk.read(path), words)
        for match in KEYED.finditer(line)
    }


def _segments(folder: Path) -> list[Path]:
    return [path for path in find(folder) if path.suffix == SEGMENT]


def _read(lines: Iterable[bytes], segment: str, place: int, *, is_copy: bool) -> tuple[list[Fact], list[int]]:
    """The facts in `lines`, and the numbers of those that are damaged (from 1)."""
    facts: list[Fact] = []

    def accept(line: bytes, fields: dict[str, Any]) -> None:
        facts.append(Fact(turn_of(fields), segment, place + len(facts), line, decode(fields), is_copy))

    damaged = [line.number for line in read_lines(lines, accept)]
    return facts, damaged
