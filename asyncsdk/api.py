"""One function per endpoint: arguments to a `Request`, a value; what the caller did not set is not sent (pure).

Fields and paths as in OpenAI's document (openapi.yaml, /uploads and /files) and openai-python's types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, Literal, Protocol, TypedDict, TypeVar, Unpack
from urllib.parse import quote

from attrs import field, frozen

from asyncsdk.errors import ConfigurationError
from asyncsdk.models import File, FileDeleted, ImagesResponse, Page, Upload, UploadPart

T_co = TypeVar("T_co", covariant=True)

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"] | str  # noqa: PYI051 - the known ones are for editors
Quality = Literal["low", "medium", "high", "xhigh", "max", "auto"] | str  # noqa: PYI051 - for editors
Background = Literal["transparent", "opaque", "auto"] | str  # noqa: PYI051 - as above
OutputFormat = Literal["png", "jpeg", "webp", "gif", "svg"] | str  # noqa: PYI051 - as above
InputFidelity = Literal["high", "low"] | str  # noqa: PYI051 - as above
Complexity = Literal["low", "medium", "high"] | str  # noqa: PYI051 - as above
Moderation = Literal["auto", "low"] | str  # noqa: PYI051 - as above
ResponseFormat = Literal["url", "b64_json"] | str  # noqa: PYI051 - as above

EDIT_SECONDS = 600.0  # high quality takes minutes
URL_ROUTE = "the picture's URL"  # the route of a request outside the API, to a URL that a response contains
AT_URL = f"GET {URL_ROUTE}"


class RequestBody(Protocol):
    """What is written to the connection in one attempt, such as an `http.body.Body`."""

    failure: BaseException | None
    on_sent: Callable[[], object] | None

    @property
    def bytes_sent(self) -> int:
        """How many bytes were handed to the connection."""

    @property
    def fully_sent(self) -> bool:
        """Whether every byte was."""

    def limit_response(self, seconds: float) -> None:
        """Set how long the server may take once it has everything."""

    def stop_watching(self) -> None:
        """Stop the timer that gives up a stalled attempt."""

    def abort(self) -> None:
        """Drop the connection and what it still holds of this body."""


BodyFactory = Callable[[], RequestBody]


@frozen(kw_only=True)
class FormFile:
    """A file in a multipart form; `name` is the form field's."""

    name: str
    content: bytes = field(repr=False)
    filename: str
    mime_type: str


@frozen(kw_only=True)
class Request(Generic[T_co]):
    """A call as a value, which `http` encodes.

    Args:
        method: The HTTP method.
        route: The path below the base URL, with `{names}` for what `ids` holds.
        response_model: The model of the response; `bytes` for its content as it is.
        ids: What stands for the names in `route`.
        query: Query parameters.
        json: The body as JSON.
        fields: The fields of a multipart form, before its `files`.
        files: The files of a multipart form.
        body: Makes a new body for each attempt, in place of `json`, `fields` and `files`.
        deployment: The model below which classic Azure keeps this call.
        response_id: The id that the response must have, where it is the object that the call is about: a gateway may
            swap two responses.
        accept: The Accept header.
        response_timeout: How many seconds the server may take once it has the whole request.
    """

    method: str
    route: str
    response_model: type[T_co] = field(repr=False)
    ids: Mapping[str, str] = field(factory=dict)
    query: Mapping[str, str] = field(factory=dict)
    json: Mapping[str, Any] | None = field(default=None, repr=False)
    fields: Mapping[str, Any] = field(factory=dict, repr=False)
    files: Sequence[FormFile] = field(default=(), repr=False)
    body: BodyFactory | None = field(default=None, repr=False)
    deployment: str | None = None
    response_id: str | None = None
    accept: str = "application/json"
    response_timeout: float = 120.0

    @property
    def name(self) -> str:
        """The method and the route, without ids, for messages and metrics."""
        return f"{self.method} {self.route}"

    @property
    def path(self) -> str:
        """The path below the base URL. Raises ConfigurationError for an id that would change the path."""
        for name, value in self.ids.items():
            if value in {"", ".", ".."}:
                raise ConfigurationError(f"{name} is {value!r}, which names nothing. Nothing was sent.")
        quoted = {name: quote(value, safe="", errors="replace") for name, value in self.ids.items()}
        return self.route.format_map(quoted)


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


def create_upload(
    *,
    bytes: int,  # noqa: A002 - the API's own name
    filename: str,
    mime_type: str,
    purpose: Purpose,
    expires_after: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Request[Upload]:
    """POST /uploads.

    Args:
        bytes: The exact size of the whole file.
        filename: The file's name.
        mime_type: The type of its content.
        purpose: What the file is for.
        expires_after: `{"anchor": "created_at", "seconds": 3600..2592000}`, for the File, not the upload.
        extra: More fields of the body, also in place of those above.
    """
    fields = {
        "bytes": bytes,
        "filename": filename,
        "mime_type": mime_type,
        "purpose": purpose,
        "expires_after": expires_after,
    }
    return Request(method="POST", route="/uploads", response_model=Upload, json=_set(fields, extra))


def add_upload_part(upload_id: str, *, data: bytes | BodyFactory) -> Request[UploadPart]:
    """POST /uploads/{upload_id}/parts.

    Args:
        upload_id: The upload.
        data: At most 64 MiB, or a factory of whole multipart bodies, called for each attempt.
    """
    return Request(
        method="POST",
        route="/uploads/{upload_id}/parts",
        response_model=UploadPart,
        ids={"upload_id": upload_id},
        files=()
        if callable(data)
        else [FormFile(name="data", content=data, filename="upload", mime_type="application/octet-stream")],
        body=data if callable(data) else None,
    )


def complete_upload(
    upload_id: str,
    *,
    part_ids: list[str] | tuple[str, ...],
    md5: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Request[Upload]:
    """POST /uploads/{upload_id}/complete.

    Args:
        upload_id: The upload.
        part_ids: The ids of its parts in the order of their bytes.
        md5: The MD5 of the whole file in hex, which the server then checks.
        extra: More fields of the body.
    """
    return Request(
        method="POST",
        route="/uploads/{upload_id}/complete",
        response_model=Upload,
        ids={"upload_id": upload_id},
        json=_set({"part_ids": list(part_ids), "md5": md5}, extra),
        response_timeout=600.0,
    )


def cancel_upload(upload_id: str) -> Request[Upload]:
    """POST /uploads/{upload_id}/cancel: a request for the Upload, cancelled."""
    return Request(
        method="POST", route="/uploads/{upload_id}/cancel", response_model=Upload, ids={"upload_id": upload_id}
    )


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
        _set({"prompt": prompt, **options}, extra),
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
    return _edit(_set(fields, extra))


def list_files(
    *,
    purpose: Purpose | None = None,
    limit: int | None = None,
    order: Literal["asc", "desc"] | None = None,
    after: str | None = None,
    extra: Mapping[str, str] | None = None,
) -> Request[Page[File]]:
    """GET /files, one page, for `Client.send`; or all of them, for `Client.pages`.

    Args:
        purpose: Only files for this purpose.
        limit: How many files a page has, 1 to 10,000.
        order: "asc" for the oldest first; the server's default is the newest first.
        after: The id of the file before the first.
        extra: More query parameters.
    """
    query = _set({"purpose": purpose, "limit": limit, "order": order, "after": after}, extra)
    return Request(
        method="GET",
        route="/files",
        response_model=Page[File],
        query={name: str(value) for name, value in query.items()},
    )


def retrieve_file(file_id: str) -> Request[File]:
    """GET /files/{file_id}: a request for the File with this id."""
    ids = {"file_id": file_id}
    return Request(method="GET", route="/files/{file_id}", response_model=File, ids=ids, response_id=file_id)


def delete_file(file_id: str) -> Request[FileDeleted]:
    """DELETE /files/{file_id}: a request for a FileDeleted."""
    ids = {"file_id": file_id}
    return Request(method="DELETE", route="/files/{file_id}", response_model=FileDeleted, ids=ids, response_id=file_id)


def file_content(file_id: str) -> Request[bytes]:
    """GET /files/{file_id}/content, for `Client.download` or `Client.stream`; the server refuses some purposes."""
    return Request(
        method="GET",
        route="/files/{file_id}/content",
        response_model=bytes,
        ids={"file_id": file_id},
        accept="application/binary",
    )


def _set(fields: Mapping[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None} | dict(extra or {})


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
