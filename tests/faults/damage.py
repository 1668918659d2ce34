"""What a damaged journal may be believed to say: lives of a journal, and what of it must not change (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from unittest.mock import patch

from asyncsdk.uploads.journal import Completing, Opened, Record, Refused
from asyncsdk.uploads.journal.codec import encode, parse
from asyncsdk.uploads.resuming.resume import ResumeState, Stage, replay
from asyncsdk.wal import line
from asyncsdk.wal.line import encode_head
from tests.journal.support import NOW, completed, opened, part

SOURCE = 3 * 2**24
OPENED = opened(bytes=SOURCE)
PARTS = tuple(part(number) for number in range(3))
IDS = tuple(one.id for one in PARTS)
ASKED = Completing(upload="upload_1", part_ids=IDS, md5="0" * 32, at=NOW + 30)
REFUSED = Refused(upload="upload_1", status=400, at=NOW + 31)
AGAIN = Completing(upload="upload_1", part_ids=IDS, md5="1" * 32, at=NOW + 40)
HEAD = encode_head(at=NOW, host="web-1", pid=42)

LIVES: dict[str, tuple[Record, ...]] = {
    "sending": (OPENED, *PARTS),
    "asked": (OPENED, *PARTS, ASKED),
    "refused": (OPENED, *PARTS, ASKED, REFUSED),
    "asked again": (OPENED, *PARTS, ASKED, REFUSED, AGAIN),
    "completed": (OPENED, *PARTS, ASKED, completed()),
}


def journal_of(records: tuple[Record, ...]) -> bytes:
    return HEAD + b"".join(map(encode, records))


def believed(data: bytes) -> tuple[Record, ...]:
    return tuple(sorted(parse(data).records.values(), key=lambda record: record.at))


def wrong(found: tuple[Record, ...], written: tuple[Record, ...]) -> str:
    """What is believed of a damaged journal that must not be; empty if nothing is."""
    lost = [record for record in written if record not in found]
    if invented := [record for record in found if record not in written]:
        return f"never written: {invented}"
    if len(lost) > 1:
        return f"one line was damaged, and these are lost: {lost}"
    return _misjudged(replay(found), replay(written), lost)


def _misjudged(damaged: ResumeState | None, sound: ResumeState | None, lost: list[Record]) -> str:
    assert sound is not None
    if damaged is None:
        return "" if any(isinstance(record, Opened) for record in lost) else "the upload is forgotten"
    if any(part not in sound.parts for part in damaged.parts):
        return f"other parts: {damaged.parts}"
    if sound.completing and sound.completing not in lost and damaged.stage is Stage.PENDING:
        return f"a complete that nobody answered is taken for refused, without {lost}"
    return ""


def flipped(life: str, masks: Iterable[int]) -> list[str]:
    """What goes wrong with a byte flipped by one of the masks, at any position."""
    written, found = LIVES[life], []
    data = bytearray(journal_of(written))
    with patch.object(line, "decode_line", lru_cache(64)(line.decode_line)):  # the sound lines are read once
        for position, mask in product(range(len(data)), masks):
            data[position] ^= mask
            if said := wrong(believed(bytes(data)), written):
                found.append(f"byte {position} ^ {mask:#x}: {said}")
            data[position] ^= mask
    return found
