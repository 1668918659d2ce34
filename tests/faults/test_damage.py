"""A damaged journal is never believed beyond what was written: what an upload recalls of it. None is run here."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from attrs import evolve

from asyncsdk.errors import JournalVersionError
from asyncsdk.uploads.journal.codec import encode
from asyncsdk.uploads.journal.file import FileJournal
from asyncsdk.uploads.resuming.resume import Stage, replay
from tests.faults.damage import (
    AGAIN,
    ASKED,
    HEAD,
    LIVES,
    OPENED,
    PARTS,
    REFUSED,
    SOURCE,
    believed,
    flipped,
    journal_of,
    wrong,
)
from tests.journal.support import KEY, segments


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
        assert replay(believed(b"".join(lines[turn:] + lines[:turn]))) == replay(LIVES[life])
    assert replay(believed(b"".join(reversed(lines)))) == replay(LIVES[life])


@pytest.mark.parametrize("life", LIVES)
def test_lines_of_another_upload_change_nothing_that_is_believed_of_this_one(life: str) -> None:
    other = tuple(evolve(record, upload="upload_0", at=record.at - 5000) for record in LIVES["completed"][1:])
    before = evolve(OPENED, upload="upload_0", created_at=OPENED.created_at - 5000, at=OPENED.at - 5000)
    assert replay([*other, before, *LIVES[life]]) == replay(LIVES[life])


def test_parts_of_another_cut_or_another_file_are_not_taken_for_parts_of_this_one() -> None:
    strange = [evolve(PARTS[0], offset=7, id="part_7"), evolve(PARTS[2], length=2**25, id="part_8")]
    recalled = replay([*LIVES["sending"], *strange])
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
    recalled = replay(sorted([OPENED, *PARTS, ASKED, REFUSED, late], key=lambda record: record.at))
    assert recalled is not None
    assert recalled.stage is Stage.COMPLETING


def test_a_part_is_one_record_however_often_it_is_written() -> None:
    recalled = replay([OPENED, *PARTS, *PARTS])
    assert recalled is not None
    assert recalled.bytes_held == SOURCE == sum(one.length for one in PARTS)
