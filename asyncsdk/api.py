"""One function per endpoint: arguments to `Request`, a value; what the caller did not set is not sent (pure).

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
URL_ROUTE = "the picture's URL"  # of a request that is not one of the API: where an answer says that a picture is
AT_URL = f"GET {URL_ROUTE}"


class RequestBody(Protocol):
    """What is written to the connection in one attempt, such as an `http.body.Body`."""

    failure: BaseException | None
    on_sent: Callable[[], object] | None

    @property
    def content_type(self) -> str:
        """The request's Content-Type."""
        ...

    @property
    def bytes_sent(self) -> int:
        """How many bytes were handed to the connection."""
        ...

    @property
    def fully_sent(self) -> bool:
        """Whether every byte was."""
        ...

    def limit_answer(self, seconds: float) -> None:
        """Set how long the server may take once it has everything."""
        ...

    def stop_watching(self) -> None:
        """Stop the timer that gives up a stalled attempt."""
        ...

    def abort(self) -> None:
        """Drop the connection and what it still holds of this body."""
        ...


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
        answer: The model of the response; `bytes` for its content as it is.
        ids: What stands for the names in `route`.
        query: Query parameters.
        json: The body as JSON.
        fields: The fields of a multipart form, before its `files`.
        files: The files of a multipart form.
        body: Makes a new body for each attempt, in place of `json`, `fields` and `files`.
        deployment: The model below which classic Azure keeps this call.
        answer_id: The id that the response must have, where it is the object that the call is about: a gateway may
            swap two responses.
        accept: The Accept header.
        answer_limit: How many seconds the server may take once it has the whole request.
    """

    method: str
    route: str
    answer: type[T_co] = field(repr=False)
    ids: Mapping[str, str] = field(factory=dict)
    query: Mapping[str, str] = field(factory=dict)
    json: Mapping[str, Any] | None = field(default=None, repr=False)
    fields: Mapping[str, Any] = field(factory=dict, repr=False)
    files: Sequence[FormFile] = field(default=(), repr=False)
    body: BodyFactory | None = field(default=None, repr=False)
    deployment: str | None = None
    answer_id: str | None = None
    accept: str = "application/json"
    answer_limit: float = 120.0

    @property
    def name(self) -> str:
        """The call for people and metrics: ids left out."""
        return f"{self.method} {self.route}"

    @property
    def path(self) -> str:
        """The path below the base URL. Raises ConfigurationError for an id that would lead elsewhere."""
        for name, value in self.ids.items():
            if value in {"", ".", ".."}:
                raise ConfigurationError(f"{name} is {value!r}, which names nothing. Nothing was sent.")
        quoted = {name: quote(value, safe="", errors="replace") for name, value in self.ids.items()}
        return self.route.format_map(quoted)


@frozen(kw_only=True)
class ImageFile:
    """A picture that goes along in a form: its bytes, and the true type and name that stand above them."""

    content: bytes = field(repr=False)
    filename: str
    mime_type: str


@frozen(kw_only=True)
class ImageRef:
    """A picture that the server has, or can fetch: exactly one of `file_id` and `image_url` (https or data URL)."""

    file_id: str | None = None
    image_url: str | None = field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        if (self.file_id is None) == (self.image_url is None):
            raise ConfigurationError("an ImageRef has a file_id or an image_url, exactly one. Nothing was sent.")


class EditParams(TypedDict, total=False):
    """The fields of POST /images/edits but for prompt and pictures; what is None or left out is not sent.

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
    """POST /uploads. `bytes` is the exact size of the whole file.

    `expires_after` is `{"anchor": "created_at", "seconds": 3600..2592000}` and is about the File, not the upload.
    """
    fields = {
        "bytes": bytes,
        "filename": filename,
        "mime_type": mime_type,
        "purpose": purpose,
        "expires_after": expires_after,
    }
    return Request(method="POST", route="/uploads", answer=Upload, json=_set(fields, extra))


def add_upload_part(upload_id: str, *, data: bytes | BodyFactory) -> Request[UploadPart]:
    """POST /uploads/{upload_id}/parts: at most 64 MiB, as bytes or as a factory of whole multipart bodies."""
    return Request(
        method="POST",
        route="/uploads/{upload_id}/parts",
        answer=UploadPart,
        ids={"upload_id": upload_id},
        files=() if callable(data) else [_part(data)],
        body=data if callable(data) else None,
    )


def complete_upload(
    upload_id: str,
    *,
    part_ids: list[str] | tuple[str, ...],
    md5: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Request[Upload]:
    """POST /uploads/{upload_id}/complete. The order of `part_ids` is the order of the bytes."""
    return Request(
        method="POST",
        route="/uploads/{upload_id}/complete",
        answer=Upload,
        ids={"upload_id": upload_id},
        json=_set({"part_ids": list(part_ids), "md5": md5}, extra),
        answer_limit=600.0,
    )


def cancel_upload(upload_id: str) -> Request[Upload]:
    """POST /uploads/{upload_id}/cancel."""
    return Request(method="POST", route="/uploads/{upload_id}/cancel", answer=Upload, ids={"upload_id": upload_id})


def edit_image(
    *,
    image: ImageFile | Sequence[ImageFile],
    prompt: str,
    mask: ImageFile | None = None,
    markup: ImageFile | None = None,
    extra: Mapping[str, Any] | None = None,
    **options: Unpack[EditParams],
) -> Request[ImagesResponse]:
    """POST /images/edits with the pictures in a form: one goes as `image`, several as `image[]`.

    With `stream=True` it is a request for `Client.stream`. Raises ConfigurationError where there is no picture.
    """
    pictures = [image] if isinstance(image, ImageFile) else list(image)
    if not pictures:
        raise ConfigurationError("an edit needs at least one picture. Nothing was sent.")
    name = "image" if len(pictures) == 1 else "image[]"
    files = [(name, picture) for picture in pictures]
    files += [(name, file) for name, file in (("mask", mask), ("markup", markup)) if file is not None]
    return _edit(_set({"prompt": prompt, **options}, extra), files=[_form_file(name, file) for name, file in files])


def edit_image_by_reference(
    *,
    images: Sequence[ImageRef],
    prompt: str,
    mask: ImageRef | None = None,
    extra: Mapping[str, Any] | None = None,
    **options: Unpack[EditParams],
) -> Request[ImagesResponse]:
    """POST /images/edits as JSON: the pictures are files that the server has, or URLs."""
    places = [_reference(image) for image in images]
    fields = {"images": places, "mask": None if mask is None else _reference(mask), "prompt": prompt, **options}
    return _edit(_set(fields, extra))


def list_files(
    *,
    purpose: Purpose | None = None,
    limit: int | None = None,
    order: Literal["asc", "desc"] | None = None,
    after: str | None = None,
    extra: Mapping[str, str] | None = None,
) -> Request[Page[File]]:
    """GET /files, newest first unless `order` says otherwise; `limit` 1..10000 a page, `after` a file's id."""
    query = _set({"purpose": purpose, "limit": limit, "order": order, "after": after}, extra)
    return Request(
        method="GET", route="/files", answer=Page[File], query={name: str(value) for name, value in query.items()}
    )


def retrieve_file(file_id: str) -> Request[File]:
    """GET /files/{file_id}."""
    ids = {"file_id": file_id}
    return Request(method="GET", route="/files/{file_id}", answer=File, ids=ids, answer_id=file_id)


def delete_file(file_id: str) -> Request[FileDeleted]:
    """DELETE /files/{file_id}."""
    ids = {"file_id": file_id}
    return Request(method="DELETE", route="/files/{file_id}", answer=FileDeleted, ids=ids, answer_id=file_id)


def file_content(file_id: str) -> Request[bytes]:
    """GET /files/{file_id}/content, for `Client.download` or `Client.stream`; some purposes can't be downloaded."""
    return Request(
        method="GET",
        route="/files/{file_id}/content",
        answer=bytes,
        ids={"file_id": file_id},
        accept="application/binary",
    )


def _set(fields: Mapping[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None} | dict(extra or {})


def _edit(fields: dict[str, Any], *, files: Sequence[FormFile] = ()) -> Request[ImagesResponse]:
    return Request(
        method="POST",
        route="/images/edits",
        answer=ImagesResponse,
        json=None if files else fields,
        fields=fields if files else {},
        files=files,
        deployment=fields.get("model"),
        accept="text/event-stream" if fields.get("stream") else "application/json",
        answer_limit=EDIT_SECONDS,
    )


def _reference(image: ImageRef) -> dict[str, str]:
    return {"file_id": image.file_id} if image.file_id is not None else {"image_url": image.image_url or ""}


def _form_file(name: str, file: ImageFile) -> FormFile:
    return FormFile(name=name, content=file.content, filename=file.filename, mime_type=file.mime_type)


def _part(data: bytes) -> FormFile:
    return FormFile(name="data", content=data, filename="upload", mime_type="application/octet-stream")
