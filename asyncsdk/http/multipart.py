"""How form fields look on the wire: RFC 7578, with raw UTF-8 names as browsers and httpx write them (pure)."""

from __future__ import annotations

import re
import secrets

from asyncsdk.errors import ConfigurationError

_MIME_TYPE = re.compile(r"[!-~][ -~]*")
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


def new_boundary() -> str:
    """A boundary that no content holds but by a chance of 2⁻¹²⁸."""
    return f"asyncsdk-{secrets.token_hex(16)}"


def content_type(boundary: str) -> str:
    """The request's Content-Type."""
    return f"multipart/form-data; boundary={boundary}"


def file_head(boundary: str, name: str, *, filename: str, mime_type: str) -> bytes:
    """What stands before a file's bytes. Raises ConfigurationError for a MIME type that can't stand in a header."""
    if not _MIME_TYPE.fullmatch(mime_type):
        raise ConfigurationError(f"{mime_type!r} is no MIME type, such as image/png. Nothing was sent.")
    return (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{_escaped(name)}"; filename="{_escaped(filename)}"\r\n'
        f"Content-Type: {mime_type}\r\n\r\n"
    ).encode(errors="replace")  # a file's name on disk may be no Unicode


def closing(boundary: str) -> bytes:
    """What stands behind the last field."""
    return f"\r\n--{boundary}--\r\n".encode()


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
