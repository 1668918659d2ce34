"""What the API would refuse of a file of JSON lines, found before a byte is sent (pure).

Such a file has one JSON object a line, in UTF-8. A carriage return before the newline is white space in JSON, and the
last line may do without its newline: both are taken. The lines of a batch have rules of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, Literal

from attrs import define, field, frozen
from xxhash import xxh3_128_digest

from asyncsdk.uploads.jsonl.cutting import MOST_REQUESTS, LineCutter

Depth = Literal["none", "ends", "full"]
PURPOSES = frozenset({"fine-tune", "batch"})
MOST_NAMED = 5  # problems of a file
LARGEST_BATCH = 200 << 20  # bytes
LONGEST_LINE = 16 << 20  # of a longer one, only its first and last characters are looked at
_BOM, _UTF_16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_KINDS = {type(None): "null", bool: "true or false", str: "a string", float: "a number", list: "a list"}
_LAST = 0  # the number of the last line where it is not known


def is_jsonl(filename: str, purpose: str) -> bool:
    """Whether a file of this name is looked at for this purpose."""
    return purpose in PURPOSES and PurePath(filename).suffix.lower() == ".jsonl"


@frozen
class LineProblem:
    """What is wrong with a line: its number, 0 for the last one where that is not known, or None for the whole file."""

    line: int | None
    text: str

    def __str__(self) -> str:
        return self.text if self.line is None else f"{_place(self.line)}: {self.text}"


def _place(line: int) -> str:
    return f"line {line:,}" if line else "the last line"


def refusal(name: str, purpose: str, problems: list[LineProblem]) -> str:
    """The message for a file with `problems`."""
    lines = "".join(f"\n  {problem}" for problem in problems[:MOST_NAMED])
    more = "\n  and perhaps more." if len(problems) >= MOST_NAMED else ""
    takes = "a batch" if purpose == "batch" else "fine-tuning"
    return (
        f'{name} is not a file that {takes} takes:{lines}{more}\n  Correct it, or send it as it is with check="none". '
        "Nothing was sent."
    )


@define(eq=False)
class JsonlCheck:
    """Takes a file in blocks, in order, and collects what is wrong with it.

    It needs memory for one line, of 16 MiB at most, and for a digest of each custom_id of a batch.

    Args:
        purpose: "fine-tune" or "batch".
        size: Bytes of the whole file.
        cutter: Takes each line, to cut a batch in pieces; then its limits are theirs, and not those of the whole.
        looks: False: only the cutter wants the lines.
    """

    purpose: str
    size: int
    cutter: LineCutter | None = field(default=None, kw_only=True)
    looks: bool = field(default=True, kw_only=True)
    problems: list[LineProblem] = field(factory=list, init=False)
    _batch: _Batch | None = field(default=None, init=False)
    _number: int = field(default=0, init=False)  # of the last line that was looked at
    _pieces: list[bytes] = field(factory=list, init=False)  # of the line that is being read
    _length: int = field(default=0, init=False)
    _is_over: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        if self.purpose == "batch":
            self._batch = _Batch(is_whole=self.cutter is None)
            if self.size > LARGEST_BATCH and self.cutter is None:
                self._add(None, f"it has {self.size:,} bytes, and a batch may have {LARGEST_BATCH:,}: cut it in two")

    @property
    def is_over(self) -> bool:
        """Whether the rest of the file would change nothing."""
        return self._is_over or len(self.problems) >= MOST_NAMED

    def feed(self, block: bytes) -> None:
        """Take the next bytes of the file."""
        pieces = block.split(b"\n")
        for piece in pieces[:-1]:
            self._extend(piece)
            if self.is_over:
                return
            self._end_line(newline=1)
        self._extend(pieces[-1])

    def finish(self) -> None:
        """Take the end of the file."""
        if self._length and not self.is_over:
            self._end_line()
        if self.cutter is not None:
            self.cutter.finish()

    def skip_to_end(self, end: bytes) -> None:
        """Take the last bytes of the file, and look at nothing between them and those before but how a line begins."""
        if self._length:
            self._look_at_edges(self._number + 1, self._line(), ends=False)
        whole, newline, line = end.removesuffix(b"\n").rpartition(b"\n")
        if newline and not self.is_over:
            self._look_at(_LAST, line)
        elif not self.is_over:
            self._look_at_edges(_LAST, whole or line, begins=False)

    def _extend(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length <= LONGEST_LINE or not self._pieces:
            self._pieces.append(piece)
        elif not piece.isspace() and piece:
            self._pieces[1:] = [piece]

    def _line(self) -> bytes:
        line = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        if self._number == 0 and line.startswith(_BOM):
            self._add(1, "it begins with a byte order mark (BOM): save the file as UTF-8 without one")
            return line.removeprefix(_BOM)
        if self._number == 0 and line.startswith(_UTF_16):
            self._add(1, "it is UTF-16: save the file as UTF-8")
            self._is_over = True
        return line

    def _end_line(self, newline: int = 0) -> None:
        line, length = self._line(), self._length
        self._number += 1
        self._pieces, self._length = [], 0
        if self._is_over:
            return
        if self.looks:
            self._look_at_line(line, is_long=length > LONGEST_LINE)
        if self.cutter is not None:
            if length + newline > self.cutter.largest:
                self._add(self._number, f"it has {length:,} bytes, and a batch may have {self.cutter.largest:,}")
            self.cutter.take(length + newline, 1 if self._batch is None else self._batch.inputs)

    def _look_at_line(self, line: bytes, *, is_long: bool) -> None:
        if self._batch is not None and self.cutter is None and self._number > MOST_REQUESTS:
            self._add(self._number, f"a batch may have {MOST_REQUESTS:,} lines: cut the file in two")
            self._is_over = True
        elif is_long:
            self._look_at_edges(self._number, line)
        else:
            self._look_at(self._number, line)

    def _look_at_edges(self, number: int, line: bytes, *, begins: bool = True, ends: bool = True) -> None:
        text = line.strip()
        if (begins and text[:1] not in {b"{", b""}) or (ends and not text.endswith(b"}")):
            self._add(number, "it is not one JSON object")

    def _look_at(self, number: int, line: bytes) -> None:
        try:
            value = _value_of(line)
        except ValueError as error:
            self._add(number, str(error))
            return
        if value is None:
            return
        for text in self._batch.problems_of(value, number) if self._batch is not None else ():
            self._add(number, text)

    def _add(self, number: int | None, text: str) -> None:
        self.problems.append(LineProblem(number, text))


@define(eq=False)
class _Batch:
    """The rules for the requests of a batch: an id of its own for each, one url and one model for all."""

    is_whole: bool = True  # else only what is wrong within a line, or between two, whichever piece they are in
    inputs: int = field(default=1, init=False)  # of the last line
    _ids: dict[bytes, int] = field(factory=dict, init=False)  # by digest, so that long ids take no memory
    _same: dict[str, tuple[str, int]] = field(factory=dict, init=False)
    _inputs: int = field(default=0, init=False)

    def problems_of(self, request: dict[str, Any], line: int) -> Iterator[str]:
        """What is wrong with a line."""
        missing = [name for name in ("custom_id", "method", "url", "body") if name not in request]
        if missing:
            yield f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        for name, kind in (("custom_id", str), ("method", str), ("url", str), ("body", dict)):
            if name in request and not isinstance(request[name], kind):
                wanted = "an object" if kind is dict else "a string"
                yield f"{name} is {_KINDS.get(type(request[name]), 'an object')}, and must be {wanted}"
        yield from self._of_id(request.get("custom_id"), line)
        method, url, body = (request.get(name) for name in ("method", "url", "body"))
        if isinstance(method, str) and method != "POST":
            yield f"method is {_shown(method)}, and must be POST"
        yield from self._other("url", url, line)
        if isinstance(body, dict):
            yield from self._other("model", body.get("model"), line)
            if isinstance(url, str) and url.endswith("/embeddings"):
                yield from self._of_inputs(body.get("input"))

    def _of_id(self, custom_id: object, line: int) -> Iterator[str]:
        if isinstance(custom_id, str):
            first = self._ids.setdefault(xxh3_128_digest(custom_id.encode(errors="surrogatepass")), line)
            if first != line:
                yield f"custom_id {_shown(custom_id)} is in {_place(first)} too: each line needs an id of its own"

    def _other(self, name: str, value: object, line: int) -> Iterator[str]:
        if isinstance(value, str):
            first, its_place = self._same.setdefault(name, (value, line))
            if first != value:
                yield f"{name} is {_shown(value)}, and in {_place(its_place)} {_shown(first)}: a batch has one {name}"

    def _of_inputs(self, value: object) -> Iterator[str]:
        before = self._inputs if self.is_whole else 0
        are_many = isinstance(value, list) and bool(value) and isinstance(value[0], str | list)
        self.inputs = len(value) if isinstance(value, list) and are_many else 1
        self._inputs = before + self.inputs
        if before <= MOST_REQUESTS < self._inputs:
            yield f"a batch of embeddings may have {MOST_REQUESTS:,} inputs: cut the file in two"


def _value_of(line: bytes) -> dict[str, Any] | None:
    """The object in a line; None if it is nested too deep to be looked at. Raises ValueError, which says what it is."""
    try:
        text = line.decode()
        value = _JSON.decode(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1:,} is not UTF-8") from error
    except RecursionError:
        return None
    except json.JSONDecodeError as error:
        if not text.strip():
            raise ValueError("it is blank") from None
        what = f"{error.msg[0].lower()}{error.msg[1:]}".removesuffix(" at")
        raise ValueError(f"it is not JSON: {what} at column {error.pos + 1:,}") from error
    if isinstance(value, dict):
        return value
    raise ValueError(f"it is {_KINDS[type(value)]}, not an object")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _no_constant(name: str) -> None:
    raise ValueError(f"it is not JSON: {name} is not a value of JSON")


_JSON = json.JSONDecoder(parse_constant=_no_constant, parse_int=float)  # an int of 5,000 digits is refused by Python
