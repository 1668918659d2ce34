"""What a streamed edit gives as it comes (pure): pictures on the way, then those that were asked for."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from asyncsdk.http.edit_response import Message
from asyncsdk.models import EditedImage, ImagesResponse, Usage


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
    """The picture that was asked for, and what it cost: the last one of a message has the cost of all of them."""

    usage: Usage | None = None


def partial_image(message: Message, content: bytes) -> PartialImage:
    """The picture of a message that is on the way to what was asked for."""
    return PartialImage(content=content, index=message.index, **_settings(message.response))


def completed_image(response: ImagesResponse, image: EditedImage, content: bytes) -> CompletedImage:
    """One of the pictures that were asked for; `content` is what it has, or what its URL gives."""
    usage = response.usage if image is response.data[-1] else None
    return CompletedImage(content=content, usage=usage, **_settings(response))


def _settings(response: ImagesResponse) -> dict[str, Any]:
    names = ("size", "quality", "background", "output_format", "request_id")
    return {"created_at": response.created} | {name: getattr(response, name) for name in names}
