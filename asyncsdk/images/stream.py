"""Server-sent events of a streamed edit (pure): chunks in, pictures out; a line may hold many MB.

The frames are those of WHATWG's HTML, 9.2; what an event is stands in its JSON, for some gateways send no
`event:` line. `[DONE]` may close a stream or be missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import define, field, frozen

from asyncsdk.decoding import images_json
from asyncsdk.errors import APIError, APIResponseValidationError
from asyncsdk.http.answers import status_error
from asyncsdk.models import Usage, from_json

REQUEST = "POST /images/edits"
# A stream has the status of its beginning, 200 whatever comes: these are what its errors would have had.
_REFUSED, _FAILED = 400, 500
_REFUSALS = frozenset({"image_generation_user_error", "invalid_request_error"})


@frozen(kw_only=True)
class Picture:
    """A picture and the settings it was made with; all but its bytes may be missing."""

    content: bytes = field(repr=False)
    created_at: int | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None


@frozen(kw_only=True)
class PartialImage(Picture):
    """How far the picture is; `index` counts from 0."""

    index: int = 0


@frozen(kw_only=True)
class CompletedImage(Picture):
    """The picture that was asked for, and what it cost."""

    usage: Usage | None = None


@define
class Events:
    """`completed` counts the pictures that came whole: a stream that ends without one has failed."""

    completed: int = field(default=0, init=False)
    _line: list[bytes] = field(factory=list, init=False)
    _data: list[bytes] = field(factory=list, init=False)

    def feed(self, chunk: bytes) -> Iterator[PartialImage | CompletedImage]:
        """Yield what `chunk` completes. Raises APIError for an error in the stream, or one that can't be read."""
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            line = b"".join([*self._line, piece]).removesuffix(b"\r")
            self._line.clear()
            yield from self._take(line)
        if rest:
            self._line.append(rest)

    def _take(self, line: bytes) -> Iterator[PartialImage | CompletedImage]:
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
            return
        data, self._data = b"\n".join(self._data), []
        if data and data != b"[DONE]":
            event = read_event(data)
            if event is not None:
                self.completed += isinstance(event, CompletedImage)
                yield event


def read_event(data: bytes) -> PartialImage | CompletedImage | None:
    """The event that a frame's JSON is; None for kinds that this version does not know. Raises APIError."""
    try:
        told = images_json(data)
    except (ValueError, RecursionError) as error:
        raise _unreadable(data) from error
    if not isinstance(told, dict):
        raise _unreadable(data)
    kind = str(told.get("type"))
    if told.get("error") or kind == "error":
        raise _error(told, data)
    known = {name: told.get(name) for name in ("created_at", "size", "quality", "background", "output_format")}
    if not isinstance(told.get("content"), bytes):
        return None
    if kind.endswith(".partial_image"):
        return PartialImage(content=told["content"], index=told.get("partial_image_index") or 0, **known)
    if kind.endswith(".completed"):
        return CompletedImage(content=told["content"], usage=_usage(told.get("usage")), **known)
    return None


def _usage(told: Any) -> Usage | None:
    return from_json(Usage, told) if isinstance(told, dict) else None


def _error(told: dict[str, Any], data: bytes) -> APIError:
    error = told.get("error")
    inner = error if isinstance(error, dict) else told
    refused = inner.get("type") in _REFUSALS or inner.get("code") == "moderation_blocked"
    return status_error(_REFUSED if refused else _FAILED, {}, data, request=REQUEST)


def _unreadable(data: bytes) -> APIError:
    begins = data[:200].decode("utf-8", "replace")
    return APIResponseValidationError(
        f"{REQUEST}: the stream holds what can't be read. It begins: {begins!r}", request=REQUEST, body=begins
    )
