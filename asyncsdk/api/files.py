"""The endpoints of files: create, list, retrieve, delete, content (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from asyncsdk.api.request import FileBodyFactory, FormFile, Purpose, Request, StreamedFile, fields_set
from asyncsdk.mime import mime_type_of
from asyncsdk.models import File, FileDeleted, Page


def create_file(
    *,
    file: bytes | FileBodyFactory,
    filename: str,
    purpose: Purpose,
    mime_type: str | None = None,
    expires_after: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Request[File]:
    """POST /files: a whole file in one request.

    The API has no way to tell whether a file whose response was lost was made: a retry after that may make it twice,
    and `max_retries=0` prevents that.

    Args:
        file: At most 512 MB; or a factory of bodies, called for each attempt with the form around the content, for
            what is read while it is sent.
        filename: The file's name.
        purpose: What the file is for.
        mime_type: The type of its content. None: by the suffix of `filename`.
        expires_after: `{"anchor": "created_at", "seconds": 3600..2592000}`.
        extra: More fields of the form.
    """
    mime_type = mime_type_of(filename) if mime_type is None else mime_type
    return Request(
        method="POST",
        route="/files",
        response_model=File,
        fields=fields_set({"purpose": purpose, "expires_after": expires_after}, extra),
        files=() if callable(file) else [FormFile(name="file", content=file, filename=filename, mime_type=mime_type)],
        streamed_file=StreamedFile(name="file", filename=filename, mime_type=mime_type, body=file)
        if callable(file)
        else None,
    )


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
    query = fields_set({"purpose": purpose, "limit": limit, "order": order, "after": after}, extra)
    return Request(
        method="GET",
        route="/files",
        response_model=Page[File],
        query={name: str(value) for name, value in query.items()},
    )


def retrieve_file(file_id: str) -> Request[File]:
    """GET /files/{file_id}: a request for the File with this id.

    Args:
        file_id: Such as `file-abc123`.
    """
    ids = {"file_id": file_id}
    return Request(method="GET", route="/files/{file_id}", response_model=File, ids=ids, response_id=file_id)


def delete_file(file_id: str) -> Request[FileDeleted]:
    """DELETE /files/{file_id}: a request for a FileDeleted.

    Args:
        file_id: Such as `file-abc123`.
    """
    ids = {"file_id": file_id}
    return Request(method="DELETE", route="/files/{file_id}", response_model=FileDeleted, ids=ids, response_id=file_id)


def file_content(file_id: str) -> Request[bytes]:
    """GET /files/{file_id}/content, for `Client.download` or `Client.stream`; the server refuses some purposes.

    Args:
        file_id: Such as `file-abc123`.
    """
    return Request(
        method="GET",
        route="/files/{file_id}/content",
        response_model=bytes,
        ids={"file_id": file_id},
        accept="application/binary",
    )
