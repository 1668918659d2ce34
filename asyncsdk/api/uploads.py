"""The endpoints of the Uploads API: create, add a part, complete, cancel (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncsdk.api.request import BodyFactory, FormFile, Purpose, Request, fields_set
from asyncsdk.models import Upload, UploadPart


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
    return Request(method="POST", route="/uploads", response_model=Upload, json=fields_set(fields, extra))


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
        json=fields_set({"part_ids": list(part_ids), "md5": md5}, extra),
        response_timeout=600.0,
    )


def cancel_upload(upload_id: str) -> Request[Upload]:
    """POST /uploads/{upload_id}/cancel: a request for the Upload, cancelled.

    Args:
        upload_id: Such as `upload_abc123`.
    """
    return Request(
        method="POST", route="/uploads/{upload_id}/cancel", response_model=Upload, ids={"upload_id": upload_id}
    )
