"""The events of a streamed edit (pure): `PartialImage` and `CompletedImage`."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from asyncsdk.http.edit_response import Message
from asyncsdk.models import EditedImage, ImagesResponse, Usage


@frozen(kw_only=True)
class StreamedImage:
    """A picture of a stream with the settings that it was made with; all but its bytes may be missing.

    Attributes:
        content: The bytes of the image.
        created_at: When it was made, in unix seconds.
        size: Width and height in pixels, such as `1024x1024`.
        quality: The quality that was used.
        background: The background that was used.
        output_format: The format that was used: png, jpeg, webp, gif or svg.
        request_id: The server's id of the request, for its support.
    """

    content: bytes = field(repr=False)
    created_at: int | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    request_id: str | None = None


@frozen(kw_only=True)
class PartialImage(StreamedImage):
    """An intermediate state of a picture.

    Attributes:
        index: Which one it is, from 0.
    """

    index: int = 0


@frozen(kw_only=True)
class CompletedImage(StreamedImage):
    """A finished picture.

    Attributes:
        usage: What it cost in tokens; the last picture of a message has the cost of all of them.
    """

    usage: Usage | None = None


def partial_image(message: Message, content: bytes) -> PartialImage:
    """The intermediate picture of a message."""
    return PartialImage(content=content, index=message.index, **_settings(message.response))


def completed_image(response: ImagesResponse, image: EditedImage, content: bytes) -> CompletedImage:
    """One of the finished pictures; `content` is its own, or what came from its URL."""
    usage = response.usage if image is response.data[-1] else None
    return CompletedImage(content=content, usage=usage, **_settings(response))


def _settings(response: ImagesResponse) -> dict[str, Any]:
    names = ("size", "quality", "background", "output_format", "request_id")
    return {"created_at": response.created} | {name: getattr(response, name) for name in names}
