"""Which operation is allowed in which status of an upload or file; expiry, and pages of lists (pure).

The real server's errors for these are not known; all are 400 here, and the upload stays as it was.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence

from attrs import evolve

from asyncsdk.server.errors import ApiError, bad_request, invalid, too_large
from asyncsdk.server.fields import ListQuery
from asyncsdk.server.objects import StoredFile, StoredUpload

FILE_LIMIT = 512 * 2**20  # of POST /files
BATCH_FILE_LIMIT = 200 * 2**20
REMEMBERED_SECONDS = 24 * 3600
BATCH_FILE_SECONDS = 30 * 24 * 3600
BATCH_OUTPUT = "batch_output"  # the purpose of files that a batch made
PRIVATE_PURPOSES = ("assistants", "user_data")


def as_of(upload: StoredUpload, now: float) -> StoredUpload:
    """Return the upload as it is at `now`: a pending one past its time has expired."""
    over = upload.status == "pending" and now >= upload.expires_at
    return evolve(upload, status="expired") if over else upload


def require_pending(upload: StoredUpload, now: float) -> None:
    """Raise ApiError unless the upload is pending: only then it takes parts, complete and cancel."""
    status = as_of(upload, now).status
    if status != "pending":
        raise bad_request(f"Upload {upload.id} is {status}, not pending.")


def require_parts(upload: StoredUpload, sizes: Mapping[str, int], part_ids: Sequence[str]) -> None:
    """Raise ApiError unless these parts, of these `sizes`, make up the whole upload."""
    seen: set[str] = set()
    for part_id in part_ids:
        if part_id not in sizes:
            raise invalid("part_ids", f"upload {upload.id} has no part '{part_id}'")
        if part_id in seen:
            raise invalid("part_ids", f"part '{part_id}' is named twice")
        seen.add(part_id)
    total = sum(sizes[part_id] for part_id in part_ids)
    if total != upload.bytes:
        raise invalid("part_ids", f"these parts hold {total} bytes, the upload was created for {upload.bytes}")


def require_md5(expected: bytes, actual: bytes) -> None:
    if expected != actual:
        raise invalid("md5", f"the parts have {actual.hex()} ({base64.b64encode(actual).decode()})")


def repeated(upload: StoredUpload, part_ids: Sequence[str], status: int) -> StoredUpload:
    """Respond to a repeated complete: the same upload for the same parts, or an error with `status`."""
    if status != 200:
        raise ApiError(status, f"Upload {upload.id} is already completed.")
    if tuple(part_ids) != upload.part_ids:
        raise bad_request(f"Upload {upload.id} is already completed, with other parts.")
    return upload


def file_of(upload: StoredUpload, part_ids: tuple[str, ...]) -> StoredFile:
    """Return the file that an upload becomes with these parts. Its `created_at` is the upload's, not complete's."""
    return StoredFile(
        id=upload.file_id,
        bytes=upload.bytes,
        created_at=upload.created_at,
        expires_at=file_expiry(upload.created_at, upload.purpose, upload.expires_after),
        filename=upload.filename,
        purpose=upload.purpose,
        part_ids=part_ids,
    )


def completed_as(upload: StoredUpload, file: StoredFile) -> StoredUpload:
    """Return the upload that has become `file`."""
    return evolve(upload, status="completed", part_ids=file.part_ids, file=file)


def file_expiry(created_at: int, purpose: str, seconds: int | None) -> int | None:
    """When a file expires; without `seconds` the files of batches live 30 days, all others until they are deleted."""
    if seconds is None and purpose in {"batch", BATCH_OUTPUT}:
        seconds = BATCH_FILE_SECONDS
    return None if seconds is None else created_at + seconds


def require_file_size(size: int, purpose: str) -> None:
    """Raise ApiError where POST /files does not take that many bytes for this purpose."""
    if size > FILE_LIMIT:
        raise too_large("The file", FILE_LIMIT)
    if purpose == "batch" and size > BATCH_FILE_LIMIT:
        raise too_large("The batch file", BATCH_FILE_LIMIT)


def require_downloadable(file: StoredFile) -> None:
    if file.purpose in PRIVATE_PURPOSES:
        raise bad_request(f"Not allowed to download files of purpose: {file.purpose}")


def has_expired(file: StoredFile, now: float) -> bool:
    return file.expires_at is not None and now >= file.expires_at


def is_forgotten(upload: StoredUpload, now: float) -> bool:
    """Whether the upload is unknown by now: its last status is kept for a day after it expires."""
    return now >= upload.expires_at + REMEMBERED_SECONDS


def changes_at(upload: StoredUpload) -> int:
    """When it next changes by itself: a pending one expires, any other is forgotten."""
    return upload.expires_at + (0 if upload.status == "pending" else REMEMBERED_SECONDS)


def page_of(files: Iterable[StoredFile], listing: ListQuery) -> tuple[list[StoredFile], bool]:
    """Return a page of `files` (oldest first), and whether there are more. Raises ApiError on a bad cursor."""
    page = sorted(files, key=lambda file: file.created_at)
    if listing.order == "desc":
        page.reverse()
    if listing.after is not None:
        page = page[_position(page, listing.after) + 1 :]
    if listing.purpose is not None:
        page = [file for file in page if file.purpose == listing.purpose]
    return page[: listing.limit], len(page) > listing.limit


def _position(files: Sequence[StoredFile], file_id: str) -> int:
    for position, file in enumerate(files):
        if file.id == file_id:
            return position
    raise invalid("after", f"there is no file '{file_id}'")
