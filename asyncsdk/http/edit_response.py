"""Reads the response to an edit, whatever its format (`frames`, `base64_json`), into images and errors (pure).

Each complete image is kept, whatever is wrong around it: odd fields are left out, a response that breaks off gives what
came before, and what can't be read is kept as it came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

from attrs import define, evolve, field, frozen

from asyncsdk.errors import APIError, APIResponseValidationError, APIStatusError, NotTheAPIError
from asyncsdk.http.base64_json import Pictures, TooLarge, is_data_url, picture_of
from asyncsdk.http.decode import error_in_success, not_readable
from asyncsdk.http.frames import Events, Frame, FrameReader, format_of, is_format_known
from asyncsdk.models import EditedImage, ImagesResponse, UnreadableImage, Usage, add, from_odd_json
from asyncsdk.redaction import NO_SECRETS, Redactor
from asyncsdk.safe_json import cut_json, json_values

Image = EditedImage | UnreadableImage
Standing = Literal["final", "partial", "other"]

LARGEST_RESPONSE = 1 << 30  # bytes; ten pictures of the largest size are less than half of it
_MOST_FRAMES = 10_000  # a response takes ten minutes at most, and few servers send keep-alives each 0.1 s
_MANY_LINES, _FEW = 500, 8 << 10  # bytes; of the shortest events they take 10 ms
_WEB = re.compile(r"\s*https?://.", re.IGNORECASE)
_OF_IMAGES = frozenset({"data", "b64_json", "url", "content", "unreadable", "request_id"})
_NO_SETTINGS = _OF_IMAGES | {"type", "created_at", "partial_image_index"}
_BARE_BASE64 = re.compile(r"(?:(?:data:)?image/[^,\s]{0,100},)?([A-Za-z0-9+/_-][A-Za-z0-9+/_\s-]{999,}+={0,2}+)\s*+")


@frozen
class Message:
    """Images of a response, with the settings that they were made with: final, partial, or neither.

    `index` counts partial images from 0.
    """

    response: ImagesResponse
    standing: Standing = "final"
    index: int = 0


@frozen
class _Value:
    """A JSON value of a response, as an object; where it is broken, its complete members, and its text."""

    body: Mapping[str, Any]
    broken: str = ""


@define(eq=False, kw_only=True)
class Messages:
    """Fed with a response, gives its messages. `wanted` is how many images it should have, 0 if unknown.

    `failure` is an error in the response, or that it can't be read. What came before it stays. `has_begun` once any
    image came. `redactor` removes the request's secrets from the result.
    """

    request: str
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    redactor: Redactor = field(default=NO_SECRETS, repr=False)
    wanted: int = 0
    failure: APIError | None = field(default=None, init=False)
    has_begun: bool = field(default=False, init=False)
    _beginning: bytes = field(default=b"", init=False, repr=False)
    _form: FrameReader | None = field(default=None, init=False)
    _size: int = field(default=0, init=False)
    _is_done: bool = field(default=False, init=False)
    _frames_read: int = field(default=0, init=False)
    _came: int = field(default=0, init=False)
    _last_text: str = field(default="", init=False, repr=False)
    _may_hold_secrets: bool = field(default=False, init=False)  # the last text
    _finals: list[ImagesResponse] = field(factory=list, init=False)
    _others: list[UnreadableImage] = field(factory=list, init=False)

    @property
    def is_over(self) -> bool:
        """Whether everything has come: what a server sends after it, or whether it hangs up at all, does not matter."""
        if self._is_done or self.failure is not None:
            return True
        # evaluated at each chunk, most of which end nothing
        return bool(self._finals) and 0 < self.wanted <= self._came

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """`chunk` in pieces, between which other tasks may run: many short events take time."""
        start = 0
        if (
            self._form is None
        ):  # a small piece is enough: counting the lines of what has none costs more than reading it
            yield chunk[:_FEW]
            start = _FEW
        is_lines = self._form is None or isinstance(self._form, Events)
        is_slow = is_lines and chunk.count(b"\n") + chunk.count(b"\r") > _MANY_LINES
        step = _FEW if is_slow else max(1, len(chunk))
        for at in range(start, len(chunk), step):
            yield chunk[at : at + step]

    @property
    def shown(self) -> Callable[[str], str]:
        """Redacts a text of the server."""
        return self.redactor.clean

    @property
    def response(self) -> ImagesResponse:
        """All that came, as one response."""
        if len(self._finals) == 1 and not self.strange:
            return self._finals[0]
        finals = self._finals or [ImagesResponse(data=(), request_id=self._request_id)]
        return evolve(
            finals[-1],
            data=tuple(image for part in finals for image in part.data),
            unreadable=(*(image for part in finals for image in part.unreadable), *self.strange),
            usage=finals[0].usage if len(finals) == 1 else _sum(part.usage for part in finals),
        )

    @property
    def strange(self) -> tuple[UnreadableImage, ...]:
        """What came besides the requested images, where fewer of these came than were requested."""
        return () if 0 < self.wanted <= self._came else tuple(self._others)

    @property
    def last_text(self) -> bytes:
        """What the server sent last, without its images, where it contains neither an image nor an error."""
        is_error = isinstance(self.failure, APIStatusError)
        return b"" if is_error else self.shown(self._last_text).encode("utf-8", "replace")

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that `chunk` completes."""
        return [] if self.is_over else self._read(partial(self._frames, chunk))

    def close(self, lost: APIError | None = None) -> list[Message]:
        """The messages that are not ended, once nothing more comes: because of `lost`, or regularly."""
        messages = [] if self.is_over else self._read(self._last_frames)
        if self.failure is None and (lost is not None or not self._finals):
            nothing = self._without_images()
            self.failure = nothing if lost is None or isinstance(nothing, NotTheAPIError) else lost
        self._form = None  # which has what was not read: an error's traceback may keep this for long
        return messages

    @property
    def _request_id(self) -> str | None:
        return self.headers.get("x-request-id")

    def _frames(self, chunk: bytes) -> Iterable[Frame]:
        self._size += len(chunk)
        if self._size > LARGEST_RESPONSE:
            raise TooLarge(f"it is larger than {LARGEST_RESPONSE} bytes")
        if self._form is not None:
            return self._form.feed(chunk)
        self._beginning += chunk
        return self._begin() if is_format_known(self._beginning) else ()

    def _last_frames(self) -> Iterator[Frame]:
        if self._form is None:
            yield from self._begin()
        if self._form is not None:
            yield from self._form.close()

    def _begin(self) -> Iterator[Frame]:
        chunk, self._beginning = self._beginning, b""
        self._form = format_of(chunk, self.headers.get("content-type", ""))
        return self._form.feed(chunk)

    def _read(self, frames: Callable[[], Iterable[Frame]]) -> list[Message]:
        messages: list[Message] = []
        try:
            for frame in frames():
                for message in self._messages(frame):
                    self._keep(message)
                    messages.append(message)
                if self.is_over:
                    break
        except TooLarge as error:
            text = f"{self.request}: the response is not read any further: {error}"
            self.failure = APIResponseValidationError(
                text, request=self.request, status_code=self.status, request_id=self._request_id
            )
        return messages

    def _keep(self, message: Message) -> None:
        self.has_begun = self.has_begun or bool(message.response.data)
        if message.standing == "final":
            self._finals.append(message.response)
            self._came += len(message.response.data) + len(message.response.unreadable)
        elif message.standing == "other":
            strange = [_not_asked_for(image) for image in message.response.data if image.content is not None]
            self._others += [*strange, *message.response.unreadable]

    def _messages(self, frame: Frame) -> list[Message]:
        if frame.text == "[DONE]":
            self._is_done = True
        if self._is_done or not frame.text:
            return []
        self._frames_read += 1
        if self._frames_read > _MOST_FRAMES:
            raise TooLarge(f"it has more than {_MOST_FRAMES} events")
        self._last_text = frame.text
        self._may_hold_secrets = self.redactor.may_be_in(frame.text)
        *values, last = _values(frame.text)
        return [*(self._message(value, frame) for value in values), self._message(last, frame, is_last=True)]

    def _message(self, value: _Value, frame: Frame, *, is_last: bool = False) -> Message:
        """The message of one JSON value of a frame; an error in it is the `failure`."""
        body, kind = value.body, str(value.body.get("type") or frame.name)
        images = [self._image(item, frame.pictures) for item in _items(body, kind)]
        if is_last:  # those in places where no image should be
            images += [self._image(mark, frame.pictures) for mark in list(frame.pictures)]
        if (body.get("error") or kind == "error") and not _are_there(images):
            self.failure = self.failure or self._error(body)
            return Message(ImagesResponse(data=()), "other")
        if value.broken and not (body and images):
            raw = self.shown(value.broken).encode("utf-8", "replace")
            images.append(UnreadableImage(raw=raw, reason="it is cut off or not JSON"))
        settings = {name: part for name, part in body.items() if name not in _NO_SETTINGS}
        settings["created"] = body.get("created", body.get("created_at"))
        settings = self._cleaned(settings)
        response = from_odd_json(ImagesResponse, {**settings, "data": [], "request_id": self._request_id})
        is_unsure = value.broken and isinstance(self._form, Events) and not kind  # the cut may be in its type
        standing = "other" if is_unsure else self._standing(body, kind, images)
        index = body.get("partial_image_index")
        return Message(_with(response, images), standing, index if isinstance(index, int) else 0)

    def _standing(self, body: Mapping[str, Any], kind: str, images: Iterable[Image]) -> Standing:
        if kind.endswith("partial_image"):
            return "partial"
        is_nameless = kind in {"", "message"}
        is_response = is_nameless or "data" in body or not isinstance(self._form, Events)
        is_empty = is_nameless and isinstance(body.get("data"), list)
        return "final" if kind.endswith("completed") or is_empty or (is_response and _are_there(images)) else "other"

    def _image(self, item: Any, pictures: Pictures) -> Image:
        """One item of a response: an image, or its URL, or what can't be used."""
        if isinstance(item, str):
            item = {"url" if _WEB.match(item) or is_data_url(item) else "b64_json": item}
        members = item if isinstance(item, dict) else {}
        texts = {name: text for name in ("b64_json", "url") if isinstance(text := members.get(name), str)}
        decoded = [
            picture_of(text, pictures) for name, text in texts.items() if name == "b64_json" or is_data_url(text)
        ]
        content = next((content for content in decoded if isinstance(content, bytes) and content), None)
        broken = [content for content in decoded if isinstance(content, UnreadableImage)]
        addresses = [*texts.values(), *(one.raw.decode("utf-8", "replace") for one in broken)]
        url = next((text for text in addresses if _WEB.match(text)), None)
        if content is not None or url is not None:
            others = self._cleaned({name: part for name, part in members.items() if name not in _OF_IMAGES})
            image = from_odd_json(EditedImage, others) if others else EditedImage()
            return evolve(image, content=content, url=url and self.redactor.clean_url(url))
        if decoded:
            empty = UnreadableImage(raw=json.dumps(item).encode(), reason="it is empty")
            first = broken[0] if broken else empty
            return self._unreadable(first.raw, first.reason)
        return self._unreadable(json.dumps(item).encode(), "there is no picture in it")

    def _cleaned(self, members: dict[str, Any]) -> dict[str, Any]:
        """`members` of the last text without credentials; images are not among them."""
        cleaned: dict[str, Any] = self.redactor.clean_answer(members) if self._may_hold_secrets else members
        return cleaned

    def _unreadable(self, raw: bytes, reason: str) -> UnreadableImage:
        return UnreadableImage(raw=shown_bytes(self.shown, raw), reason=reason)

    def _error(self, body: Mapping[str, Any]) -> APIError:
        text = self.shown(json.dumps(body))
        return error_in_success(body, self.status, self.headers, text.encode(), request=self.request)

    def _without_images(self) -> APIResponseValidationError:
        if isinstance(self._form, Events):
            text = f"{self.request}: the stream ended without the completed picture"
            return APIResponseValidationError(
                text, request=self.request, status_code=self.status, request_id=self._request_id
            )
        body = self.shown(self._last_text).encode("utf-8", "replace")
        why = "has no image in it" if body else "is empty"
        return not_readable(self.status, self.headers, body, why, request=self.request)


def shown_bytes(shown: Callable[[str], str], raw: bytes) -> bytes:
    """`raw` without secrets, as an error may contain it."""
    text = raw.decode("latin-1")
    redacted = shown(text)
    return raw if redacted == text else redacted.encode("latin-1", "replace")


def _values(text: str) -> list[_Value]:
    bare = _BARE_BASE64.fullmatch(text)
    if bare:
        return [_Value({"data": bare[1]})]
    values, rest = json_values(text)
    complete = [_Value(_object(value)) for value in values]
    return [*complete, _Value(_object(cut_json(rest)), rest)] if rest else complete


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    return {"data": value} if value else {}


def _items(body: Mapping[str, Any], kind: str) -> list[Any]:
    """The items of a JSON object that should be images."""
    data = body.get("data")
    if isinstance(data, list):
        return data
    if isinstance(data, dict | str):
        return [data]
    is_image = kind.endswith("completed") or any(isinstance(body.get(name), str) for name in ("b64_json", "url"))
    return [{name: body[name] for name in body if name in {"b64_json", "url", "revised_prompt"}}] if is_image else []


def _with(response: ImagesResponse, images: Iterable[Image]) -> ImagesResponse:
    there = [image for image in images if isinstance(image, EditedImage)]
    broken = [image for image in images if isinstance(image, UnreadableImage)]
    return evolve(response, data=(*response.data, *there), unreadable=(*response.unreadable, *broken))


def _are_there(images: Iterable[Image]) -> bool:
    return any(isinstance(image, EditedImage) for image in images)


def _not_asked_for(image: EditedImage) -> UnreadableImage:
    return UnreadableImage(raw=image.content or b"", reason="it is of a kind that is not known")


def _sum(usages: Iterable[Usage | None]) -> Usage | None:
    counts = [usage for usage in usages if usage is not None]
    return add(counts) if counts else None
