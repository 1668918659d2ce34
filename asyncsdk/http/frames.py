"""Splits the response to an edit into frames: JSON, server-sent events, or the bare bytes of an image (pure).

The first bytes decide which it is, whatever was requested and whatever the content type is. Of events (WHATWG's HTML,
9.2) a line may be many MB and ends with LF, CR or both, and the last one counts also without the blank line after it:
its content is paid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

from attrs import define, field, frozen

from asyncsdk.http.base64_json import LARGEST_PICTURE, Base64Extractor, Pictures, TooLarge

_DATA, _EVENT = b"data:", b"event:"
_LONGEST_NAME = 200
_BEFORE = b"\xef\xbb\xbf \t\r\n"  # a byte order mark and blanks, which both JSON and events may begin with
_ENOUGH = 8  # bytes to detect the format by
_FIELD = re.compile(rb"(?:data|event|id|retry)?:|data[\r\n]")
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"<svg")


@frozen
class Frame:
    """A text that should be JSON, with the images that were cut out of it. `name` is an event's, else empty."""

    name: str
    text: str
    pictures: Pictures = field(factory=dict)


class FrameReader(Protocol):
    """Fed with a response, gives its frames. Raises TooLarge."""

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Yield the frames that `chunk` completes."""

    def close(self) -> Iterator[Frame]:
        """Yield the frame that is not ended, once nothing more comes."""


def is_format_known(beginning: bytes) -> bool:
    """Whether enough of a response came to detect its format."""
    return len(beginning.lstrip(_BEFORE)) >= _ENOUGH


def format_of(beginning: bytes, content_type: str) -> FrameReader:
    """The format of a response by its beginning. Anything else, such as a web page, is one text, as JSON is."""
    text = beginning.lstrip(_BEFORE)
    if text[:1] in {b"{", b"["}:
        return Json()
    if _FIELD.match(text):
        return Events()
    if beginning.startswith(_PICTURES) or text.startswith(b"<svg") or beginning[4:8] == b"ftyp":
        return Bare()
    if content_type.startswith("image/"):
        return Bare()
    return Events() if content_type.startswith("text/event-stream") and text[:1] != b"<" else Json()


@define(eq=False)
class Json:
    """All of it is one text."""

    _data: Base64Extractor = field(factory=Base64Extractor, init=False)

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        self._data.feed(chunk)
        return iter(())

    def close(self) -> Iterator[Frame]:
        self._data.close()
        yield _frame("", self._data)


@define(eq=False)
class Bare:
    """All of it is one image."""

    _content: bytearray = field(factory=bytearray, init=False)

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        self._content += chunk
        if len(self._content) > LARGEST_PICTURE:
            raise TooLarge(f"it is a picture larger than {LARGEST_PICTURE} bytes")
        return iter(())

    def close(self) -> Iterator[Frame]:
        yield Frame("", '{"b64_json": "#"}', {"#": bytes(self._content)})


@define(eq=False)
class Events:
    """Each event is a frame."""

    _line: bytes = field(default=b"", init=False)
    _has_begun: bool = field(default=False, init=False)
    _is_data: bool | None = field(default=None, init=False)
    _after_return: bool = field(default=False, init=False)
    _name: str = field(default="", init=False)
    _data: Base64Extractor = field(factory=Base64Extractor, init=False)

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        *lines, rest = self._with_newlines(chunk).split(b"\n")
        for line in lines:
            if not line and not self._has_begun:  # blank lines between two frames
                continue
            self._go_on(line)
            if self._end_line():
                yield self._end_frame()
        self._go_on(rest)

    def close(self) -> Iterator[Frame]:
        self._end_line()
        self._data.close()
        yield self._end_frame()

    def _with_newlines(self, chunk: bytes) -> bytes:
        if not self._after_return and b"\r" not in chunk:
            return chunk
        if self._after_return:
            chunk = chunk.removeprefix(b"\n")
        self._after_return = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _go_on(self, piece: bytes) -> None:
        self._has_begun = self._has_begun or bool(piece)
        if self._is_data:
            self._data.feed(piece)
        elif self._is_data is None:
            self._line += piece
            if len(self._line) >= len(_DATA):
                self._begin()
        elif len(self._line) < _LONGEST_NAME:
            self._line += piece[:_LONGEST_NAME]

    def _begin(self) -> None:
        line, self._line = self._line, b""
        self._is_data = line.startswith(_DATA)
        if self._is_data:
            self._data.feed(b"\n" + line.removeprefix(_DATA))  # blanks, which JSON allows
        else:
            self._line = line[:_LONGEST_NAME]

    def _end_line(self) -> bool:
        """Whether it was an empty one, which ends a frame."""
        empty = self._is_data is None and not self._line
        if self._line.startswith(_EVENT):
            self._name = self._line.removeprefix(_EVENT).decode("utf-8", "replace").strip()
        self._line, self._is_data = b"", None
        return empty

    def _end_frame(self) -> Frame:
        frame = _frame(self._name, self._data)
        self._has_begun, self._name, self._data = False, "", Base64Extractor()
        return frame


def _frame(name: str, data: Base64Extractor) -> Frame:
    return Frame(name, data.rest.decode("utf-8", "replace").strip("\ufeff \t\r\n"), data.pictures)
