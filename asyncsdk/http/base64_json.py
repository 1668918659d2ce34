"""Decodes images in JSON, as base64 or `data:` URLs, while it comes in: never held as a text of many MB (pure).

Servers write base64 in many ways: as a `data:` URL, in lines, without its padding, in the alphabet for URLs. All of
them are accepted, and nothing else is: what can't be decoded is kept as it came.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import MutableMapping
from urllib.parse import unquote_to_bytes

import pybase64
from attrs import define, field

from asyncsdk.models import UnreadableImage

# No text in JSON has a bare quote, so between two of them this is a key or a whole value, and before a colon a key.
_OPENING = re.compile(
    rb'(?<!\\)"(?:b64_json"[ \t\r\n]*:[ \t\r\n]*"|(url)"[ \t\r\n]*:[ \t\r\n]*"(?=[ \t\r\n]*(?i:data:)))'
)
_ESCAPED_TEXT = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)  # up to its quote, or to a backslash that ends the chunk
_LONGEST_OPENING = 64  # one with more blanks is found too, unless a chunk ends in it: then it stays text until the end
_LONGEST_ESCAPE = 6  # \u002B, as .NET writes a plus
_LONGEST_PREFIX = 1000  # of a data URL, up to its comma
_DATA = b"data:"
_FROM_URLS, _WHITE = bytes.maketrans(b"-_", b"+/"), b" \t\r\n\f\v"

LARGEST_PICTURE = 256 << 20  # bytes; the API's are a tenth of it
_LONGEST_PICTURE = LARGEST_PICTURE // 3 * 4
_LONGEST_TEXT = 64 << 20  # of JSON, less its pictures
_MOST = 1000  # pictures in one JSON value

Pictures = MutableMapping[str, bytes | UnreadableImage]


class TooLarge(ValueError):  # noqa: N818 - said of a response
    """The response is larger than anything that the API sends; the message contains what is, and the limit."""


def picture_of(text: str, pictures: Pictures) -> bytes | UnreadableImage:
    """The image of a JSON value: the one that its mark refers to, else the one that is encoded in it."""
    if text in pictures:
        return pictures.pop(text)
    decoder = _Base64()
    decoder.feed(json.dumps(text)[1:-1].encode(), last=True)
    return decoder.content()


def is_data_url(text: str) -> bool:
    """Whether `text` is a data URL, or the mark of one."""
    return text[:_LONGEST_OPENING].lstrip()[: len(_DATA)].lower() == _DATA.decode()


@define(eq=False)
class Base64Extractor:
    """Fed with JSON in chunks, cuts the images out and leaves a mark, which is not base64, in place of each.

    `pictures` maps each mark to the bytes, or to what can't be read. With `streamed` it holds none of the bytes: `take`
    hands them out as they come, and what can't be decoded is dropped.

    Args:
        streamed: Whether the images are taken while they come.
        longest_text: How many bytes the JSON may have, less its images; None: 64 MiB.
    """

    streamed: bool = False
    longest_text: int | None = None
    pictures: dict[str, bytes | UnreadableImage] = field(factory=dict, init=False)
    _rest: bytearray = field(factory=bytearray, init=False)
    _held: bytes = field(default=b"", init=False)
    _base64: _Base64 | None = field(default=None, init=False)
    _mark: str = field(default="", init=False)
    _is_escaped: bool = field(default=False, init=False)  # the first byte that comes next
    _decoded: list[tuple[str, bytes]] = field(factory=list, init=False)

    def take(self) -> list[tuple[str, bytes]]:
        """What was decoded since the last call, in pieces, each with the mark of its image. For `streamed` alone."""
        decoded, self._decoded = self._decoded, []
        return decoded

    @property
    def rest(self) -> bytes:
        """The JSON so far, with marks for its images."""
        return bytes(self._rest) + self._held

    def feed(self, chunk: bytes) -> None:
        """Take in what comes next. Raises TooLarge."""
        left, self._held = self._held + chunk, b""
        while left:
            left = self._text(left) if self._base64 is None else self._picture(left, self._base64)

    def close(self) -> None:
        """Nothing more comes: an image that is not at its end was cut off."""
        if self._base64 is not None:
            self.pictures[self._mark] = self._base64.content(cut=True)
            self._base64, self._held = None, b'"'

    def _text(self, data: bytes) -> bytes:
        opening = _OPENING.search(data, 1)  # the first byte is for the look behind it
        if opening is None:
            end = max(0, len(data) - _LONGEST_OPENING)
            self._rest += data[:end]
            self._held = data[end:]
            longest = _LONGEST_TEXT if self.longest_text is None else self.longest_text
            if len(self._rest) > longest:
                raise TooLarge(f"a text in it is larger than {longest} bytes")
            return b""
        if len(self.pictures) >= _MOST:
            raise TooLarge(f"it has more than {_MOST} pictures")
        self._mark = f"{'data:' if opening[1] else ''}#{len(self.pictures)}"
        self._rest += data[: opening.end()]
        self._rest += self._mark.encode()
        self._base64, self._is_escaped = _Base64(), False
        return data[opening.end() :]

    def _picture(self, data: bytes, base64: _Base64) -> bytes:
        end = self._end(data)
        base64.feed(data if end < 0 else data[:end], last=end >= 0)
        if self.streamed and (decoded := base64.take()):
            self._decoded.append((self._mark, decoded))
        if end < 0:
            return b""
        content, self._base64 = base64.content(), None
        if content == b"" and not base64.taken:  # not an image: without a mark
            self._rest[-len(self._mark) :] = json.dumps(base64.prefix)[1:-1].encode()
        else:
            self.pictures[self._mark] = content
        return data[end:]

    def _end(self, data: bytes) -> int:
        """Where the text ends; below 0 where it continues. A page in place of an image may have escaped quotes."""
        start = int(self._is_escaped)
        end = data.find(b'"', start)
        last = data[end - 1 : end] if end >= 0 else data[-1:]
        if last == b"\\" and end != start:  # as base64 never has it
            match = _ESCAPED_TEXT.match(data, start)
            end = match.end() if match is not None else start
        self._is_escaped = data[end : end + 1] == b"\\" if end >= 0 else False
        return -1 if self._is_escaped or end >= len(data) else end


@define(eq=False)
class _Base64:
    """Base64 (RFC 4648, 4 and 5) in chunks, perhaps with JSON's escapes in it."""

    _pieces: list[bytes] = field(factory=list, init=False)
    _head: bytes = field(default=b"", init=False)
    _prefix: bytes | None = field(default=None, init=False)
    _quad: bytes = field(default=b"", init=False)
    _escape: bytes = field(default=b"", init=False)
    _padded: bool = field(default=False, init=False)
    _dressed: bool = field(default=False, init=False)
    _size: int = field(default=0, init=False)
    taken: int = field(default=0, init=False)  # bytes
    _is_dropped: bool = field(default=False, init=False)  # something that can't be decoded
    _reason: str = field(default="", init=False)
    _refused: list[bytes] = field(factory=list, init=False)

    @property
    def prefix(self) -> str:
        """The beginning of a data URL, up to its comma; empty where it is not one."""
        return (self._prefix or b"").decode("utf-8", "replace")

    def take(self) -> bytes:
        """What was decoded since the last call. It is not in `content` any more, nor is what can't be decoded."""
        pieces, self._pieces = self._pieces, []
        self._is_dropped = self._is_dropped or bool(self._refused)
        self._refused.clear()
        self.taken += sum(map(len, pieces))
        return b"".join(pieces)

    def content(self, *, cut: bool = False) -> bytes | UnreadableImage:
        """The bytes; else what came in their place, and why it can't be used."""
        if not self._reason:
            content = b"".join(self._pieces)
            return UnreadableImage(raw=content, reason="it is cut off") if cut else content
        prefix = self._prefix or b""
        text = base64.b64encode(b"".join(self._pieces)) + self._quad + self._head + b"".join(self._refused)
        if prefix and not cut and not self._is_dropped and not _is_base64(prefix):
            return unquote_to_bytes(text)
        return UnreadableImage(raw=prefix + text, reason="it is cut off" if cut else self._reason)

    def feed(self, text: bytes, *, last: bool = False) -> None:
        self._size += len(text)
        if self._size > _LONGEST_PICTURE:
            raise TooLarge(f"a picture in it is larger than {LARGEST_PICTURE} bytes")
        try:
            text = self._unescaped(text, last=last)
            if not self._reason:
                text = text if self._prefix is not None else self._begun(text, last=last)
                self._take(text, last=last)
                return
        except ValueError as error:
            self._reason = self._reason or f"its base64 can't be decoded ({error})"
        self._refused.append(text)

    def _begun(self, text: bytes, *, last: bool) -> bytes:
        """What follows the beginning of a data URL. Empty until it is known whether it is one."""
        text, self._head = self._head + text, b""
        start = text.lstrip(_WHITE)[: len(_DATA)].lower()
        if start == _DATA:
            comma = text.find(b",", 0, _LONGEST_PREFIX) + 1
            if comma:
                self._prefix = text[:comma]
                if not _is_base64(self._prefix):
                    self._reason = "its data URL is not base64"
                    self._refused.append(text[comma:])
                    return b""
                return text[comma:]
            waiting = len(text) < _LONGEST_PREFIX
        else:
            waiting = _DATA.startswith(start) and len(text) < _LONGEST_PREFIX
        if waiting and not last:
            self._head = text
            return b""
        self._prefix = b""
        return text

    def _take(self, text: bytes, *, last: bool) -> None:
        """Decode all whole quads, plainly if possible, else after white space and the URL alphabet are converted."""
        try:
            self._take_plain(text, last=last)
        except ValueError:
            if self._dressed:
                raise
            self._dressed = True
            self._take_plain(text, last=last)

    def _take_plain(self, text: bytes, *, last: bool) -> None:
        """Decode a quad that was begun before in a small copy, the rest in place."""
        quad = self._quad
        if self._dressed:
            quad, text = quad.translate(_FROM_URLS, _WHITE), text.translate(_FROM_URLS, _WHITE)
            if last and b"=" not in text and b"=" not in quad and (len(quad) + len(text)) % 4 > 1:
                text += b"=" * (-(len(quad) + len(text)) % 4)
        start = len(text) if last else -len(quad) % 4
        end = max(start, len(text) - (len(text) - start) % 4)
        if last or start <= len(text):
            begun = quad + text[:start]
            first = self._decoded(begun, padded=self._padded)
            padded = self._padded or begun.endswith(b"=")
            second = self._decoded(memoryview(text)[start:end], padded=padded)
            self._pieces += [first, second]
            self._padded = padded or text.endswith(b"=", start, end)
            self._quad = text[end:]
        else:
            self._quad = quad + text

    def _decoded(self, quads: bytes | memoryview, *, padded: bool) -> bytes:
        if quads and padded:
            raise ValueError("it continues after its padding")
        if len(quads) % 4 or quads[-3:] == b"===":  # which the standard library may accept
            raise ValueError("it is not a whole number of quads")
        return pybase64.b64decode(quads, validate=True)

    def _unescaped(self, text: bytes, *, last: bool) -> bytes:
        """The text without JSON's escapes, except for an escape at its end that may not be complete yet."""
        if not self._escape and b"\\" not in text:
            return text
        text, self._escape = self._escape + text, b""
        end = -1 if last else text.rfind(b"\\", max(0, len(text) - _LONGEST_ESCAPE))
        before = text[: end + 1]
        end = end if (len(before) - len(before.rstrip(b"\\"))) % 2 else len(text)  # else it is the second of two
        plain: str = json.loads(b'"%b"' % text[:end], strict=False)
        self._escape = text[end:]
        return plain.encode("utf-8", "replace")


def _is_base64(prefix: bytes) -> bool:
    return prefix.rstrip(b", ").lower().endswith(b"base64")
