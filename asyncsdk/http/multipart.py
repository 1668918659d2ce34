"""Encodes forms as multipart: boundaries, and fields by RFC 7578 with raw UTF-8 names as browsers write them (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from asyncsdk.api.request import FormFrame
from asyncsdk.errors import ConfigurationError
from asyncsdk.unique import token

NEXT = b"\r\n"  # after one field, before the next one's boundary

_MIME_TYPE = re.compile(r"[!-~][ -~]*")
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


def new_boundary() -> str:
    """A boundary that content contains with a probability of 2⁻¹²⁸."""
    return f"asyncsdk-{token()}"


def content_type(boundary: str) -> str:
    """The request's Content-Type."""
    return f"multipart/form-data; boundary={boundary}"


def file_head(boundary: str, name: str, *, filename: str, mime_type: str) -> bytes:
    """The lines before a file's bytes. Raises ConfigurationError for a MIME type that can't be in a header."""
    if not _MIME_TYPE.fullmatch(mime_type):
        raise ConfigurationError(f"{mime_type!r} is not a MIME type, such as image/png. Nothing was sent.")
    return (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{_escaped(name)}"; filename="{_escaped(filename)}"\r\n'
        f"Content-Type: {mime_type}\r\n\r\n"
    ).encode(errors="replace")  # a file's name on disk may not be Unicode


def text_part(boundary: str, name: str, value: str) -> bytes:
    """A whole field of text, with the line end after it."""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_escaped(name)}"\r\n\r\n'
    return (head + value).encode(errors="replace") + NEXT


def text_parts(boundary: str, fields: Mapping[str, Any]) -> bytes:
    """All fields of text, each with the line end after it."""
    return b"".join(text_part(boundary, name, value) for name, value in flattened(fields))


def frame(fields: Mapping[str, Any], name: str, *, filename: str, mime_type: str) -> FormFrame:
    """A form with its `fields` of text before its one file. Raises ConfigurationError for a wrong MIME type."""
    boundary = new_boundary()
    head = file_head(boundary, name, filename=filename, mime_type=mime_type)
    return FormFrame(text_parts(boundary, fields) + head, closing(boundary), content_type(boundary))


def flattened(fields: Mapping[str, Any], inside: str = "") -> list[tuple[str, str]]:
    """Fields as a form has them: text, without those that are None; names as `svg[reasoning][effort]`, `names[]`."""
    named = ((f"{inside}[{name}]" if inside else name, value) for name, value in fields.items())
    return [pair for name, value in named for pair in _field(name, value)]


def _field(name: str, value: Any) -> list[tuple[str, str]]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return flattened(value, name)
    if isinstance(value, list | tuple):
        return [pair for item in value for pair in _field(f"{name}[]", item)]
    return [(name, str(value).lower() if isinstance(value, bool) else str(value))]


def closing(boundary: str) -> bytes:
    """The lines after the last field."""
    return f"\r\n--{boundary}--\r\n".encode()


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
