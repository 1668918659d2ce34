"""A record as a line, and back."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsdk.uploads.journal import Cancelled, Completed, Completing, Expired, Opened, Part, Record, Refused, codec
from asyncsdk.uploads.journal.codec import Parsed, encode, parse
from asyncsdk.wal import NewerVersionError
from asyncsdk.wal.line import Damaged, decode_line, encode_head, iso
from asyncsdk.wal.segments import stamp_after
from tests.journal.support import completed, opened, part

# What os.fsdecode makes of any bytes: no surrogates but the escapes.
path_text = st.text(
    st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
)
times = st.integers(0, 253_402_300_799_999).map(lambda milliseconds: milliseconds / 1000)
numbers = st.integers(0, 2**63)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | path_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(path_text, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(path_text, json_values, max_size=4)
by_type: dict[Any, st.SearchStrategy[Any]] = {
    str: path_text,
    int: numbers,
    float: times,
    str | None: st.none() | path_text,
    int | None: st.none() | numbers,
    Mapping[str, Any]: objects,
    Mapping[str, Any] | None: st.none() | objects,
    tuple[str, ...]: st.lists(path_text).map(tuple),
}


def any_of(kind: type[Record]) -> st.SearchStrategy[Record]:
    return st.builds(kind, **{name: by_type[hint] for name, hint in get_type_hints(kind).items()})


records = st.one_of(*map(any_of, (Opened, Part, Completing, Refused, Completed, Cancelled, Expired)))


def sealed(text: str | bytes) -> bytes:
    body = text.encode() if isinstance(text, str) else text
    return b'%b,"c":"%08x"}\n' % (body, zlib.crc32(body))


def decode(line: bytes) -> Record | None:
    return codec.decode(decode_line(line.removesuffix(b"\n")))


@given(records)
def test_a_record_comes_back_exactly_as_it_was_written(record: Record) -> None:
    line = encode(record)
    assert decode(line) == record
    assert line.isascii()
    assert line.count(b"\n") == 1


@given(st.lists(records, max_size=5))
def test_a_segment_gives_back_all_its_records(written: list[Record]) -> None:
    data = encode_head(at=0, host="web-1", pid=1) + b"".join(map(encode, written))
    assert list(parse(data).records.values()) == list({encode(record): record for record in written}.values())
    assert parse(data).damaged == []


def test_a_line_is_what_the_format_says() -> None:
    line = encode(Part(upload="upload_1", offset=5, length=7, id="part_1", xxh3="ab", at=1_795_000_000.123))
    body = b'{"t":"part","u":"upload_1","off":5,"len":7,"id":"part_1","xxh3":"ab","at":"2026-11-18T11:06:40.123Z"'
    assert line == body + b',"c":"%08x"}\n' % zlib.crc32(body)


def test_a_head_names_version_time_host_and_process() -> None:
    head = json.loads(encode_head(at=0.5, host="web-1", pid=42))
    assert list(head) == ["t", "v", "at", "host", "pid", "c"]
    assert head | {"c": ""} == {
        "t": "segment", "v": 1, "at": "1970-01-01T00:00:00.500Z", "host": "web-1", "pid": 42, "c": "",
    }  # fmt: skip


def test_a_time_is_kept_to_the_millisecond() -> None:
    assert Cancelled(upload="u", at=1.23456).at == 1.235
    assert iso(Cancelled(upload="u", at=1.23456).at) == "1970-01-01T00:00:01.235Z"


def test_any_mapping_is_written_as_an_object() -> None:
    record = Completed(upload="u", file=MappingProxyType({"id": "file-1"}), md5="")
    back = decode(encode(record))
    assert isinstance(back, Completed)
    assert back.file == {"id": "file-1"}


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", float("nan")])
def test_what_json_can_not_hold_is_refused_before_it_is_written(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode(Completed(upload="u", file={"x": value}, md5=""))


def test_a_type_from_the_future_is_passed_over() -> None:
    assert decode(sealed('{"t":"paused","u":"upload_1"')) is None


def test_a_field_from_the_future_is_passed_over() -> None:
    line = encode(part(1)).rpartition(b',"c":')[0]
    assert decode(sealed(line + b',"colour":"red"')) == part(1)


def test_a_newer_version_is_refused() -> None:
    with pytest.raises(NewerVersionError, match="version 2") as caught:
        parse(sealed('{"t":"segment","v":2'))
    assert caught.value.version == 2


@pytest.mark.parametrize("version", ["null", '"1"', "0", "true", "1.5"])
def test_a_head_without_a_proper_version_is_damaged(version: str) -> None:
    assert parse(sealed(f'{{"t":"segment","v":{version}')) == Parsed({}, [1])


def drop(name: str) -> Any:
    return lambda fields: {key: value for key, value in fields.items() if key != name}


def put(name: str, value: object) -> Any:
    return lambda fields: fields | {name: value}


@pytest.mark.parametrize(
    ("record", "change"),
    [
        (part(1), drop("off")),
        (part(1), drop("u")),
        (part(1), drop("at")),
        (part(1), drop("t")),
        (part(1), put("off", "5")),
        (part(1), put("off", value=True)),
        (part(1), put("off", 5.0)),
        (part(1), put("id", None)),
        (part(1), put("at", 5)),
        (part(1), put("at", "yesterday")),
        (part(1), put("at", "2026-11-18T11:06:40.123")),
        (part(1), put("t", 5)),
        (opened(), put("inode", "42")),
        (opened(), put("expires_after", [])),
        (completed(), put("file", None)),
        (completed(), put("file", [["id", "file-1"]])),
        (Completing(upload="u", part_ids=("a",), md5=None), put("part_ids", "abc")),
        (Completing(upload="u", part_ids=("a",), md5=None), put("part_ids", ["a", 1])),
    ],
)
def test_an_intact_line_of_the_wrong_shape_is_damaged(record: Record, change: Any) -> None:
    fields = json.loads(encode(record))
    del fields["c"]
    with pytest.raises(Damaged):
        decode(sealed(json.dumps(change(fields)).removesuffix("}")))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}",
        b"\0" * 100,
        b"\xff\xfe not utf-8",
        b'","c":"00000000"}',
        sealed(b"\xff"),
        sealed("[1"),
        sealed("5"),
        sealed('{"t":"part","off":' + "9" * 5000),
        sealed('{"t":"part","off":' + "[" * 100_000),
        sealed('"')[:-2] + b'"\n',
        encode(part(1)).replace(b',"c":"', b',"c":"A'),
        encode(part(1)).strip() + b" ",
    ],
)
def test_a_line_that_is_no_record_is_damaged_and_nothing_worse(line: bytes) -> None:
    with pytest.raises(Damaged):
        decode(line)


@pytest.mark.parametrize(
    ("names", "stamp"),
    [
        ([], "2026-11-22T201500.123Z"),
        (["2026-11-22T201500.122Z-host-1-a.jsonl"], "2026-11-22T201500.123Z"),
        (["2026-11-22T201500.123Z-host-1-a.jsonl"], "2026-11-22T201500.124Z"),
        (["2026-12-31T235959.999Z-host-1-a.jsonl", "2026-11-01T000000.000Z-h-1-b.jsonl"], "2027-01-01T000000.000Z"),
        (["notes.jsonl", "9999-12-31T235959.999Z-h-1-a.jsonl", "2026-99-99T000000.000Z-h"], "2026-11-22T201500.123Z"),
    ],
)
def test_a_new_segment_is_read_after_all_that_are_there(names: list[str], stamp: str) -> None:
    assert stamp_after(names, now=1795378500.123) == stamp
