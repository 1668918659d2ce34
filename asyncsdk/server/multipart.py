"""Incremental parser of multipart/form-data (pure): chunks in, fields and their bytes out, nothing is buffered.

RFC 7578 over RFC 2046: a preamble and an epilogue are skipped, a part's headers may come in any order.
"""

from __future__ import annotations

from email.message import Message
from email.parser import HeaderParser
from email.utils import collapse_rfc2231_value
from enum import Enum, auto

from attrs import define, field, frozen

HEADERS_LIMIT = 16 * 1024
_PADDING_LIMIT = 256
_BOUNDARY_LIMIT = 200


class MultipartError(ValueError):
    """The body is not a form that this parser can read; the message contains the reason."""


@frozen
class Field:
    """The headers of one part of a form. `filename` is what the client sent; never use it as a path."""

    name: str
    filename: str | None = None
    content_type: str | None = None


class _ParserState(Enum):
    PREAMBLE = auto()
    CONTENT = auto()
    DELIMITER = auto()
    HEADERS = auto()
    EPILOGUE = auto()


@define
class FormParser:
    """Takes the body's chunks, however they are cut, and returns each field followed by its bytes.

    A chunk without a delimiter is returned as it is, not copied. `complete` is True after the closing delimiter: a body
    that ends before it was cut off.
    """

    boundary: bytes
    _delimiter: bytes = field(init=False)
    _rest: bytes = field(default=b"\r\n", init=False)  # so that the first delimiter looks like the others
    _state: _ParserState = field(default=_ParserState.PREAMBLE, init=False)

    def __attrs_post_init__(self) -> None:
        self._delimiter = b"\r\n--" + self.boundary

    @property
    def complete(self) -> bool:
        return self._state is _ParserState.EPILOGUE

    def feed(self, chunk: bytes) -> list[Field | bytes]:
        """Return the fields and bytes that `chunk` completes. Raises MultipartError, which ends the parser's use."""
        if self.complete:
            return []
        events: list[Field | bytes] = []
        self._rest = self._rest + chunk if self._rest else chunk
        while self._advance(events):
            pass
        return events

    def _advance(self, events: list[Field | bytes]) -> bool:
        """Take one step; False when it needs more bytes."""
        match self._state:
            case _ParserState.PREAMBLE:
                return self._scan([])
            case _ParserState.CONTENT:
                return self._scan(events)
            case _ParserState.DELIMITER:
                return self._end_delimiter()
            case _ParserState.HEADERS:
                return self._read_headers(events)
            case _:
                self._rest = b""
                return False

    def _scan(self, events: list[Field | bytes]) -> bool:
        position = self._rest.find(self._delimiter)
        end = position if position >= 0 else len(self._rest) - overhang(self._rest, self._delimiter)
        if end:
            events.append(self._rest[:end])
        if position < 0:
            self._rest = self._rest[end:]
            return False
        self._rest = self._rest[end + len(self._delimiter) :]
        self._state = _ParserState.DELIMITER
        return True

    def _end_delimiter(self) -> bool:
        if self._rest.startswith(b"--"):
            self._state = _ParserState.EPILOGUE
            return True
        padding, line_end, _ = self._rest.partition(b"\r\n")
        if line_end and not padding.strip(b" \t"):
            self._rest = self._rest[len(padding) :]  # with its CRLF: no headers end like any headers
            self._state = _ParserState.HEADERS
            return True
        if line_end or len(self._rest) > _PADDING_LIMIT:
            raise MultipartError("a boundary is followed by something other than a line end")
        return False

    def _read_headers(self, events: list[Field | bytes]) -> bool:
        end = self._rest.find(b"\r\n\r\n")
        if end > HEADERS_LIMIT or (end < 0 and len(self._rest) > HEADERS_LIMIT):
            raise MultipartError("the headers of a part are too long")
        if end < 0:
            return False
        events.append(parse_headers(self._rest[2:end]))
        self._rest = self._rest[end + 4 :]
        self._state = _ParserState.CONTENT
        return True


def overhang(data: bytes, delimiter: bytes) -> int:
    """Count the last bytes of `data` that may begin a `delimiter`, whose only CR is its first byte."""
    start = data.rfind(b"\r", max(0, len(data) - len(delimiter) + 1))
    return len(data) - start if start >= 0 and delimiter.startswith(data[start:]) else 0


def parse_headers(block: bytes) -> Field:
    """Read a part's header lines, without the empty line that ends them. Raises MultipartError."""
    try:
        message = HeaderParser().parsestr(block.decode())
    except UnicodeDecodeError as error:
        raise MultipartError("the headers of a part are not UTF-8") from error
    name = _parameter(message, "name", of="content-disposition")
    if message.get_content_disposition() != "form-data" or name is None:
        raise MultipartError("a part has no Content-Disposition: form-data with a name")
    content_type = message.get_content_type() if "content-type" in message else None
    return Field(name, _parameter(message, "filename", of="content-disposition"), content_type)


def boundary_of(content_type: str) -> bytes:
    """Return the boundary in a Content-Type header. Raises MultipartError if there is none."""
    message = Message()
    message["Content-Type"] = content_type
    if message.get_content_type() != "multipart/form-data":
        raise MultipartError("the body must be multipart/form-data")
    boundary = (_parameter(message, "boundary", of="content-type") or "").rstrip()
    if not boundary or len(boundary) > _BOUNDARY_LIMIT or not boundary.isascii() or not boundary.isprintable():
        raise MultipartError("the Content-Type names no usable boundary")
    return boundary.encode()


def _parameter(message: Message, name: str, *, of: str) -> str | None:
    """Return a header's parameter. Raises MultipartError if it is not in the encoding that it names (RFC 2231)."""
    try:
        value = message.get_param(name, header=of)
        return None if value is None else collapse_rfc2231_value(value)
    except ValueError as error:
        raise MultipartError(f"the {name} in a {of} can't be decoded") from error
