"""The JSON objects of `upload --json`: one for each file, failures too (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from asyncsdk.cli.uploads.messages import as_typed
from asyncsdk.errors import AsyncSDKError, SourceError, UploadBusyError
from asyncsdk.events import Progress
from asyncsdk.given import shown_as_url
from asyncsdk.models import File, to_json
from asyncsdk.uploads.job import UploadResult


class UploadProblem(TypedDict):
    """What went wrong; see `error_of`."""

    type: str
    code: str | None
    message: str
    status_code: int | None
    request_id: str | None
    resumable: bool
    advice: str


class UploadLine(TypedDict):
    """A line of `--json`: the API's Upload, as far as the server gave it, its `file`, and how `source` was uploaded."""

    id: str | None
    object: NotRequired[str]
    bytes: NotRequired[int | None]
    created_at: NotRequired[int | None]
    expires_at: NotRequired[int | None]
    filename: NotRequired[str | None]
    purpose: NotRequired[str | None]
    status: NotRequired[str]
    file: File | None
    source: str
    md5: str | None
    bytes_sent: int
    bytes_resumed: int
    reused: bool
    by_others: bool
    duplicate_possible: bool
    duplicates: list[str]
    error: UploadProblem | None


def uploaded(source: str, result: UploadResult) -> dict[str, Any]:
    """The API's Upload with its `file`, and how `source`, the FILE argument, was uploaded."""
    return {
        **(_as_upload(result.file) if result.upload is None else to_json(result.upload)),
        "file": to_json(result.file),
        "source": source,
        "md5": result.md5,
        "bytes_sent": result.bytes_sent,
        "bytes_resumed": result.bytes_resumed,
        "reused": result.reused,
        "by_others": result.by_others,
        "duplicate_possible": result.duplicate_possible,
        "duplicates": list(result.duplicates),
        "error": None,
    }


def _as_upload(file: File) -> dict[str, Any]:
    """The shape of an Upload for a file that was sent by one request, without one: its id is null."""
    return {
        "id": None,
        "object": "upload",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "expires_at": None,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "completed",
    }


def not_uploaded(source: str, error: Mapping[str, Any], progress: Progress | None = None) -> dict[str, Any]:
    """The same shape for a file that was not uploaded: what is known of its upload, else nulls."""
    return {
        "id": progress.upload_id if progress else None,
        "object": "upload",
        "bytes": progress.bytes_total if progress else None,
        "expires_at": progress.expires_at if progress else None,
        "file": None,
        "source": shown_as_url(source) or source,  # the rest of a URL may be a secret
        "md5": None,
        "bytes_sent": progress.bytes_done - progress.bytes_resumed if progress else 0,
        "bytes_resumed": progress.bytes_resumed if progress else 0,
        "reused": False,
        "by_others": False,
        "duplicate_possible": False,
        "duplicates": [],
        "error": dict(error),
    }


def error_of(error: BaseException, instead: str = "") -> dict[str, Any]:
    """`type` is the class in `asyncsdk.errors`; `code`, `status_code` and `request_id` are from the server.

    `instead` is the advice if the same command would not resume.
    """
    advice = error.advice if isinstance(error, AsyncSDKError) else ""
    return {
        "type": type(error).__name__,
        "code": getattr(error, "code", None),
        "message": as_typed(str(error)) if isinstance(error, UploadBusyError | SourceError) else str(error),
        "status_code": getattr(error, "status_code", None),
        "request_id": getattr(error, "request_id", None),
        "resumable": isinstance(error, AsyncSDKError) and error.resumable,
        "advice": (instead or advice) if advice else "",
    }


def plain_error(kind: str, message: str) -> dict[str, Any]:
    """An error that was not raised: the same command, repeated or corrected, sends the file."""
    return {
        "type": kind,
        "code": None,
        "message": message,
        "status_code": None,
        "request_id": None,
        "resumable": True,
        "advice": "",
    }
