"""Uploads and files as the server stores them and sends them as JSON (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import frozen

UploadStatus = Literal["pending", "completed", "cancelled", "expired"]


@frozen(kw_only=True)
class StoredFile:
    """A file that the server holds.

    Args:
        id: Its id, such as "file-abc".
        bytes: Its size in bytes.
        created_at: Unix seconds.
        expires_at: Unix seconds; None: kept until it is deleted.
        filename: The name that the client gave.
        purpose: Such as "fine-tune".
        part_ids: The ids of the parts that contain its bytes, in their order.
    """

    id: str
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    part_ids: tuple[str, ...]

    def to_json(self, *, status: str = "processed") -> dict[str, Any]:
        """Return it as the real server sends it: unlike its document, with null `expires_at`, `status_details`.

        Args:
            status: "uploaded" or "processed".
        """
        return {
            "object": "file",
            "id": self.id,
            "purpose": self.purpose,
            "filename": self.filename,
            "bytes": self.bytes,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "status": status,
            "status_details": None,
        }


@frozen(kw_only=True)
class StoredUpload:
    """An upload that the server holds.

    The id of its file is chosen when it is created, so that a complete that was interrupted and is repeated makes the
    same file, not a second one.

    Args:
        id: Its id, such as "upload_abc".
        bytes: The size of the whole in bytes, as the client declared it.
        created_at: Unix seconds.
        expires_at: Unix seconds until it must be completed.
        filename: The name of the file that it becomes.
        mime_type: The type that the client gave.
        purpose: The purpose of the file.
        expires_after: How long the file is kept, in seconds from `created_at`; None: as its purpose says.
        file_id: The id of the file that it becomes.
        status: "pending", "completed", "cancelled" or "expired".
        part_ids: The parts of the completed upload, in the order of their bytes.
        file: The file, once it is completed.
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

    def to_json(self, file: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return it as the real server sends it: without `mime_type`, and without `file` before there is one.

        Args:
            file: Its file as JSON, in the place of its own.
        """
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
        return shown if self.file is None else {**shown, "file": file or self.file.to_json()}


def part_to_json(part_id: str, upload_id: str, created_at: int) -> dict[str, Any]:
    return {"id": part_id, "object": "upload.part", "created_at": created_at, "upload_id": upload_id}
