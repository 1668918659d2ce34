"""No damaged line of a shared segment is believed, and no intact one of any key lost, whatever became of the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncsdk.uploads.journal import Completed, Opened, Part, Record
from asyncsdk.uploads.journal.codec import Turn, encode
from asyncsdk.uploads.journal.lookup import everything, look_up
from asyncsdk.wal.line import encode_head
from asyncsdk.wal.places import Places
from tests.journal.support import NOW, completed, opened, part

KEYS = ("a" * 32, "b" * 32)
WRITTEN: list[tuple[str, Record]] = [
    (KEYS[0], opened("upload_0", key=KEYS[0])),
    (KEYS[1], opened("upload_1", key=KEYS[1])),
    (KEYS[0], part(0, "upload_0")),
    (KEYS[1], part(0, "upload_1")),
    (KEYS[0], completed("upload_0")),
]
LINES = [encode_head(at=NOW, host="web-1", pid=42), *(encode(record, Turn(key, 1)) for key, record in WRITTEN)]
SEGMENT = b"".join(LINES)
STARTS = [sum(map(len, LINES[:number])) for number in range(len(LINES) + 1)]


def found(folder: Path, data: bytes) -> list[tuple[str, Record]]:
    """What is found of both keys, by the index and by reading everything."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    (folder / "2026-11-18T110640.123Z-web-1-42-00005eed.jsonl").write_bytes(data)
    places = Places(folder)
    listed = {key: known for some in everything(places) for key, known in some.items()}
    by_key = {key: look_up(places, key).records for key in KEYS}
    settled = {record.upload for records in by_key.values() for record in records if isinstance(record, Completed)}
    for key in KEYS:
        needed = [each for each in by_key[key] if isinstance(each, Opened | Completed) or each.upload not in settled]
        assert list(listed[key].records if key in listed else ()) == needed
    return [(key, record) for key in KEYS for record in by_key[key]]


def test_cut_at_any_byte_it_keeps_the_lines_before_the_cut(tmp_path: Path) -> None:
    for cut in range(len(SEGMENT) + 1):
        whole = max(0, sum(cut >= end - 1 for end in STARTS[1:]) - 1)
        assert sorted(map(str, found(tmp_path / "small", SEGMENT[:cut]))) == sorted(map(str, WRITTEN[:whole]))


@pytest.mark.parametrize("mask", [0x01, 0x02, 0x20, 0x80])
def test_with_any_byte_flipped_it_loses_that_line_at_most(tmp_path: Path, mask: int) -> None:
    for position in range(len(SEGMENT)):
        data = bytearray(SEGMENT)
        data[position] ^= mask
        touched = sum(position >= start for start in STARTS) - 2
        others = [each for number, each in enumerate(WRITTEN) if number != touched]
        now = found(tmp_path / "small", bytes(data))
        assert all(each in now for each in others), position
        assert all(each in WRITTEN for each in now), position


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=100), st.integers(0, len(LINES)))
def test_rubbish_between_two_lines_touches_neither(tmp_path: Path, rubbish: bytes, where: int) -> None:
    data = b"".join([*LINES[:where], rubbish, b"\n", *LINES[where:]])
    assert sorted(map(str, found(tmp_path / "small", data))) == sorted(map(str, WRITTEN))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.integers(1, len(SEGMENT)), max_size=6))
def test_what_is_written_while_it_is_read_is_found_once_it_is_whole(tmp_path: Path, cuts: list[int]) -> None:
    folder = tmp_path / "small"
    folder.mkdir(exist_ok=True)
    path, places = folder / "2026-11-18T110640.123Z-web-1-42-00005eed.jsonl", Places(folder)
    path.write_bytes(b"")
    written = 0
    for cut in [*sorted(set(cuts)), len(SEGMENT)]:
        with path.open("ab") as file:
            file.write(SEGMENT[written:cut])
        written = cut
        whole = max(0, sum(cut >= end - 1 for end in STARTS[1:]) - 1)
        now = [(key, record) for key in KEYS for record in look_up(places, key).records]
        assert sorted(map(str, now)) == sorted(map(str, WRITTEN[:whole]))
    path.unlink()


def test_a_line_within_a_line_that_a_server_made_up_is_not_believed(tmp_path: Path) -> None:
    forged = {"t": "part", "k": KEYS[1], "n": 9, "u": "upload_1", "off": 0, "len": 1, "id": "x", "xxh3": "0"}
    file = {"id": "file-1", "object": "file", "bytes": 5, "metadata": forged}
    line = encode(Completed(upload="upload_0", file=file, md5=None, at=NOW), Turn(KEYS[0], 2))
    now = found(tmp_path / "small", SEGMENT + line)
    assert not any(isinstance(record, Part) and record.id == "x" for _, record in now)
    assert (KEYS[1], WRITTEN[1][1]) in now
