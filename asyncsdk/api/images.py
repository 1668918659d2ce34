"""The endpoint of image edits, with images in a form or by reference (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

from attrs import field, frozen

from asyncsdk.api.request import FormFile, Request, fields_set
from asyncsdk.errors import ConfigurationError
from asyncsdk.models import ImagesResponse

Quality = Literal["low", "medium", "high", "xhigh", "max", "auto"] | str  # noqa: PYI051 - for editors
"""How carefully an image is made; a higher one takes longer and more tokens."""
Background = Literal["transparent", "opaque", "auto"] | str  # noqa: PYI051 - as above
"""What is behind the subject of an image."""
OutputFormat = Literal["png", "jpeg", "webp", "gif", "svg"] | str  # noqa: PYI051 - as above
"""The form of an image's file."""
InputFidelity = Literal["high", "low"] | str  # noqa: PYI051 - as above
"""How closely an edit keeps to its input."""
Complexity = Literal["low", "medium", "high"] | str  # noqa: PYI051 - as above
"""How much an edit may be thought about."""
Moderation = Literal["auto", "low"] | str  # noqa: PYI051 - as above
"""How strictly the safety system filters."""
ResponseFormat = Literal["url", "b64_json"] | str  # noqa: PYI051 - as above
"""How older models return an image."""

EDIT_SECONDS = 600.0
"""How many seconds an edit may take: high quality takes minutes."""


@frozen(kw_only=True)
class ImageFile:
    """An image that is sent as a file of a form.

    Args:
        content: Its bytes.
        filename: Its name.
        mime_type: The type of its content, such as "image/png".
    """

    content: bytes = field(repr=False)
    filename: str
    mime_type: str


@frozen(kw_only=True)
class ImageRef:
    """An image that the server has, or can fetch: exactly one of the two.

    Args:
        file_id: The id of an uploaded file.
        image_url: An https URL or a data URL.

    Raises:
        ConfigurationError: Both are given, or neither.
    """

    file_id: str | None = None
    image_url: str | None = field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        if (self.file_id is None) == (self.image_url is None):
            raise ConfigurationError("an ImageRef has a file_id or an image_url, exactly one. Nothing was sent.")


class EditParams(TypedDict, total=False):
    """The fields of POST /images/edits except prompt and images; what is None or left out is not sent.

    `n` 1..10; `size` "auto" or "1024x1024"; `output_compression` 0..100 (webp, jpeg); `partial_images` 0..3 with
    `stream`; `frame_count` and `frame_duration_ms` for gif; `svg` is `{"model": …, "reasoning": {"effort": …}}`.
    """

    model: str | None
    n: int | None
    size: str | None
    quality: Quality | None
    background: Background | None
    output_format: OutputFormat | None
    output_compression: int | None
    input_fidelity: InputFidelity | None
    complexity: Complexity | None
    moderation: Moderation | None
    response_format: ResponseFormat | None
    user: str | None
    safety_identifier: str | None
    stream: bool | None
    partial_images: int | None
    frame_count: int | None
    frame_duration_ms: int | None
    svg: Mapping[str, Any] | None


def edit_image(
    *,
    image: ImageFile | Sequence[ImageFile],
    prompt: str,
    mask: ImageFile | None = None,
    markup: ImageFile | None = None,
    extra: Mapping[str, Any] | None = None,
    **options: Unpack[EditParams],
) -> Request[ImagesResponse]:
    """POST /images/edits with the images in a form.

    The API has no way to tell whether an edit whose response was lost was done: a retry after that may pay it twice,
    and `max_retries=0` prevents that. `ImageEditor.edit` sends again only where surely nothing was paid.

    Args:
        image: One image, sent as `image`, or several, sent as `image[]`.
        prompt: What to do.
        mask: A PNG of the first image's size; where it is transparent the image is edited.
        markup: An overlay of the first image's size; not together with `mask`.
        extra: More fields of the form.
        **options: The fields of `EditParams`. With `stream=True` the request is for `Client.stream`.

    Returns:
        A request for an ImagesResponse.

    Raises:
        ConfigurationError: There is no image.
    """
    images = [image] if isinstance(image, ImageFile) else list(image)
    if not images:
        raise ConfigurationError("an edit needs at least one picture. Nothing was sent.")
    name = "image" if len(images) == 1 else "image[]"
    files = [(name, picture) for picture in images]
    files += [(name, file) for name, file in (("mask", mask), ("markup", markup)) if file is not None]
    return _edit(
        fields_set({"prompt": prompt, **options}, extra),
        files=[
            FormFile(name=name, content=file.content, filename=file.filename, mime_type=file.mime_type)
            for name, file in files
        ],
    )


def edit_image_by_reference(
    *,
    images: Sequence[ImageRef],
    prompt: str,
    mask: ImageRef | None = None,
    extra: Mapping[str, Any] | None = None,
    **options: Unpack[EditParams],
) -> Request[ImagesResponse]:
    """POST /images/edits as JSON, with images that the server has or can fetch.

    Args:
        images: The images.
        prompt: What to do.
        mask: As for `edit_image`.
        extra: More fields of the body.
        **options: The fields of `EditParams`, as for `edit_image`.
    """
    references = [_reference(image) for image in images]
    fields = {"images": references, "mask": None if mask is None else _reference(mask), "prompt": prompt, **options}
    return _edit(fields_set(fields, extra))


def _edit(fields: dict[str, Any], *, files: Sequence[FormFile] = ()) -> Request[ImagesResponse]:
    return Request(
        method="POST",
        route="/images/edits",
        response_model=ImagesResponse,
        json=None if files else fields,
        fields=fields if files else {},
        files=files,
        deployment=fields.get("model"),
        accept="text/event-stream" if fields.get("stream") else "application/json",
        response_timeout=EDIT_SECONDS,
    )


def _reference(image: ImageRef) -> dict[str, str]:
    return {"file_id": image.file_id} if image.file_id is not None else {"image_url": image.image_url or ""}
