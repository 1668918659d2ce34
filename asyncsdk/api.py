"""One function per endpoint: arguments to `Request`, a value; what the caller did not set is not sent (pure).

Fields and paths as in OpenAI's document (openapi.yaml, /uploads and /files) and openai-python's types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from attrs import field, frozen

from asyncsdk.errors import ConfigurationError
from asyncsdk.http import multipart
from asyncsdk.http.body import Body, BytesBody
from asyncsdk.models import File, FileDeleted, Page, Upload, UploadPart

T_co = TypeVar("T_co", covariant=True)

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"] | str  # noqa: PYI051 - the known ones are for editors
BodyFactory = Callable[[], Body]


@frozen(kw_only=True)
class Request(Generic[T_co]):
    """A call as a value. `answer` is the model of what comes back; `body` makes a new body for each attempt.

    `answer_limit` is how many seconds the server may take once it has the whole request.
    """

    method: str
    route: str
    answer: type[T_co] = field(repr=False)
    ids: Mapping[str, str] = field(factory=dict)
    query: Mapping[str, str] = field(factory=dict)
    json: Mapping[str, Any] | None = field(default=None, repr=False)
    body: BodyFactory | None = field(default=None, repr=False)
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
    factory = data if callable(data) else _part_of(data)
    return Request(
        method="POST",
        route="/uploads/{upload_id}/parts",
        answer=UploadPart,
        ids={"upload_id": upload_id},
        body=factory,
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
    return Request(method="GET", route="/files/{file_id}", answer=File, ids={"file_id": file_id})


def delete_file(file_id: str) -> Request[FileDeleted]:
    """DELETE /files/{file_id}."""
    return Request(method="DELETE", route="/files/{file_id}", answer=FileDeleted, ids={"file_id": file_id})


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


def _part_of(data: bytes) -> BodyFactory:
    def body() -> Body:
        boundary = multipart.new_boundary()
        head = multipart.file_head(boundary, "data", filename="upload", mime_type="application/octet-stream")
        return BytesBody(data, multipart.content_type(boundary), head=head, tail=multipart.closing(boundary))

    return body
