"""Uploads and files as the server keeps and shows them (pure)."""

from __future__ import annotations

from typing import Any, Literal

from attrs import frozen

UploadStatus = Literal["pending", "completed", "cancelled", "expired"]


@frozen(kw_only=True)
class StoredFile:
    """A stored file. Times are unix seconds; `expires_at` None means kept until it is deleted.

    `part_ids` name the pieces that its bytes are kept in, in their order.
    """

    id: str
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    part_ids: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As the real server writes it: with nulls for `expires_at` and `status_details`, against its own document."""
        return {
            "object": "file",
            "id": self.id,
            "purpose": self.purpose,
            "filename": self.filename,
            "bytes": self.bytes,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "status": "processed",
            "status_details": None,
        }


@frozen(kw_only=True)
class StoredUpload:
    """An upload. `expires_after` is in seconds and belongs to the File that it becomes, whose id is set from the start.

    So a complete that was interrupted can be done over: it makes the same file again, not a second one.
    """

    id: str
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    mime_type: str
    purpose: str
    expires_after: int | None
    file_id: str
    status: UploadStatus = "pending"
    part_ids: tuple[str, ...] = ()
    file: StoredFile | None = None

    def to_json(self) -> dict[str, Any]:
        """As the real server writes it: `mime_type` is not told, and there is no `file` key before there is a file."""
        shown = {
            "id": self.id,
            "object": "upload",
            "bytes": self.bytes,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": self.status,
        }
        return shown if self.file is None else {**shown, "file": self.file.to_json()}


def part_to_json(part_id: str, upload_id: str, created_at: int) -> dict[str, Any]:
    return {"id": part_id, "object": "upload.part", "created_at": created_at, "upload_id": upload_id}
