"""Server-sent events of a streamed edit (pure): chunks in, pictures out; a line may hold many MB.

The frames are those of WHATWG's HTML, 9.2; what an event is stands in its JSON, for some gateways send no
`event:` line. `[DONE]` may close a stream or be missing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from attrs import define, field, frozen

from asyncsdk.decoding import PictureCutter, Pictures, with_pictures
from asyncsdk.errors import APIError, APIResponseValidationError
from asyncsdk.http.answers import error_in_success
from asyncsdk.models import Usage, from_json

REQUEST = "POST /images/edits"
_DATA = b"data:"
_SETTINGS = ("created_at", "size", "quality", "background", "output_format")


@frozen(kw_only=True)
class Picture:
    """A picture and the settings it was made with; all but its bytes may be missing."""

    content: bytes = field(repr=False)
    created_at: int | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    request_id: str | None = None


@frozen(kw_only=True)
class PartialImage(Picture):
    """How far the picture is; `index` counts from 0."""

    index: int = 0


@frozen(kw_only=True)
class CompletedImage(Picture):
    """The picture that was asked for, and what it cost."""

    usage: Usage | None = None


@define(eq=False)
class Events:
    """Fed with a stream, gives its pictures. `completed` counts the whole ones: an end without one is a failure.

    `ended` once `[DONE]` came: what a server sends behind it, or whether it hangs up at all, does not matter.
    `request_id` goes along with each picture and error; `shown` makes a text of the server fit to be shown.
    """

    request_id: str | None = None
    shown: Callable[[str], str] = str
    completed: int = field(default=0, init=False)
    ended: bool = field(default=False, init=False)
    _line: bytes = field(default=b"", init=False)
    _is_data: bool | None = field(default=None, init=False)
    _data: PictureCutter = field(factory=PictureCutter, init=False)

    def feed(self, chunk: bytes) -> Iterator[PartialImage | CompletedImage]:
        """Yield what `chunk` completes. Raises APIError for an error in the stream, or one that can't be read."""
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._go_on(piece)
            if self._end_line():
                yield from self._end_event()
        self._go_on(rest)

    def _go_on(self, piece: bytes) -> None:
        if self._is_data:
            self._data.feed(piece)
        elif self._is_data is None:
            self._line += piece
            if len(self._line) > len(_DATA):
                self._begin()

    def _begin(self) -> None:
        self._is_data = self._line.startswith(_DATA)
        if self._is_data:
            self._data.feed(b"\n" + self._line.removeprefix(_DATA))  # blanks, which JSON does not mind

    def _end_line(self) -> bool:
        """Whether it was an empty one, which ends an event."""
        empty = self._is_data is None and self._line in {b"", b"\r"}
        self._line, self._is_data = b"", None
        return empty

    def _end_event(self) -> Iterator[PartialImage | CompletedImage]:
        data, self._data = self._data, PictureCutter()
        text = self.shown(data.rest.decode("utf-8", "replace")).strip()
        self.ended = self.ended or text == "[DONE]"
        event = self._event(text, data.pictures) if text and not self.ended else None
        if event is not None:
            self.completed += isinstance(event, CompletedImage)
            yield event

    def _event(self, text: str, pictures: Pictures) -> PartialImage | CompletedImage | None:
        """What a frame's JSON is; None for kinds that this version does not know."""
        try:
            told = with_pictures(json.loads(text), pictures)
            if not _is_error(told):
                return _picture(told, self.request_id)
        except (ValueError, RecursionError) as error:
            raise self._unreadable(text, error) from error
        raise self._error(told, text)

    def _unreadable(self, text: str, error: Exception) -> APIError:
        begins = text[:200]
        return APIResponseValidationError(
            f"{REQUEST}: the stream holds what can't be read: {error}. It begins: {begins!r}",
            request=REQUEST,
            body=begins,
            request_id=self.request_id,
        )

    def _error(self, told: dict[str, Any], text: str) -> APIError:
        headers = {} if self.request_id is None else {"x-request-id": self.request_id}
        return error_in_success(told, 200, headers, text.encode(), request=REQUEST)


def _is_error(told: Any) -> bool:
    if not isinstance(told, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - as what is no JSON at all
    return bool(told.get("error")) or told.get("type") == "error"


def _picture(told: dict[str, Any], request_id: str | None) -> PartialImage | CompletedImage | None:
    content, kind = told.get("content"), str(told.get("type"))
    if not isinstance(content, bytes):
        return None
    known = {name: told.get(name) for name in _SETTINGS}
    if kind.endswith(".partial_image"):
        index = told.get("partial_image_index") or 0
        return PartialImage(content=content, request_id=request_id, index=index, **known)
    if kind.endswith(".completed"):
        usage = None if told.get("usage") is None else from_json(Usage, told["usage"])
        return CompletedImage(content=content, request_id=request_id, usage=usage, **known)
    return None
