"""JSON that carries pictures: base64 is cut out of it and decoded straight to bytes, never a text of many MB (pure)."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

_decode: Callable[[bytes | memoryview], bytes]
try:
    import pybase64
except ImportError:  # the extra `fast` is not installed
    _decode = partial(binascii.a2b_base64, strict_mode=True)
else:
    _decode = partial(pybase64.b64decode, validate=True)

_KEY = b'"b64_json"'
_OPENING = re.compile(rb'[ \t\r\n]*:[ \t\r\n]*"')


def images_json(body: bytes) -> Any:
    """Decode JSON in which each `"b64_json": "…"` becomes `"content": bytes`. Raises ValueError.

    In JSON no text holds an unescaped quote, so `"b64_json"` with both quotes is a key or a whole value.
    """
    rest, contents = _cut(body)
    return _put_back(json.loads(rest), contents)


def base64_bytes(text: bytes | memoryview) -> bytes:
    """Decode base64 (RFC 4648, 4). Raises ValueError (binascii.Error)."""
    return _decode(text)


def _cut(body: bytes) -> tuple[bytes, list[bytes]]:
    pieces: list[bytes] = []
    contents: list[bytes] = []
    kept = 0
    found = body.find(_KEY)
    while found >= 0:
        opening = _OPENING.match(body, found + len(_KEY))
        end = body.find(b'"', opening.end()) if opening else -1
        if opening and end >= 0 and body.find(b"\\", opening.end(), end) < 0:
            pieces += [body[kept : opening.end()], b"%d" % len(contents)]
            contents.append(base64_bytes(memoryview(body)[opening.end() : end]))
            kept = end
        found = body.find(_KEY, found + len(_KEY) if end < 0 else end)
    return b"".join([*pieces, body[kept:]]), contents


def _put_back(value: Any, contents: list[bytes]) -> Any:
    if isinstance(value, list):
        return [_put_back(item, contents) for item in value]
    if not isinstance(value, dict):
        return value
    found = {name: _put_back(item, contents) for name, item in value.items() if name != "b64_json"}
    encoded = value.get("b64_json")
    if isinstance(encoded, str):
        found["content"] = contents[int(encoded)] if contents else base64_bytes(encoded.encode())
    return found
