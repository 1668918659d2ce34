"""No damaged line is believed, and no intact one lost, whatever became of the file."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.uploads.journal import Completing, Record
from asyncsdk.uploads.journal.codec import encode, parse
from asyncsdk.wal import NewerVersionError
from asyncsdk.wal.line import encode_head
from tests.journal.support import NOW, completed, opened, part

RECORDS = (opened(), part(0), part(1), part(2), Completing(upload="upload_1", part_ids=("part_0",), md5=None, at=NOW))
LINES = [encode_head(at=NOW, host="web-1", pid=42), *map(encode, RECORDS)]
JOURNAL = b"".join(LINES)
STARTS = [sum(map(len, LINES[:number])) for number in range(len(LINES) + 1)]


def believed(data: bytes) -> list[Record]:
    return list(parse(data).records.values())


def test_the_journal_that_is_damaged_here_is_about_a_kibibyte_and_whole() -> None:
    assert 1000 < len(JOURNAL) < 1500
    assert believed(JOURNAL) == list(RECORDS)


def test_cut_at_any_byte_it_keeps_the_lines_before_the_cut() -> None:
    for cut in range(len(JOURNAL) + 1):
        whole = sum(cut >= end - 1 for end in STARTS[1:])  # the last newline may be missing
        assert believed(JOURNAL[:cut]) == list(RECORDS[: max(0, whole - 1)])
        assert len(parse(JOURNAL[:cut]).damaged) == (cut not in STARTS and cut + 1 not in STARTS)


@pytest.mark.parametrize("mask", [0x01, 0x02, 0x20, 0x80, 0xFF])
def test_with_any_byte_flipped_it_loses_that_line_at_most(mask: int) -> None:
    for position in range(len(JOURNAL)):
        data = bytearray(JOURNAL)
        data[position] ^= mask
        touched = sum(position >= start for start in STARTS) - 2
        others = [record for number, record in enumerate(RECORDS) if number != touched]
        found = believed(bytes(data))
        assert [record for record in found if record in others] == others
        assert all(record in RECORDS for record in found)


@given(st.binary(max_size=300), st.integers(0, len(LINES)))
def test_rubbish_between_two_lines_touches_neither(rubbish: bytes, where: int) -> None:
    data = b"".join([*LINES[:where], rubbish, b"\n", *LINES[where:]])
    assert believed(data) == list(RECORDS)


@given(st.binary(max_size=50).filter(lambda rubbish: b"\n" not in rubbish), st.integers(0, len(LINES) - 1))
def test_rubbish_before_a_line_does_not_hide_it(rubbish: bytes, where: int) -> None:
    assert believed(b"".join([*LINES[:where], rubbish, *LINES[where:]])) == list(RECORDS)


@given(st.lists(st.sampled_from(LINES), max_size=20))
def test_lines_repeated_and_in_any_order_are_each_believed_once(lines: list[bytes]) -> None:
    expected = [record for record in dict.fromkeys(lines) if record != LINES[0]]
    assert list(map(encode, believed(b"".join(lines)))) == expected


def test_lines_of_another_upload_keep_their_own_name() -> None:
    other = [opened("upload_2"), part(0, "upload_2"), completed("upload_2")]
    found = believed(JOURNAL + b"".join(map(encode, other)))
    assert [record for record in found if record.upload == "upload_2"] == other
    assert [record for record in found if record.upload == "upload_1"] == list(RECORDS)


@pytest.mark.parametrize("head", [b"", b"\n\n", LINES[0].replace(b"web-1", b"web-2"), LINES[0][:20] + b"\n"])
def test_without_a_sound_head_the_records_still_count(head: bytes) -> None:
    assert believed(head + b"".join(LINES[1:])) == list(RECORDS)


def test_a_newline_that_was_lost_loses_no_record() -> None:
    assert believed(JOURNAL.replace(b"\n", b"\0")) == list(RECORDS)
    assert believed(JOURNAL.replace(b"\n", b"")) == list(RECORDS)


@pytest.mark.parametrize("hole", [b"\0" * 5000, b'{"t":"' * 50_000, b"\xff" * 2**20, b'"}' * 10_000])
def test_a_torn_line_swallows_nothing_behind_it(hole: bytes) -> None:
    assert believed(LINES[1] + LINES[2][:30] + hole + b"".join(LINES[3:])) == [RECORDS[0], *RECORDS[2:]]


def test_the_damaged_lines_are_counted_by_number() -> None:
    lines = [*LINES]
    lines[2] = lines[2].replace(b'"off":0', b'"off":1')
    assert parse(b"".join(lines) + b'{"t":"pa').damaged == [3, len(LINES) + 1]


def test_a_line_of_megabytes_is_a_line() -> None:
    long = Completing(upload="u", part_ids=tuple(f"part_{number:032}" for number in range(100_000)), md5=None, at=NOW)
    assert believed(LINES[0] + encode(long)) == [long]


def test_a_newer_head_is_found_even_behind_damage() -> None:
    body = b'{"t":"segment","v":2'
    with pytest.raises(NewerVersionError):
        parse(LINES[1][:-1] + b'X%b,"c":"%08x"}' % (body, zlib.crc32(body)))
