"""The journal's records as the fields of a log's lines, and back (pure).

    {"t":"part","u":"upload_…","off":0,"len":16777216,"id":"part_…","xxh3":"…","at":"2026-11-22T20:15:00.123Z","c":"…"}

`t` is the kind of record, `u` the upload. A key's own folder has such lines alone. Those of a segment of many keys (in
`small/`) have two more fields after `t`: `k` is the key, `n` the number of the claim that wrote it, counted for each
key. Such segments are written side by side, so a key's records are in the order of `n`, then of segments and lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from io import BytesIO
from typing import Any

from attrs import fields, frozen
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, override

from asyncsdk.uploads.journal import (
    Cancelled,
    Completed,
    Completing,
    Expired,
    Opened,
    Part,
    Posting,
    Record,
    Refused,
)
from asyncsdk.wal.line import EPOCH, MILLISECOND, Damaged, encode_line, iso, read_lines

_KINDS: dict[str, type[Record]] = {
    "opened": Opened,
    "posting": Posting,
    "part": Part,
    "completing": Completing,
    "refused": Refused,
    "completed": Completed,
    "cancelled": Cancelled,
    "expired": Expired,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_WIRE_NAMES = {"upload": "u", "offset": "off", "length": "len"}


@frozen(order=True)
class Turn:
    """A claim of a key: its first one has the number 1, and what a later one wrote is later, in whichever segment."""

    key: str
    number: int


@frozen
class Parsed:
    """A segment's records by their lines, and the numbers of its damaged lines (from 1)."""

    records: dict[bytes, Record]
    damaged: list[int]


def encode(record: Record, turn: Turn | None = None) -> bytes:
    """Return `record` as one line of ASCII, newline included; with the key and the claim in a segment of many keys.

    Raises TypeError or ValueError on what JSON can't hold.
    """
    fields = {wire: getattr(record, name) for name, wire in _fields_of(type(record))}  # type: ignore[arg-type]
    of = {} if turn is None else {"k": turn.key, "n": turn.number}
    return encode_line({"t": kind_of(record), **of, **fields, "at": iso(record.at)})


def kind_of(record: Record) -> str:
    """The name of its kind on the wire."""
    return _NAMES[type(record)]


@cache
def _fields_of(kind: type[Record]) -> tuple[tuple[str, str], ...]:
    """The names of its fields, here and on the wire, but for `at`, which comes last."""
    names = [each.name for each in fields(kind)]
    return tuple((name, _WIRE_NAMES.get(name, name)) for name in names if name != "at")


def decode(fields: Mapping[str, Any]) -> Record | None:
    """Return the record in a line's fields; None for a type that this version does not know.

    Raises Damaged where their shape is wrong.
    """
    name = fields.get("t")
    if type(name) is not str:
        raise Damaged("no type")
    kind = _KINDS.get(name)
    if kind is None:
        return None
    try:
        _ = fields["at"]  # where it is missing, now is not when that was
        return _reader().structure(fields, kind)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Damaged(f"not the shape of {kind.__name__}: {error!r}") from error


def turn_of(fields: Mapping[str, Any]) -> Turn:
    """Return the claim under which a line of a segment of many keys was written. Raises Damaged where it has none."""
    key, number = fields.get("k"), fields.get("n")
    if type(key) is not str or type(number) is not int:
        raise Damaged("no key, or no claim")
    return Turn(key, number)


def parse(data: bytes) -> Parsed:
    """Read a whole segment. Damaged lines are left out; records that follow a missing newline are still recovered.

    Raises NewerVersionError where a newer asyncsdk wrote it.
    """
    records: dict[bytes, Record] = {}

    def accept(line: bytes, fields: dict[str, Any]) -> None:
        record = decode(fields)
        if record is not None:
            records[line] = record

    damaged = [line.number for line in read_lines(BytesIO(data), accept)]
    return Parsed(records, damaged)


def _exactly(kind: type) -> Callable[[Any, Any], Any]:
    def check(value: Any, _: Any) -> Any:
        if type(value) is not kind:  # not isinstance: True is not a number of bytes
            raise TypeError(f"{kind.__name__} expected")
        return value

    return check


def _moment(value: Any, _: Any) -> float:
    return (datetime.fromisoformat(value) - EPOCH) // MILLISECOND / 1000


def _strings(value: Any, _: Any) -> tuple[str, ...]:
    if type(value) is not list or not all(type(item) is str for item in value):
        raise TypeError("a list of strings expected")
    return tuple(value)


@cache  # made at the first line: `import asyncsdk` stays light
def _reader() -> Converter:
    reader = Converter(detailed_validation=False)
    reader.register_structure_hook(str, _exactly(str))
    reader.register_structure_hook(int, _exactly(int))
    reader.register_structure_hook(float, _moment)
    reader.register_structure_hook_func(lambda hint: hint == Mapping[str, Any], _exactly(dict))
    reader.register_structure_hook_func(lambda hint: hint == tuple[str, ...], _strings)
    renamed: dict[str, Any] = {name: override(rename=wire) for name, wire in _WIRE_NAMES.items()}
    for kind in _KINDS.values():
        reader.register_structure_hook(kind, make_dict_structure_fn(kind, reader, **renamed))
    return reader
