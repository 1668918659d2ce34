"""Reads the segments of a ledger in files into its index, compacts them, and seals them for good."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import frozen

from asyncsdk import files
from asyncsdk.error_details import LedgerDamage
from asyncsdk.errors import LedgerError
from asyncsdk.images.ledger.index import LedgerIndex
from asyncsdk.images.ledger.messages import NEWER, damaged, moved
from asyncsdk.wal import NewerVersionError, disk, segments
from asyncsdk.wal.line import VERSION, encode_line, iso, read_lines
from asyncsdk.wal.segments import Segments

WITH_BATCHES = 2  # the version of a ledger that has batches: those before refuse it, and send nothing of them
COMPACT_ABOVE = 10_000  # lines; below that they are read in a moment
COMPACT_FACTOR = 1.5  # lines for each edit; a run writes two
MOVED = "moved-to"
DAMAGED = ".damaged"  # after the name of a segment that was believed in part

logger = logging.getLogger(__name__)
Fact = tuple[dict[str, Any], float]


@frozen
class LedgerContent:
    """What a ledger's segments contain, as far as they are intact, and what of them is not."""

    index: LedgerIndex
    damage: tuple[LedgerDamage, ...]


def load_segments(log: Segments, *, accept_damage: bool) -> LedgerContent:
    """Read a ledger that this process has locked, and compact it where that pays. Raises LedgerError, OSError."""
    directory = log.folder.parent
    files.clear_drafts(directory / "drafts")
    content = log.read(_replay)
    _warn(content)
    if content.damage and not accept_damage:
        raise damaged(directory, content.damage)
    index = content.index
    if content.damage or (index.lines > COMPACT_ABOVE and index.lines > COMPACT_FACTOR * len(index.states)):
        try:
            for damage in content.damage:
                disk.keep_beside(damage.path, DAMAGED)
            log.version = VERSION if index.book.token is None else WITH_BATCHES
            log.compact(map(encoded, index.facts()))
        except OSError as error:  # such as too little room for a second copy: it is as good as before
            logger.warning("%s: not compacted: %s", log.folder, error)
    return content


def look_at_segments(directory: Path) -> LedgerContent:
    """Read a ledger without a lock, empty where there is none. Raises LedgerError, OSError."""
    with suppress(FileNotFoundError):
        disk.check_place(directory)
        disk.check_directory(directory)
    content = segments.read(directory / "ledger", _replay)
    _warn(content)
    return content


def seal_segments(directory: Path, to: str, by: str) -> None:
    """Add a segment that no version reads: those that do not know the fact in it are not of the version after it."""
    at = iso(time.time())
    moved_to = {"t": MOVED, "to": to, "by": by, "at": at}
    lines: list[dict[str, Any]] = [moved_to, {"t": "segment", "v": VERSION + 1, "at": at}]
    segments.rewrite(directory / "ledger", (), [encode_line(line) for line in lines])


def encoded(fact: Fact) -> bytes:
    """A fact as its line."""
    fields, at = fact
    return encode_line({**fields, "at": iso(at)})


def _replay(paths: Iterable[Path]) -> LedgerContent:
    """Read these segments. Damage before a compaction does not matter: its facts replace all before them."""
    index, lost = LedgerIndex(), dict[Path, dict[int, int]]()  # bytes by the number of their line

    def accept(_: bytes, fields: dict[str, Any]) -> None:
        if fields["t"] == MOVED:
            raise moved(path.parent.parent, str(fields["to"]), fields.get("by"))
        index.apply(fields, datetime.fromisoformat(fields["at"]).timestamp())
        if fields["t"] == "afresh":
            lost.clear()

    for path in paths:
        if path.suffix != segments.SEGMENT:
            continue
        try:
            for line in read_lines(disk.lines(path), accept, newest=WITH_BATCHES):
                if line.unread and not line.torn:
                    lost.setdefault(path, {})[line.number] = len(line.unread)
        except NewerVersionError as error:
            raise LedgerError(NEWER.format(path, error.version, WITH_BATCHES)) from error
    return LedgerContent(index, tuple(LedgerDamage(path, tuple(of), sum(of.values())) for path, of in lost.items()))


def _warn(content: LedgerContent) -> None:
    for damage in content.damage:
        logger.warning("%s, not believed", damage)
