"""Decompresses a response in bounded pieces: a megabyte of it may become a gigabyte (pure).

The client requests none (`Accept-Encoding: identity`): base64 shrinks by a quarter, images not at all, and inflating
them takes CPU time here. Some servers compress all the same, and a caller may request it with a header.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from attrs import define, field

PIECE = 256 << 10  # bytes
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_GZIP_BEGINS, _ZLIB_METHOD = 0x1F, 8
_SLICE = 16 << 10  # bytes that are inflated at a time: what follows the end of a member is copied
_GZIPS = frozenset({"gzip", "x-gzip"})
_CODINGS = _GZIPS | {"deflate", "br", "zstd", "compress", "x-compress"}


class InflateError(ValueError):
    """The body is not encoded as its Content-Encoding states, or ends too early."""


@define(eq=False)
class Inflater:
    """Inflates a body of `coding` (RFC 9110, 8.4.1) as it comes; `taken` counts its bytes.

    `is_known` is False for a coding that can't be inflated here: such a body is passed on as it is.
    """

    coding: str
    taken: int = field(default=0, init=False)
    _stream: Any = field(default=None, init=False)  # a zlib.decompressobj, whose type has no public name

    @property
    def is_known(self) -> bool:
        return self.coding in _GZIPS or self.coding == "deflate"

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What `chunk` adds, at most `PIECE` bytes at a time. Raises InflateError."""
        if not self.taken:
            self._stream = self._new_stream(chunk[0])
        self.taken += len(chunk)
        if self._stream is None:
            yield chunk
            return
        for start in range(0, len(chunk), _SLICE):
            yield from self._pieces(chunk[start : start + _SLICE])

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        piece = b""
        while chunk or len(piece) == PIECE:  # after a full piece there may be more of what it has taken
            if self._stream.eof:
                chunk = self._next_member(chunk)
                if not chunk:
                    return
            piece = self._inflated(chunk)
            chunk = self._stream.unused_data or self._stream.unconsumed_tail
            if piece:
                yield piece

    def _next_member(self, chunk: bytes) -> bytes:
        """What of `chunk` follows the padding after a member of gzip, which may have several (RFC 1952, 2.2)."""
        chunk = chunk.lstrip(b"\0") if self.coding in _GZIPS else chunk
        if chunk and not (self.coding in _GZIPS and chunk[0] == _GZIP_BEGINS):
            raise InflateError(f"its {self.coding} data goes on after its end")
        self._stream = zlib.decompressobj(_GZIP) if chunk else self._stream
        return chunk

    def end(self) -> None:
        """End the body. Raises InflateError where its compressed data is not at its end."""
        if self._stream is not None and not self._stream.eof:
            raise InflateError(f"its {self.coding} data ends too early")

    def _new_stream(self, first: int) -> Any:
        if self.coding == "deflate":  # zlib's format; some servers send it without zlib's head
            return zlib.decompressobj(_ZLIB if first & 0xF == _ZLIB_METHOD else _RAW)
        # a gateway may have inflated it and kept the header
        return zlib.decompressobj(_GZIP) if self.is_known and first == _GZIP_BEGINS else None

    def _inflated(self, chunk: bytes) -> bytes:
        try:
            piece: bytes = self._stream.decompress(chunk, PIECE)
        except zlib.error as error:
            raise InflateError(f"its {self.coding} data is damaged ({error})") from error
        return piece


def inflater_for(content_encoding: str | None) -> Inflater | None:
    """The inflater for a body with this header; None where it is not compressed, whatever else the header contains."""
    names = [name.strip() for name in (content_encoding or "").lower().split(",")]
    coding = ", ".join(name for name in names if name in _CODINGS)
    return Inflater(coding) if coding else None
