"""Reading a ledger: the book that its segments fill, and what of them is damaged. Blocking, for threads."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from attrs import define, field, frozen

from asyncsdk.error_details import LedgerDamage
from asyncsdk.errors import JournalVersionError
from asyncsdk.images.ledger.damage import is_torn
from asyncsdk.images.ledger.index import LedgerIndex
from asyncsdk.uploads.journal.codec import Damaged, check_version, decode_line, pieces
from asyncsdk.wal import disk
from asyncsdk.wal.layout import SEGMENT
from asyncsdk.wal.reading import find

logger = logging.getLogger(__name__)


@frozen
class Recalled:
    """What a ledger's segments say, as far as they are intact."""

    book: LedgerIndex
    damage: tuple[LedgerDamage, ...]


def recall(folder: Path) -> Recalled:
    """Read all segments of a ledger. Raises OSError, and JournalVersionError where one is newer."""
    for _ in range(5):  # a segment that goes while we read was compacted: what it said is in a new one
        with suppress(FileNotFoundError):
            return _recall(folder)
    return _recall(folder)


def _recall(folder: Path) -> Recalled:
    reader = _Reader()
    for path in find(folder):
        if path.suffix == SEGMENT:
            reader.read(path)
    for damage in reader.damage:
        logger.warning("%s, not believed", damage)
    return Recalled(reader.book, tuple(reader.damage))


@define
class _Reader:
    """Segments in, oldest first. Damage before a compaction does not matter: its facts stand for all before them."""

    book: LedgerIndex = field(factory=LedgerIndex)
    _lost: dict[Path, dict[int, int]] = field(factory=dict)  # bytes by the number of their line

    @property
    def damage(self) -> list[LedgerDamage]:
        return [LedgerDamage(path, tuple(lost), sum(lost.values())) for path, lost in self._lost.items()]

    def read(self, path: Path) -> None:
        for number, line in enumerate(disk.lines(path), start=1):
            rest = b"".join(self._unread(line.removesuffix(b"\n"), path))
            if rest and not is_torn(line, rest):
                self._lost.setdefault(path, {})[number] = len(rest)

    def _unread(self, line: bytes, path: Path) -> Iterator[bytes]:
        """What of a line is no fact. One that lost its newline holds several."""
        if not line or self._take(line, path):
            return
        for piece, after in pieces(line):
            if not self._take(piece, path):
                yield piece + after
            elif after.strip():
                yield after

    def _take(self, line: bytes, path: Path) -> bool:
        try:
            fields = decode_line(line)
            if fields.get("t") == "segment":
                check_version(fields.get("v"))
            else:
                self.book.apply(fields, datetime.fromisoformat(fields["at"]).timestamp())
        except JournalVersionError as error:
            raise JournalVersionError(f"{path}: {error}") from error
        except (Damaged, KeyError, TypeError, ValueError, OverflowError):
            return False
        if fields.get("t") == "afresh":
            self._lost.clear()
        return True
