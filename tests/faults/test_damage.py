"""A damaged journal is never believed beyond what was written: at the level of what an upload does about it."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from attrs import evolve

from asyncsdk.errors import JournalVersionError
from asyncsdk.journal import Completing, Opened, Record, Refused
from asyncsdk.journal.file import FileJournal
from asyncsdk.journal.lines import encode, encode_head, parse
from asyncsdk.uploads.resume import Recalled, Stage, recall
from tests.journal.support import KEY, NOW, completed, opened, part, segments

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
    if not set(found) <= set(written):
        return f"never written: {set(found) - set(written)}"
    if len(written) - len(found) > 1:
        return f"one line was damaged, and these are lost: {set(written) - set(found)}"
    return _misjudged(recall(found), recall(written), lost=set(written) - set(found))


def _misjudged(damaged: Recalled | None, sound: Recalled | None, lost: set[Record]) -> str:
    assert sound is not None
    if damaged is None:
        return "" if any(isinstance(record, Opened) for record in lost) else "the upload is forgotten"
    if not set(damaged.parts) <= set(sound.parts):
        return f"other parts: {damaged.parts}"
    if sound.completing and sound.completing not in lost and damaged.stage is Stage.PENDING:
        return f"a complete that nobody answered is taken for refused, without {lost}"
    return ""


@pytest.mark.parametrize("life", LIVES)
def test_cut_at_any_byte_it_leads_to_no_wrong_belief(life: str) -> None:
    written = LIVES[life]
    data = journal_of(written)
    assert len(data) <= 4096
    for end in range(len(data) + 1):
        found = believed(data[:end])
        assert (end, found) == (end, written[: len(found)])


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80, 0xFF])
@pytest.mark.parametrize("life", LIVES)
def test_with_any_byte_flipped_it_leads_to_no_wrong_belief(life: str, mask: int) -> None:
    assert flipped(life, [mask]) == []


def flipped(life: str, masks: list[int]) -> list[str]:
    """What goes wrong with a byte flipped by one of the masks, at any position."""
    written, found = LIVES[life], []
    sound = journal_of(written)
    for position in range(len(sound)):
        for mask in masks:
            data = bytearray(sound)
            data[position] ^= mask
            if said := wrong(believed(bytes(data)), written):
                found.append(f"byte {position} ^ {mask:#x}: {said}")
    return found


@pytest.mark.parametrize("life", LIVES)
def test_without_any_one_line_or_with_it_twice_it_leads_to_no_wrong_belief(life: str) -> None:
    lines = [HEAD, *map(encode, LIVES[life])]
    for number in range(1, len(lines)):
        assert wrong(believed(b"".join(lines[:number] + lines[number + 1 :])), LIVES[life]) == ""
        assert believed(b"".join([*lines, lines[number]])) == LIVES[life]


@pytest.mark.parametrize("life", LIVES)
def test_lines_in_any_order_say_the_same(life: str) -> None:
    lines = [HEAD, *map(encode, LIVES[life])]
    for turn in range(len(lines)):
        assert recall(believed(b"".join(lines[turn:] + lines[:turn]))) == recall(LIVES[life])
    assert recall(believed(b"".join(reversed(lines)))) == recall(LIVES[life])


@pytest.mark.parametrize("life", LIVES)
def test_lines_of_another_upload_change_nothing_that_is_believed_of_this_one(life: str) -> None:
    other = tuple(evolve(record, upload="upload_0", at=record.at - 5000) for record in LIVES["completed"][1:])
    before = evolve(OPENED, upload="upload_0", created_at=OPENED.created_at - 5000, at=OPENED.at - 5000)
    assert recall([*other, before, *LIVES[life]]) == recall(LIVES[life])


def test_parts_of_another_cut_or_another_file_are_not_taken_for_parts_of_this_one() -> None:
    strange = [evolve(PARTS[0], offset=7, id="part_7"), evolve(PARTS[2], length=2**25, id="part_8")]
    recalled = recall([*LIVES["sending"], *strange])
    assert recalled is not None
    assert recalled.parts == PARTS


@pytest.mark.parametrize("where", [0, 1, -1])
async def test_one_line_of_a_newer_version_stops_everything_before_it_begins(tmp_path: Path, where: int) -> None:
    async with FileJournal(tmp_path).claim(KEY) as log:
        await log.append(OPENED)
    [segment] = segments(tmp_path)
    lines = segment.read_bytes().splitlines(keepends=True)
    body = b'{"t":"segment","v":2'
    lines.insert(where if where >= 0 else len(lines), b'%b,"c":"%08x"}\n' % (body, zlib.crc32(body)))
    segment.write_bytes(b"".join(lines))
    with pytest.raises(JournalVersionError, match="newer asyncsdk"):
        async with FileJournal(tmp_path).claim(KEY):
            pytest.fail("claimed")


def test_records_whose_clock_stepped_back_do_not_settle_a_complete_that_nobody_answered() -> None:
    late = evolve(AGAIN, at=ASKED.at - 3600)
    recalled = recall(sorted([OPENED, *PARTS, ASKED, REFUSED, late], key=lambda record: record.at))
    assert recalled is not None
    assert recalled.stage is Stage.COMPLETING


def test_a_part_is_one_record_however_often_it_is_written() -> None:
    recalled = recall([OPENED, *PARTS, *PARTS])
    assert recalled is not None
    assert recalled.bytes_held == SOURCE == sum(one.length for one in PARTS)
