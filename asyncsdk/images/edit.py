"""`ImageEdit`: one call of POST /images/edits as a value, and what each of its fields is (pure).

A new field of the API is one attribute of `ImageEdit` and one parameter in `api.EditParams`: the checks, job files and
command line options read `EDIT_FIELDS`.
"""

# ruff: noqa: RUF009 - `_optional` is attrs' `field`

from __future__ import annotations

import os
from collections.abc import Mapping
from operator import attrgetter
from pathlib import PurePath
from typing import Any, Literal, get_args

from attrs import field, fields, frozen

from asyncsdk.api import (
    Background,
    Complexity,
    EditParams,
    ImageFile,
    ImageRef,
    InputFidelity,
    Moderation,
    OutputFormat,
    Quality,
    ResponseFormat,
)
from asyncsdk.errors import ConfigurationError, InvalidEditError
from asyncsdk.given import PictureGiven, is_named_picture, is_pillow_image, shown_as_url, unpacked
from asyncsdk.images.header import Header
from asyncsdk.remote.address import RemoteAddress, remote_address

Picture = PictureGiven | ImageRef
Loaded = ImageFile | ImageRef


class EditFields(EditParams, total=False):
    """The keyword arguments of an edit, without its pictures and its prompt; see `ImageEdit`."""

    mask: Picture | None
    markup: Picture | None
    extra: Mapping[str, Any] | None
    id: str | None


@frozen
class EditField:
    """What a field of `ImageEdit` is, for all that lists the fields: checks, the digest, job files and options.

    Attributes:
        kind: The type of its values: `str`, `int`, `bool`, `Mapping` (a JSON object) or `ImageFile` (a picture).
        help: The help text of its command line option. None: it has no option of its own.
        metavar: The placeholder of the option's value in the help text, None for the command's own choice.
        allowed: The lowest and the highest integer that is allowed, None for any.
        refused_by: The models whose requests may not have it; see `check.Family`.
        sent: Whether `ImageEdit.options` contains it, to be sent under its own name and as it is.
        in_job_file: Whether it may be a column of a CSV file, or a key of a JSON line.
        changes_result: Whether an edit that differs in it alone is another edit. False for how the response travels.
    """

    kind: type
    help: str | None = None
    metavar: str | None = None
    allowed: tuple[int, int] | None = None
    refused_by: Literal["dall-e-2", "gpt-image"] | None = None
    sent: bool = True
    in_job_file: bool = True
    changes_result: bool = True


def _optional(kind: type, help: str | None = None, *, repr: Any = True, **about: Any) -> Any:  # noqa: A002 - as attrs'
    return field(default=None, repr=repr, metadata={"edit_field": EditField(kind, help, **about)})


def _known(values: Any) -> str:
    """The known values of an open `Literal | str`, as a help text."""
    return f"{', '.join(get_args(get_args(values)[0]))}."


class Pictures(tuple[Picture, ...]):
    """The pictures of an edit: of a path and bytes, too, these are two, where a tuple of a caller's would be one."""

    __slots__ = ()


def _several(image: Any) -> Pictures:
    if isinstance(image, Pictures):
        return image
    if isinstance(image, str | os.PathLike | bytes | bytearray | memoryview | ImageRef) or hasattr(image, "read"):
        return Pictures((image,))
    if is_named_picture(image) or is_pillow_image(image) or not hasattr(image, "__iter__"):
        return Pictures((image,))  # non-pictures are reported with the edit
    return Pictures(image)


def _shown(pictures: tuple[Picture, ...]) -> str:
    return ", ".join(described(picture) for picture in pictures)


def _shown_one(picture: Picture | None) -> str:
    return "None" if picture is None else described(picture)


@frozen(kw_only=True)
class ImageEdit:
    """One edit: what `ImageEditor.edit` takes as arguments, and `edit_many` takes by the thousand.

    A picture is a path, a URL (`s3://`, `gs://`, `az://`, `https://`, which need the extra `remote`), bytes, an open
    binary file, the `UploadFile` of FastAPI, a Pillow image (sent as PNG, its pixels as they are), or an `ImageRef` to
    a file that the server has (`file_id`) or can fetch (`image_url`). With a name of its own it is a tuple
    `(name, content)` or `(name, content, MIME type)`. A field that is None is not sent.

    Args:
        image: The picture to edit, or a list of several to combine: PNG, JPEG or WebP, up to 16 of less than 50 MB
            each; or HEIC, which Pillow-heif (the extra `heic`) converts. Becomes a tuple.
        prompt: What to change, at most 32,000 characters.
        mask: A PNG of the first picture's size, less than 4 MB: where it is transparent the picture is edited.
        markup: A PNG of the first picture's size, less than 4 MB, with marks on a transparent ground.
        model: The name of the model, such as `gpt-image-2`; the server's own choice without one.
        n: How many pictures to make, 1 to 10; the server makes 1 without it.
        size: `auto`, or width and height in pixels, such as `1024x1536`.
        quality: `low`, `medium`, `high`, `xhigh`, `max` or `auto`.
        background: `transparent` (png and webp only), `opaque` or `auto`.
        output_format: `png`, `jpeg`, `webp`, `gif` or `svg`.
        output_compression: Percent, 0 to 100, for webp and jpeg.
        input_fidelity: How closely to keep to the input: `high` or `low`.
        complexity: `low`, `medium` or `high`.
        moderation: How strictly to filter: `auto` or `low`.
        response_format: `url` or `b64_json`, for older models.
        user: The end user that the edit is for.
        safety_identifier: A hash that identifies the end user.
        stream: Whether the response comes in pieces, which keeps a proxy from cutting a long wait.
        partial_images: How many partial images a stream has, 0 to 3.
        frame_count: Frames of a gif, 2 to 16.
        frame_duration_ms: Milliseconds that each frame of a gif is shown.
        svg: For svg: `{"model": …, "reasoning": {"effort": …}}`.
        extra: Other fields to send, by name, which this version does not know.
        id: What `edit_many` calls the edit and its pictures (`id.png`, `id.1.png`, …). Unique within a run.
        name: What it is called without an `id`; changed to `name-png` and the like where that is taken.
        line: Its line number in its source, from 1: what it is called without `id` and `name`.
        maybe_paid: Whether it may be paid already, as another run recorded: `edit_many` does not send it unless
            `on_uncertain` is "retry", or its ledger knows better.
    """

    image: tuple[Picture, ...] = field(
        converter=_several, repr=_shown, metadata={"edit_field": EditField(ImageFile, sent=False)}
    )
    prompt: str = field(metadata={"edit_field": EditField(str)})
    mask: Picture | None = _optional(
        ImageFile,
        "Its transparent parts are edited. Only its header is checked.",
        metavar="PNG",
        sent=False,
        repr=_shown_one,
    )
    markup: Picture | None = _optional(
        ImageFile,
        "A transparent PNG laid over the picture.",
        metavar="PNG",
        sent=False,
        refused_by="dall-e-2",
        repr=_shown_one,
    )
    model: str | None = _optional(str, "Such as gpt-image-2; else the server's own choice.")
    n: int | None = _optional(int, "How many pictures, 1 to 10.", metavar="N", allowed=(1, 10))
    size: str | None = _optional(str, "auto, or WIDTHxHEIGHT.")
    quality: Quality | None = _optional(str, _known(Quality), refused_by="dall-e-2")
    background: Background | None = _optional(str, _known(Background), refused_by="dall-e-2")
    output_format: OutputFormat | None = _optional(str, _known(OutputFormat), refused_by="dall-e-2")
    output_compression: int | None = _optional(
        int, "0 to 100, for webp and jpeg.", metavar="N", allowed=(0, 100), refused_by="dall-e-2"
    )
    input_fidelity: InputFidelity | None = _optional(str, _known(InputFidelity), refused_by="dall-e-2")
    complexity: Complexity | None = _optional(str, _known(Complexity), refused_by="dall-e-2")
    moderation: Moderation | None = _optional(str, _known(Moderation), refused_by="dall-e-2")
    response_format: ResponseFormat | None = _optional(
        str, "url or b64_json, for older models.", refused_by="gpt-image"
    )
    user: str | None = _optional(str, "Your end user's id.")
    safety_identifier: str | None = _optional(str, "A hash that identifies the end user.")
    stream: bool | None = _optional(
        bool, "Let the response come in pieces.", changes_result=False, refused_by="dall-e-2"
    )
    partial_images: int | None = _optional(
        int,
        "0 to 3, with --stream; only the final picture is saved.",
        metavar="N",
        allowed=(0, 3),
        changes_result=False,
        refused_by="dall-e-2",
    )
    frame_count: int | None = _optional(int, "2 to 16, for gif.", metavar="N", allowed=(2, 16), refused_by="dall-e-2")
    frame_duration_ms: int | None = _optional(int, "For gif.", metavar="N", refused_by="dall-e-2")
    svg: Mapping[str, Any] | None = _optional(
        Mapping, 'For svg: {"model": …, "reasoning": {"effort": …}}.', refused_by="dall-e-2"
    )
    extra: Mapping[str, Any] | None = _optional(Mapping, "Fields that this version does not know.", sent=False)
    id: str | None = _optional(str, sent=False)
    name: str | None = _optional(str, sent=False, in_job_file=False)
    line: int | None = _optional(int, sent=False, in_job_file=False)
    maybe_paid: bool | None = _optional(bool, sent=False, in_job_file=False)

    @property
    def options(self) -> dict[str, Any]:
        """The API's fields that are set, prompt included, without the pictures and `extra`."""
        return {name: value for name, value in zip(_SENT, _VALUES(self), strict=True) if value is not None}

    @property
    def input_images(self) -> int:
        """How many images it counts against the limit of input images a minute: its pictures, times `n`."""
        return len(self.image) * (self.n or 1)


EDIT_FIELDS: Mapping[str, EditField] = {a.name: a.metadata["edit_field"] for a in fields(ImageEdit)}
_SENT = tuple(name for name, field in EDIT_FIELDS.items() if field.sent)
_VALUES = attrgetter(*_SENT)


@frozen(kw_only=True)
class HeicImage(ImageFile):
    """A HEIC picture as it was given, which is converted before it is sent; `header` is what it becomes then."""

    header: Header


@frozen(kw_only=True)
class UnreadableHeic(ImageFile):
    """A HEIC picture that can't be converted here, by the `error`; what an earlier run did with it is known."""

    error: InvalidEditError


@frozen(kw_only=True)
class ConvertedImage(ImageFile):
    """A picture that was converted; `original` is the SHA-256 of what it was, by which an edit is known again."""

    original: str


def described(picture: Picture) -> str:
    """A picture for people: its name or its size, never its content."""
    if isinstance(picture, ImageRef):
        return picture.file_id or "an image_url"
    content = unpacked(picture).content
    name = file_name(picture)
    if name is None and isinstance(content, bytes | bytearray | memoryview):
        return f"{memoryview(content).nbytes} bytes"
    if name is None and is_pillow_image(content):
        return f"a Pillow image of {'x'.join(map(str, content.size))}"
    return name or type(content).__name__


def file_name(picture: Picture) -> str | None:
    """The name of a picture, without a directory: that which was given with it, else its file's; None without any."""
    named = unpacked(picture)
    if named.name is not None:
        return PurePath(named.name).name or None
    content = named.content
    if is_pillow_image(content):
        opened = getattr(content, "filename", None)
        return f"{PurePath(opened).stem}.png" if opened and isinstance(opened, str) else None
    address = address_of(content)
    if address is not None:
        return PurePath(address.name).name or None
    name = content if isinstance(content, str | os.PathLike) else getattr(content, "name", None)
    if isinstance(name, str):
        name = shown_as_url(name) or name  # of a kind that is not known: without its secrets, too
    return PurePath(name).name if isinstance(name, str | os.PathLike) else None


def address_of(content: object) -> RemoteAddress | None:
    """The address of a picture that is given by its URL; None for all others, also for a URL that can't be used."""
    try:
        return remote_address(content) if isinstance(content, str) else None
    except ConfigurationError:
        return None
