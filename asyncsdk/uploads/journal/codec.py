"""A record as a checksummed line of JSON, and back (pure)."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from attrs import fields, frozen
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, override

from asyncsdk.errors import JournalVersionError
from asyncsdk.uploads.journal import Cancelled, Completed, Completing, Expired, Opened, Part, Record, Refused

VERSION = 1

_KINDS: dict[str, type[Record]] = {
    "opened": Opened,
    "part": Part,
    "completing": Completing,
    "refused": Refused,
    "completed": Completed,
    "cancelled": Cancelled,
    "expired": Expired,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_WIRE_NAMES = {"upload": "u", "offset": "off", "length": "len"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_CHECKSUM = re.compile(rb',"c":"([0-9a-f]{8})"}')
_LINE_START = re.compile(rb'(?={"t":")')


class Damaged(ValueError):  # noqa: N818 - said of a line, and never shown to a caller
    """The line is not as it was written: it counts as not written."""


@frozen
class Parsed:
    """A segment's records by their lines, and the numbers of its damaged lines (from 1)."""

    records: dict[bytes, Record]
    damaged: list[int]


def encode(record: Record) -> bytes:
    """Return `record` as one line of ASCII, newline included.

    Raises TypeError or ValueError on what JSON can't hold.
    """
    told = {wire: getattr(record, name) for name, wire in _fields_of(type(record))}  # type: ignore[arg-type]
    return encode_line({"t": _NAMES[type(record)], **told, "at": iso(record.at)})


@cache
def _fields_of(kind: type[Record]) -> tuple[tuple[str, str], ...]:
    """The names of its fields, here and on the wire, but for `at`, which comes last."""
    names = [each.name for each in fields(kind)]
    return tuple((name, _WIRE_NAMES.get(name, name)) for name in names if name != "at")


@frozen
class Home:
    """Where a segment was written: the machine, the folder, the file's inode. A copy has another inode, and another
    machine or folder.
    """

    host: str
    folder: str
    inode: int

    def is_left(self, now: Home) -> bool:
        """Whether what is found at `now` is a copy: another file, and not one put back in its place on its machine."""
        return self.inode != now.inode and (self.host, self.folder) != (now.host, now.folder)


def encode_head(*, at: float, host: str, pid: int, home: Home | None = None) -> bytes:
    """Return a segment's first line: the format's version, and who writes it since when, and where."""
    place = {} if home is None else {"folder": home.folder, "inode": home.inode}
    return encode_line({"t": "segment", "v": VERSION, "at": iso(at), "host": host, "pid": pid, **place})


def home_of(data: bytes) -> Home | None:
    """Return where a segment was written, by its first line; None where that does not say so."""
    try:
        head = decode_line(data.partition(b"\n")[0])
    except Damaged:
        return None
    host, folder, inode = head.get("host"), head.get("folder"), head.get("inode")
    if head.get("t") != "segment" or type(host) is not str or type(folder) is not str or type(inode) is not int:
        return None
    return Home(host, folder, inode)


def iso(at: float) -> str:
    """Return unix seconds as UTC in ISO 8601 with milliseconds, such as `2026-11-22T20:15:00.123Z`."""
    moment = _EPOCH + round(at * 1000) * _MILLISECOND
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def decode(line: bytes) -> Record | None:
    """Return the record in `line`; None for a head, and for a type this version does not know.

    Raises Damaged where checksum or shape are wrong, JournalVersionError on a newer segment's head.
    """
    fields = decode_line(line.removesuffix(b"\n"))
    name = fields.get("t")
    if type(name) is not str:
        raise Damaged("no type")
    if name == "segment":
        check_version(fields.get("v"))
    kind = _KINDS.get(name)
    if kind is None:
        return None
    try:
        _ = fields["at"]  # where it is missing, now is not when that was
        return _reader().structure(fields, kind)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Damaged(f"not the shape of {kind.__name__}: {error!r}") from error


def parse(data: bytes) -> Parsed:
    """Read a whole segment. Damaged lines are left out; what stands intact behind a lost newline is not."""
    parsed = Parsed({}, [])
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line and not _collect(line, parsed.records):
            parsed.damaged.append(number)
            for piece, _ in pieces(line):
                _collect(piece, parsed.records)
    return parsed


def pieces(line: bytes) -> Iterator[tuple[bytes, bytes]]:
    """What may be lines within one that lost its newlines, each with what is after its end."""
    for piece in _LINE_START.split(line):
        end = piece.rfind(b'"}') + 2 if b'"}' in piece else len(piece)
        yield piece[:end], piece[end:]


def _collect(line: bytes, records: dict[bytes, Record]) -> bool:
    try:
        record = decode(line)
    except Damaged:
        return False
    if record is not None:
        records[line] = record
    return True


def encode_line(fields: dict[str, Any]) -> bytes:
    """Return `fields` as a line, with checksum and newline. Raises TypeError or ValueError on what is no JSON."""
    body = _ENCODER.encode(fields).removesuffix("}").encode("ascii")
    return b'%b,"c":"%08x"}\n' % (body, zlib.crc32(body))


def decode_line(line: bytes) -> dict[str, Any]:
    """Return the fields of a line, without its newline. Raises Damaged where they are not as they were written."""
    checksum = _CHECKSUM.fullmatch(line, max(0, len(line) - 16))
    if checksum is None or int(checksum[1], 16) != zlib.crc32(line[: checksum.start()]):
        raise Damaged("the checksum is missing or wrong")
    try:
        text = line.decode()
        fields, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise Damaged("not JSON") from error
    if end != len(text) or type(fields) is not dict:
        raise Damaged("not one object of JSON")
    return fields


def check_version(version: object) -> None:
    """Raise JournalVersionError for a segment that is newer than this program, Damaged for one without a version."""
    if type(version) is not int or version < 1:
        raise Damaged("a segment without a version")
    if version > VERSION:
        raise JournalVersionError(
            f"version {version} of the journal was written by a newer asyncsdk; this one reads up to {VERSION}. "
            "Nothing was sent.\n  Upgrade asyncsdk, or keep another journal: ASYNCSDK_JOURNAL=/data/private/asyncsdk"
        )


def _as_object(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} does not belong in a journal")


def _exactly(kind: type) -> Callable[[Any, Any], Any]:
    def check(value: Any, _: Any) -> Any:
        if type(value) is not kind:  # not isinstance: True is no number of bytes
            raise TypeError(f"{kind.__name__} expected")
        return value

    return check


def _moment(value: Any, _: Any) -> float:
    return (datetime.fromisoformat(value) - _EPOCH) // _MILLISECOND / 1000


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


_DECODER = json.JSONDecoder()
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_as_object)
