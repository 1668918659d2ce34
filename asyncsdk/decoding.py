"""JSON that carries pictures: their base64 is decoded while it comes in, never held as a text of many MB (pure)."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from attrs import define, field

_decode: Callable[[bytes | memoryview], bytes]
try:
    import pybase64
except ImportError:  # the extra `fast` is not installed
    _decode = partial(binascii.a2b_base64, strict_mode=True)
else:
    _decode = partial(pybase64.b64decode, validate=True)

# No text in JSON holds a bare quote, so between two of them this is a key or a whole value, and before a colon a key.
_OPENING = re.compile(rb'(?<!\\)"b64_json"[ \t\r\n]*:[ \t\r\n]*"')
_LONGEST_OPENING = 64  # one with more blanks is found too, unless a chunk ends in it: then it stays text until the end
_LONGEST_ESCAPE = 6  # \u002B, as .NET writes a plus

Pictures = Mapping[str, bytes | ValueError]


def with_pictures(value: Any, pictures: Pictures) -> Any:
    """`value` with `"content": bytes` for each `"b64_json": "…"`, be that a mark or base64. Raises ValueError."""
    if isinstance(value, list):
        return [with_pictures(item, pictures) for item in value]
    if not isinstance(value, dict):
        return value
    found = {name: with_pictures(item, pictures) for name, item in value.items() if name != "b64_json"}
    told = value.get("b64_json")
    if isinstance(told, str):
        found["content"] = _picture(pictures.get(told), told)
    return found


@define(eq=False)
class PictureCutter:
    """Fed with JSON in chunks, cuts the pictures out and leaves a mark, which is no base64, in the place of each.

    `pictures` are by their marks: the bytes, or what is wrong with them.
    """

    pictures: dict[str, bytes | ValueError] = field(factory=dict, init=False)
    _rest: list[bytes] = field(factory=list, init=False)
    _held: bytes = field(default=b"", init=False)
    _base64: _Base64 | None = field(default=None, init=False)

    @property
    def rest(self) -> bytes:
        """The JSON so far, with marks for its pictures."""
        return b"".join([*self._rest, self._held])

    def feed(self, chunk: bytes) -> None:
        """Take in what comes next."""
        left, self._held = self._held + chunk, b""
        while left:
            left = self._text(left) if self._base64 is None else self._picture(left, self._base64)

    def _text(self, data: bytes) -> bytes:
        opening = _OPENING.search(data, 1)  # the first byte is for the look behind it
        if opening is None:
            end = max(0, len(data) - _LONGEST_OPENING)
            self._rest.append(data[:end])
            self._held = data[end:]
            return b""
        self._rest += [data[: opening.end()], self._mark.encode()]
        self._base64 = _Base64()
        return data[opening.end() :]

    def _picture(self, data: bytes, base64: _Base64) -> bytes:
        end = data.find(b'"')
        if end < 0:
            base64.feed(data)
            return b""
        base64.feed(data[:end], last=True)
        self.pictures[self._mark] = base64.content
        self._base64 = None
        return data[end:]

    @property
    def _mark(self) -> str:
        return f"#{len(self.pictures)}"


@define(eq=False)
class _Base64:
    """Base64 (RFC 4648, 4) in chunks, perhaps with JSON's escapes in it."""

    _pieces: list[bytes] = field(factory=list, init=False)
    _quad: bytes = field(default=b"", init=False)
    _escape: bytes = field(default=b"", init=False)
    _padded: bool = field(default=False, init=False)
    _failure: ValueError | None = field(default=None, init=False)

    @property
    def content(self) -> bytes | ValueError:
        return b"".join(self._pieces) if self._failure is None else self._failure

    def feed(self, text: bytes, *, last: bool = False) -> None:
        if self._failure is not None:
            return
        try:
            self._take(self._unescaped(text, last=last), last=last)
        except ValueError as error:  # bare, for its cause would show the text
            self._failure = ValueError(f"its base64 can't be decoded ({error})")

    def _take(self, text: bytes, *, last: bool) -> None:
        """Decode all whole quads: what begun before in a small copy, the rest where it lies."""
        start = len(text) if last else -len(self._quad) % 4
        end = max(start, len(text) - (len(text) - start) % 4)
        if last or start <= len(text):
            self._decode(self._quad + text[:start])
            self._decode(memoryview(text)[start:end])
            self._quad = text[end:]
        else:
            self._quad += text

    def _decode(self, quads: bytes | memoryview) -> None:
        if quads and self._padded:
            raise ValueError("it goes on behind its padding")
        if len(quads) % 4 or quads[-3:] == b"===":  # which the standard library may let pass
            raise ValueError("it is no whole number of quads")
        self._pieces.append(_decode(quads))
        self._padded = self._padded or quads[-1:] == b"="

    def _unescaped(self, text: bytes, *, last: bool) -> bytes:
        """The text as it is meant, but for an escape at its end that may not be whole yet."""
        if not self._escape and b"\\" not in text:
            return text
        text = self._escape + text
        end = -1 if last else text.rfind(b"\\", max(0, len(text) - _LONGEST_ESCAPE))
        end = len(text) if end < 0 else end
        self._escape = text[end:]
        meant: str = json.loads(b'"%b"' % text[:end])
        return meant.encode()


def _picture(found: bytes | ValueError | None, text: str) -> bytes:
    if isinstance(found, ValueError):
        raise found
    return _decode(text.encode()) if found is None else found
