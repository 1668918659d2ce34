"""A fact as a checksummed line of JSON, and back (pure)."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import frozen

from asyncsdk.wal import NewerVersionError

VERSION = 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

_CHECKSUM = re.compile(rb',"c":"([0-9a-f]{8})"}')
_LINE_START = re.compile(rb'(?={"t":")')
_PRINTABLE = bytes(range(0x20, 0x7F))


class Damaged(ValueError):  # noqa: N818 - said of a line, and never shown to a caller
    """The line is not as it was written: it counts as not written."""


@frozen
class DamagedLine:
    """A line that is not as it was written: its `number` (from 1), and `unread`, the bytes of it that are not a fact.

    Nothing is unread of a line that lost only its newlines. `torn` is one that a crash may have cut off: a crash
    neither changes what is before the cut nor ends it with a newline.
    """

    number: int
    unread: bytes
    torn: bool


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


def encode_line(fields: dict[str, Any]) -> bytes:
    """Return `fields` as a line, with checksum and newline. Raises TypeError or ValueError on what is not JSON."""
    body = _ENCODER.encode(fields).removesuffix("}").encode("ascii")
    return b'%b,"c":"%08x"}\n' % (body, zlib.crc32(body))


def decode_line(line: bytes) -> dict[str, Any]:
    """Return the fields of a line, without its newline. Raises Damaged where they are not as they were written."""
    if not is_intact(line):
        raise Damaged("the checksum is missing or wrong")
    try:
        text = line.decode()
        fields, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise Damaged("not JSON") from error
    if end != len(text) or type(fields) is not dict:
        raise Damaged("not one object of JSON")
    return fields


def is_intact(line: bytes) -> bool:
    """Whether a line, without its newline, ends with the checksum of what is before that."""
    checksum = _CHECKSUM.fullmatch(line, max(0, len(line) - 16))
    return checksum is not None and int(checksum[1], 16) == zlib.crc32(line[: checksum.start()])


def encode_head(
    *,
    at: float,
    host: str,
    pid: int,
    home: Home | None = None,
    due: float | None = None,
    version: int = VERSION,
) -> bytes:
    """Return a segment's first line: the format's version, the process that writes it, since when, and where.

    One that is whole, and will not be appended to, says when it is `due` to be looked through for what is of no use.
    """
    place = {} if home is None else {"folder": home.folder, "inode": home.inode}
    whole = {} if due is None else {"due": iso(due)}
    return encode_line({"t": "segment", "v": version, "at": iso(at), "host": host, "pid": pid, **place, **whole})


def home_of(data: bytes) -> Home | None:
    """Return where a segment was written, by its first line; None where that line does not contain it."""
    try:
        head = decode_line(data.partition(b"\n")[0])
    except Damaged:
        return None
    host, folder, inode = head.get("host"), head.get("folder"), head.get("inode")
    if head.get("t") != "segment" or type(host) is not str or type(folder) is not str or type(inode) is not int:
        return None
    return Home(host, folder, inode)


def due_of(data: bytes) -> float | None:
    """Return when a segment is due, by its first line; None for one that may be appended to.

    Raises NewerVersionError where the segment is newer than this program.
    """
    try:
        head = decode_line(data.partition(b"\n")[0])
        _check_version(head)
        return (datetime.fromisoformat(head["due"]) - EPOCH) // MILLISECOND / 1000
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, NewerVersionError):
            raise
        return None


def iso(at: float) -> str:
    """Return unix seconds as UTC in ISO 8601 with milliseconds, such as `2026-11-22T20:15:00.123Z`."""
    moment = EPOCH + round(at * 1000) * MILLISECOND
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_lines(
    lines: Iterable[bytes], accept: Callable[[bytes, dict[str, Any]], object], *, newest: int = VERSION
) -> Iterator[DamagedLine]:
    """Pass each line and its fields to `accept`, in order, and yield those that are damaged.

    What `accept` raises Damaged, KeyError, TypeError, ValueError or OverflowError for is not a fact. Facts that follow
    a missing newline are still read. Raises NewerVersionError where the segment is of a version above `newest`.
    """
    for number, ended in enumerate(lines, start=1):
        line = ended.removesuffix(b"\n")
        if line and not _read(line, accept, newest):
            unread = b"".join(_unread(line, accept, newest))
            torn = not ended.endswith(b"\n") and line.endswith(unread) and not unread.strip(_PRINTABLE)
            yield DamagedLine(number, unread, torn)


def _unread(line: bytes, accept: Callable[[bytes, dict[str, Any]], object], newest: int) -> Iterator[bytes]:
    """The pieces that are not facts, of a line that lost its newlines and may contain several."""
    for piece in _LINE_START.split(line):
        end = piece.rfind(b'"}') + 2 if b'"}' in piece else len(piece)
        fact, after = piece[:end], piece[end:]
        if not _read(fact, accept, newest):
            yield piece
        elif after.strip():
            yield after


def _read(line: bytes, accept: Callable[[bytes, dict[str, Any]], object], newest: int) -> bool:
    try:
        fields = decode_line(line)
        if fields.get("t") != "segment":
            accept(line, fields)
            return True
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    return _check_version(fields, newest)


def _check_version(head: Mapping[str, Any], newest: int = VERSION) -> bool:
    """Return whether this is the head of a segment. Raises NewerVersionError where that is above `newest`."""
    version = head.get("v")
    if head.get("t") != "segment" or type(version) is not int or version < 1:
        return False
    if version > newest:
        raise NewerVersionError(version)
    return True


def _as_object(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} does not belong in a log")


_DECODER = json.JSONDecoder()
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_as_object)
